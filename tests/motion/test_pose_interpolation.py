"""Poses between frames."""

from __future__ import annotations

import math

import torch

from hmr4d.motion.pose_interpolation import interpolate_linearly, interpolate_rotations, resample_times
from hmr4d.utils import lazy_roma as roma


def test_rotations_go_the_short_way_at_constant_speed() -> None:
    angles = torch.tensor([0.0, 1.0, 3.0, 3.0 + math.pi - 0.1], dtype=torch.float64)
    rotations = roma.rotvec_to_rotmat(angles[:, None] * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    times = torch.tensor([0.0, 0.25, 1.5, 2.5, 3.0])
    expected = interpolate_linearly(angles, times)
    got = interpolate_rotations(rotations, times)
    torch.testing.assert_close(got[:, 0, 0], expected.cos(), atol=1e-9, rtol=0)
    torch.testing.assert_close(got[:, 1, 0], expected.sin(), atol=1e-9, rtol=0)


def test_times_end_within_the_motion_and_keep_its_seconds() -> None:
    times = resample_times(31, 30, 20)
    assert len(times) == 21
    torch.testing.assert_close(times[[0, 1, -1]], torch.tensor([0.0, 1.5, 30.0], dtype=torch.float64))


def test_one_frame_is_held() -> None:
    values = torch.tensor([[1.0, 2.0]])
    assert torch.equal(interpolate_linearly(values, torch.tensor([0.0])), values)
