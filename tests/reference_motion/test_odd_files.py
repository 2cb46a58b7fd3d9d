"""Files of true layouts with odd content: what is wrong in them is said, and does not spoil the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch

from hmr4d.reference_motion.adapters import read_clip
from hmr4d.reference_motion.clip import ReferenceClip
from tests.reference_motion import layouts
from tests.reference_motion.layouts import FOCAL, SIZE, Person


def changed(path: Path, change: Any) -> Path:
    """A joblib file after `change` of its content."""
    content = joblib.load(path)
    joblib.dump(change(content), path)
    return path


def is_moved(clip: ReferenceClip, person: Person, family: str) -> bool:
    return bool((clip.motion.joints3d - person.joints(family)).norm(dim=-1).max() > 1e-3)


def test_frames_of_4d_humans_need_no_leading_zeros(tmp_path: Path) -> None:
    person = Person(12)

    def renamed(tree: dict[str, Any]) -> dict[str, Any]:
        frames = enumerate(tree.values(), 1)
        return {f"frames/{n}.jpg": {k: v for k, v in frame.items() if k != "time"} for n, frame in frames}

    clip = read_clip(changed(layouts.phalp(tmp_path, {1: person}), renamed))
    assert not is_moved(clip, person, "smpl")


def test_sizes_that_are_none_leave_the_camera_of_4d_humans_out(tmp_path: Path) -> None:
    def without(tree: dict[str, Any]) -> dict[str, Any]:
        return {name: {**frame, "size": [[float("nan"), 0]]} for name, frame in tree.items()}

    clip = read_clip(changed(layouts.phalp(tmp_path, {1: Person(4)}), without))
    assert clip.camera is not None and clip.camera.K is None


def test_people_without_a_frame_are_nobody(tmp_path: Path) -> None:
    def emptied(tree: dict[int, Any]) -> dict[int, Any]:
        return {**tree, 0: {name: value[:0] for name, value in tree[0].items()}}

    path = changed(layouts.wham(tmp_path, {0: Person(4), 1: Person(5)}), emptied)
    clip = read_clip(path)
    assert clip.motion.num_frames == 5 and not any("people" in remark for remark in clip.remarks)
    with pytest.raises(ValueError, match="nobody in the file"):
        read_clip(changed(path, lambda tree: {0: tree[0]}))


@pytest.mark.parametrize(("K", "is_kept"), [("first NaN", True), ("zeros", False), ("zoom", True)])
def test_the_camera_of_gvhmr_is_that_of_its_first_usable_frame(tmp_path: Path, K: str, is_kept: bool) -> None:
    path = layouts.gvhmr(tmp_path, Person(4))
    content = torch.load(path)
    if K == "zoom":
        content["K_fullimg"][2:, [0, 1], [0, 1]] *= 1.5
    else:
        content["K_fullimg"][slice(1) if is_kept else slice(None)] = float("nan") if is_kept else 0.0
    torch.save(content, path)
    clip = read_clip(path)
    assert clip.camera is not None and (clip.camera.size == SIZE) is is_kept
    assert clip.camera.K is None or float(clip.camera.K[0, 0]) == FOCAL
    words = {"first NaN": "", "zeros": "The camera is left out", "zoom": "The focal length changes"}[K]
    assert any(remark.startswith(words) for remark in clip.remarks)


def test_a_camera_of_each_crop_is_reported(tmp_path: Path) -> None:
    focal = torch.linspace(800, 1400, 6)[:, None]
    clip = read_clip(layouts.smplestx(tmp_path, Person(6), focal_length=focal))
    assert any("The focal length differs between frames" in remark for remark in clip.remarks)
    focal[0] = float("nan")
    clip = read_clip(layouts.smplestx(tmp_path, Person(6), focal_length=focal))
    assert clip.camera is not None and clip.camera.K is not None and float(clip.camera.K[0, 0]) == 920


def test_a_zoom_of_camerahmr_is_reported(tmp_path: Path) -> None:
    def zoomed(tree: dict[str, Any]) -> dict[str, Any]:
        return {**tree, "focal_length": np.array([np.nan, *np.linspace(FOCAL, 2 * FOCAL, 5)])}

    path, person = layouts.camerahmr(tmp_path, Person(6)), Person(6)
    clip = read_clip(changed(path, zoomed))
    assert "The focal length changes over the video; that of its first frame is kept." in clip.remarks
    assert not is_moved(clip, person, "smpl")


def test_frames_before_the_first_and_cameras_that_are_no_rotation_are_refused(tmp_path: Path) -> None:
    path = layouts.tram(tmp_path, Person(6))
    content = np.load(path, allow_pickle=True).item()
    early: Any = {**content, "frame": torch.arange(6) - 2}
    np.save(path, early, allow_pickle=True)
    with pytest.raises(ValueError, match="'frame' holds .*-2.*expected whole numbers of frames, 0 or more"):
        read_clip(path)
    np.save(path, content, allow_pickle=True)
    camera = np.load(tmp_path / "camera.npy", allow_pickle=True).item()
    flat: Any = {**camera, "pred_cam_R": 0 * camera["pred_cam_R"]}
    np.save(tmp_path / "camera.npy", flat, allow_pickle=True)
    with pytest.raises(ValueError, match="'pred_cam_R' holds matrices that are no rotations"):
        read_clip(path)
