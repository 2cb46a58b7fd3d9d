"""People over the floor of a camera file: their stature is told, and files that do not belong to them are noticed."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.camera.camera_files import CameraFile
from hmr4d.camera.floor_checks import check_on_floor
from hmr4d.geometry.rigs import camera_pose, project
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.motion.procedural import synthetic_joints

FEET = SMPL22.contact_joints


def camera(pitch: float = 12.0, focal: float = 1500.0, height: float = 1.6) -> CameraFile:
    turns = [torch.tensor(angle, dtype=torch.float64).deg2rad() for angle in (pitch, 4.0, 0.0)]
    T_w2c = camera_pose(turns[0], turns[1], turns[2], torch.tensor([0.0, height, 0.0], dtype=torch.float64))
    K4 = torch.tensor([focal, focal, 960.0, 540.0], dtype=torch.float64)
    return CameraFile((1920, 1080), K4, torch.zeros(0, dtype=torch.float64), T_w2c)


@pytest.fixture
def walk() -> np.ndarray:
    return synthetic_joints("walk", 24, np.random.default_rng(0))


@pytest.fixture
def track(walk: np.ndarray) -> KeypointTrack:
    """Someone who walks six meters ahead of `camera()`."""
    middle = walk[:, :1].mean(0) * (1, 0, 1)
    joints3d = torch.from_numpy(walk - middle + (0.5, 0, -6)).double()
    kp2d = project(camera().rig, joints3d)[0][0].numpy().astype(np.float32)
    conf = np.ones(kp2d.shape[:2], np.float32)
    return KeypointTrack(kp2d, conf, SMPL22, np.arange(len(walk)), 30.0, "7")


def test_stature_over_the_floor_is_reported(
    track: KeypointTrack, walk: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hmr4d")
    check_on_floor(track, camera())
    told = re.search(r"Person 7 looks (\d\.\d) m tall", caplog.text)
    head = walk[:, SMPL22.index("head"), 1].max()
    assert told and abs(float(told[1]) - head / 0.93) < 0.11  # rounded to 10 cm


@pytest.mark.parametrize("other", [camera(pitch=4.0), camera(focal=700.0), camera(height=0.7)])
def test_cameras_of_somebody_else_are_rated_doubtful(
    track: KeypointTrack, other: CameraFile, caplog: pytest.LogCaptureFixture
) -> None:
    check_on_floor(track, other)
    assert re.search(r"Person 7 would be \d+\.\d m tall over this floor", caplog.text)


@pytest.mark.parametrize("other", [camera(height=0.15), camera(height=9.0)])
def test_dwarfs_and_giants_are_refused(track: KeypointTrack, other: CameraFile) -> None:
    with pytest.raises(ValueError, match=r"Person 7 would be \d+\.\d m tall over this floor. Check height, pitch"):
        check_on_floor(track, other)


def test_feet_above_the_horizon_are_refused(track: KeypointTrack) -> None:
    with pytest.raises(ValueError, match=r"feet of person 7 are above the horizon .*pitch -12.0 degrees"):
        check_on_floor(track, camera(pitch=-12.0))


def test_what_cannot_be_told_is_not_synthetic(track: KeypointTrack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hmr4d")
    conf = track.kp2d_conf.copy()
    conf[:, SMPL22.index("head")] = 0
    check_on_floor(replace(track, kp2d_conf=conf), camera())
    assert not caplog.text
    conf[:, FEET] = 0
    check_on_floor(replace(track, kp2d_conf=conf), camera())
    assert "No foot of person 7 is visible" in caplog.text


def test_keypoints_of_which_none_is_sure_are_refused(track: KeypointTrack) -> None:
    unsure = replace(track, kp2d_conf=0.2 * np.ones_like(track.kp2d_conf))
    with pytest.raises(
        ValueError, match="No keypoint of person .* the highest confidence is 0.20, and those below 0.3"
    ):
        check_on_floor(unsure, camera())
