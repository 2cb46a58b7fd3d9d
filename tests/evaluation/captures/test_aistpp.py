"""The reader of AIST++ on made-up files of its layout."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.evaluation.captures.aistpp import AistppCaptures
from hmr4d.evaluation.captures.views import CaptureError
from hmr4d.geometry.rigs import project
from hmr4d.utils.safe_pickle import UnsafePickleError
from tests.data.capture_files import AIST_IGNORED, AIST_SEQUENCES, AIST_TILT, write_aistpp

FIRST, SECOND, THIRD, _ = AIST_SEQUENCES


@pytest.fixture(scope="module")
def aist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    root = tmp_path_factory.mktemp("aist")
    return root, write_aistpp(root)


def test_sequences_and_views(aist: tuple[Path, dict[str, np.ndarray]]) -> None:
    captures = AistppCaptures(aist[0], "pose_test")
    assert captures.names == [FIRST, SECOND, THIRD] and AIST_IGNORED not in captures.names
    data = captures.dataset()
    names = [f"{n}/c{v + 1:02d}" for n, v in ((captures.names[captures.names.index(n)], v) for n, v in data.clips)]
    assert len(data) == 8 + 9 + 8
    assert f"{FIRST}/c05" not in names and f"{SECOND}/c05" in names and f"{THIRD}/c07" not in names
    assert AistppCaptures(aist[0]).names == sorted([FIRST, SECOND, THIRD])


def test_captures_are_in_meters_above_the_floor_at_thirty_frames_per_second(
    aist: tuple[Path, dict[str, np.ndarray]],
) -> None:
    root, truth = aist
    captures = AistppCaptures(root, "pose_test")
    clip = captures.dataset()[0]
    true = truth[FIRST][:240:2]
    assert clip.fps == 30 and clip.joints3d.shape == (120, 17, 3) and clip.skeleton.name == "coco17"
    assert 0.94 < clip.valid.float().mean() < 0.99
    height = clip.joints3d[..., 1].numpy()
    known = clip.valid.numpy()
    np.testing.assert_allclose(height[known], true[..., 1][known], atol=0.01)
    bones = (clip.joints3d[:, 5] - clip.joints3d[:, 7]).norm(dim=-1)
    both = known[:, 5] & known[:, 7]
    np.testing.assert_allclose(bones[both], np.linalg.norm(true[:, 5] - true[:, 7], axis=-1)[both], atol=1e-5)
    ground = captures.ground("setting1")
    expected = AIST_TILT[:3, 1]
    assert np.degrees(np.arccos(ground.normal @ expected)) < 0.3 and ground.residual < 0.02


def test_detections_are_undistorted(aist: tuple[Path, dict[str, np.ndarray]]) -> None:
    captures = AistppCaptures(aist[0], "pose_test")
    for index in (0, 12):
        clip = captures.dataset()[index]
        true = captures.dataset(detected=False)[index]
        assert 0.85 < (clip.conf > 0).float().mean() < 0.95 and clip.conf.max() < 1.01
        both = (clip.conf > 0) & (true.conf > 0)
        torch.testing.assert_close(clip.kp2d[both], true.kp2d[both], atol=2e-2, rtol=0)
        assert clip.kp2d[clip.conf == 0].abs().sum() == 0
        pixels, _ = project(clip.rig, clip.joints3d)
        torch.testing.assert_close(pixels[0][both], clip.kp2d[both], atol=2e-2, rtol=0)
        assert torch.equal(clip.rig.K4, true.rig.K4) and clip.rig.num_views == 9


def test_the_small_view_keeps_its_size(aist: tuple[Path, dict[str, np.ndarray]]) -> None:
    capture = AistppCaptures(aist[0], window=None).load(THIRD)
    assert capture.size[6].tolist() == [640, 480] and capture.size[0].tolist() == [1920, 1080]
    assert len(capture.joints3d) == 160


def test_sequences_with_incomplete_ground_truth_are_skipped(tmp_path: Path) -> None:
    write_aistpp(tmp_path, num_frames=80)
    path = tmp_path / "keypoints3d" / f"{SECOND}.pkl"
    path.write_bytes(pickle.dumps({"keypoints3d_optim": np.full((80, 17, 3), np.nan)}))
    assert AistppCaptures(tmp_path, "pose_test").names == [FIRST, THIRD]


def _edit_json(root: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    path = root / "cameras" / "setting1.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _points(root: Path, content: object) -> None:
    (root / "keypoints3d" / f"{FIRST}.pkl").write_bytes(pickle.dumps(content))


@pytest.mark.parametrize(
    ("corrupt", "error", "message"),
    [
        (lambda r: (r / "cameras/setting1.json").unlink(), FileNotFoundError, "setting1.json"),
        (lambda r: (r / f"keypoints3d/{FIRST}.pkl").unlink(), FileNotFoundError, FIRST),
        (lambda r: (r / "splits/pose_test.txt").unlink(), FileNotFoundError, "pose_test.txt"),
        (lambda r: (r / f"keypoints2d/{FIRST}.pkl").unlink(), FileNotFoundError, "keypoints2d"),
        (lambda r: (r / "cameras/mapping.txt").write_text("a b c\n"), CaptureError, "'a b c' is not"),
        (lambda r: (r / "cameras/mapping.txt").write_text("a b\n"), CaptureError, "has no line for"),
        (lambda r: _edit_json(r, lambda c: c[0].pop("rotation")), CaptureError, "no list of cameras"),
        (lambda r: _edit_json(r, lambda c: c[0].update(size=[1])), CaptureError, "no list of cameras"),
        (lambda r: _points(r, {"keypoints3d": 1}), CaptureError, "no 'keypoints3d_optim'"),
        (lambda r: _points(r, {"keypoints3d_optim": np.zeros((9, 18, 3))}), CaptureError, r"\(9, 18, 3\)"),
        (lambda r: _points(r, {"keypoints3d_optim": np.random.rand(80, 17, 3)}), CaptureError, "unit is centimetres"),  # noqa: NPY002
        (lambda r: _points(r, {"keypoints3d_optim": 100 * np.random.rand(40, 17, 3)}), CaptureError, "download both"),  # noqa: NPY002
        (lambda r: _points(r, {"keypoints3d_optim": Path("x")}), UnsafePickleError, "neither an array"),
    ],
)
def test_malformed_files_are_named(
    tmp_path: Path, corrupt: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    write_aistpp(tmp_path, num_frames=80)
    corrupt(tmp_path)
    with pytest.raises(error, match=message):
        AistppCaptures(tmp_path, "pose_test").load(FIRST)
