"""Clips for the judge: rendered once, named in a new archive, faulty entries left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import get_skeleton
from hmr4d.cli.main import main
from hmr4d.detection.video_pictures import video_pictures
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.motion.motion import Motion
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.motion.skinning import drive_body
from hmr4d.reference_motion.archive_file import Archive, archive_root, read_archive
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.content_cache import ContentCache
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.gate_render import RenderOptions, render_archive
from hmr4d.reference_motion.joint_files import load_joints
from hmr4d.reference_motion.reference_file import ReferenceMotion, load_reference, save_reference
from hmr4d.reference_motion.viewing_scene import is_well_seen, scene_pictures

SMALL = RenderOptions(size=(96, 96), camera="static")


@cache
def reference(frames: int = 6) -> ReferenceMotion:
    joints = synthetic_joints("walk", frames, np.random.default_rng(0)).astype(np.float32)
    return convert(ReferenceClip(Motion(torch.from_numpy(joints), 20.0)), fps=None)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    save_reference(tmp_path / "m.pt", reference())
    entries: list[Any] = [
        {"id": "a/b", "motion_path": "m.pt", "kept": [1]},
        {"id": 2},
        {"id": 3, "motion_path": "no.pt"},
        4,
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    return read_archive(tmp_path / "a.json")


def rendered(archive: Archive, options: RenderOptions = SMALL) -> list[Any]:
    root = archive_root(archive.path)
    return render_archive(archive, root / "clips", options, cache=ContentCache(root / "cache"))


def test_clips_are_named_and_faulty_entries_pass_through(archive: Archive) -> None:
    done = rendered(archive)
    entry = done[0].entry
    assert entry["kept"] == [1] and entry["video_path"].startswith("clips/a_b")
    assert len(list(video_pictures(archive.root / entry["video_path"]))) == len(reference().features)
    assert [one.entry for one in done[1:]] == list(archive.entries[1:])
    assert [bool(one.error) for one in done] == [False, False, True, True]


def test_the_cache_file_is_read_by_strict_readers_and_by_the_metrics(archive: Archive) -> None:
    entry = rendered(archive, RenderOptions(size=(96, 96), vertices=True))[0].entry
    path = archive.root / entry["mbench_eval_path"]
    content = torch.load(path, weights_only=True)
    frames = len(reference().features)
    assert content["joints"].shape == content["recovered_joints"].shape == content["pose"].shape == (frames, 22, 3)
    assert content["vertices"].shape[0] == frames and content["smpl_params"]["body_pose"].shape == (frames, 63)
    joints, fps, _ = load_joints(path)
    assert fps == 20 and np.allclose(joints, reference().motion(from_velocities=True).array(), atol=1e-5)


def test_clips_are_kept_until_motion_options_or_files_change(archive: Archive) -> None:
    rendered(archive)
    assert rendered(archive)[0].is_kept
    assert not rendered(archive, RenderOptions(size=(64, 64)))[0].is_kept
    rendered(archive)
    video = archive.root / rendered(archive)[0].entry["video_path"]
    video.write_bytes(video.read_bytes()[:-1])
    assert not rendered(archive)[0].is_kept and rendered(archive)[0].is_kept
    save_reference(archive.root / "m.pt", reference(7))
    assert not rendered(archive)[0].is_kept


def test_the_figure_stands_on_the_ground_inside_the_image() -> None:
    posed = drive_body(reference().motion())
    for picture in scene_pictures(posed, (192, 192)):
        colors = picture.view(np.uint8).reshape(192, 192, 4)[..., :3].astype(int)
        body = np.argwhere(colors[..., 2] - colors[..., 0] > 60)
        assert len(body) > 300 and body.min() > 0 and body.max() < 191
        below = colors[body[:, 0].max() + 2, int(np.median(body[:, 1]))]
        assert np.ptp(below) < 12 and below[0] < 230  # gray ground, not the white around it
        assert (colors[0, 0] == 255).all()


@pytest.mark.parametrize("way", [(0.0, 1.0), (1.0, 0.0), (0.0, -1.0)])
def test_the_camera_follows_a_long_path(way: tuple[float, float]) -> None:
    posed = drive_body(reference().motion())
    assert is_well_seen(posed)
    steps = torch.arange(posed.num_frames)[:, None] * torch.tensor([way[0], 0.0, way[1]]) * 4
    assert not is_well_seen(replace(posed, translation=posed.translation + steps))


def test_unknown_cameras_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="camera is 'top'"):
        RenderOptions(camera="top")
    with pytest.raises(ValueError, match="even width"):
        RenderOptions(size=(97, 96))


def test_files_without_joints_are_refused_with_their_content(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 22)))
    torch.save({"poses": torch.zeros(3)}, tmp_path / "b.pt")
    other = Motion(torch.zeros(5, 17, 3), 20.0, get_skeleton("coco17"))
    save_motion_npz(tmp_path / "d.npz", other)
    for name, words in (("a.npy", r"\(5, 22\)"), ("b.pt", "keys poses"), ("d.npz", "skeleton 'coco17'")):
        with pytest.raises(ValueError, match=words):
            load_joints(tmp_path / name)
    save_reference(tmp_path / "c.pt", reference())
    assert load_joints(tmp_path / "c.pt")[0].shape == (5, 22, 3) and load_reference(tmp_path / "c.pt").fps == 20


def test_clips_never_replace_motions(tmp_path: Path) -> None:
    save_reference(tmp_path / "clips" / "7.pt", reference())
    (tmp_path / "a.json").write_text(json.dumps([{"id": 7, "motion_path": "clips/7.pt"}]))
    before = (tmp_path / "clips" / "7.pt").read_bytes()
    with pytest.raises(ValueError, match="would be replaced by a clip"):
        rendered(read_archive(tmp_path / "a.json"))
    assert (tmp_path / "clips" / "7.pt").read_bytes() == before


def test_clips_of_an_archive_of_another_root_are_found(tmp_path: Path) -> None:
    save_reference(tmp_path / "one" / "m.pt", reference())
    (tmp_path / "one" / "README.md").write_text("root of the first archive")
    (tmp_path / "one" / "a.json").write_text(json.dumps([{"id": 1, "motion_path": "m.pt"}]))
    out = tmp_path / "two" / "r.json"
    words = [str(tmp_path / "one" / "a.json"), "--out", str(out), "--size", "64x64", "--body", "stick"]
    assert main(["reference", "render", *words]) == 0
    made = read_archive(out)
    for key in ("motion_path", "video_path", "mbench_eval_path"):
        path = made.path_of(0, key)
        assert path is not None and path.is_file(), key
