"""Lifted motion of this package is taken with its camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.reference_motion.clip_file import load_clip, save_clip
from hmr4d.reference_motion.convert import resampled
from tests.export.test_lift_npz import lifted_person, save


def test_lifted_motion_keeps_its_camera(tmp_path: Path) -> None:
    lifted = replace(lifted_person(), frame_ids=np.arange(3, 8))
    save(tmp_path / "lifted.npz", lifted)
    with np.load(tmp_path / "lifted.npz") as held:
        T_w2c, K4, size = held["camera_T_w2c"], held["camera_K4"], held["camera_size"]
    clip = load_clip(tmp_path / "lifted.npz")
    assert clip.camera is not None and clip.camera.K is not None and clip.frames == [3, 4, 5, 6, 7]
    assert clip.camera.T_w2c.shape == (5, 4, 4) and clip.camera.is_static
    np.testing.assert_allclose(clip.camera.T_w2c[2], T_w2c)
    assert [float(clip.camera.K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))] == pytest.approx(K4.tolist())
    assert clip.camera.size == tuple(size.astype(int))
    faster = resampled(clip, 50.0)
    assert faster.camera is not None and faster.camera.T_w2c.shape == (faster.motion.num_frames, 4, 4)
    save_clip(tmp_path / "clip.npz", clip)
    again = load_clip(tmp_path / "clip.npz")
    assert again.camera is not None and torch.equal(again.camera.T_w2c, clip.camera.T_w2c)


def test_frames_of_another_rate_are_not_taken_for_those_of_the_video(tmp_path: Path) -> None:
    save(tmp_path / "lifted.npz", replace(lifted_person(), frame_ids=np.arange(5) * 1.5))
    assert load_clip(tmp_path / "lifted.npz").frames is None


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        ("camera_T_w2c", np.zeros((3, 3)), "its camera_T_w2c has shape"),
        ("camera_T_w2c", np.full((4, 4), np.nan), "expected finite numbers"),
        ("camera_K4", np.ones(3), "its camera_K4 has shape"),
        ("camera_K4", np.array("x"), "its camera_K4 has shape"),
        ("camera_size", np.array(1280), "its camera_size has shape"),
        ("camera_size", np.array([0, 720]), "expected width and height in pixels"),
        ("frame_ids", np.array(["a"] * 5), "its frame_ids has shape"),
        ("frame_ids", np.arange(4), "its frame_ids has shape"),
    ],
)
def test_a_camera_of_another_shape_is_refused_with_the_file(tmp_path: Path, key: str, value: Any, cause: str) -> None:
    path = tmp_path / "lifted.npz"
    save(path, lifted_person())
    with np.load(path) as held:
        content = dict(held)
    np.savez(path, **{**content, key: value})
    with pytest.raises(ValueError, match=f"lifted.npz: .*{cause}"):
        load_clip(path)
