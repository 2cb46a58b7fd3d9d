"""Poses between frames: rotations by spherical, positions by linear interpolation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.body.pose import Pose
from hmr4d.motion.resampling import resampled_length
from hmr4d.utils import lazy_roma as roma


def interpolate_linearly(values: Tensor, times: Tensor) -> Tensor:
    """(M, ...) values at times (M,), in frames of `values` (L, ...) and within them."""
    left, share = _places(len(values), times)
    share = share.to(values).reshape(-1, *[1] * (values.ndim - 1))
    return values[left] * (1 - share) + values[(left + 1).clamp(max=len(values) - 1)] * share


def interpolate_rotations(rotations: Tensor, times: Tensor) -> Tensor:
    """(M, ..., 3, 3) rotations at times (M,), in frames of `rotations` (L, ..., 3, 3): spherical interpolation.

    R(t) = R_i exp(u log(R_i^T R_{i+1})), computed in float64.
    """
    left, share = _places(len(rotations), times)
    start = rotations[left].double()
    end = rotations[(left + 1).clamp(max=len(rotations) - 1)].double()
    share = share.double().reshape(-1, *[1] * (rotations.ndim - 2))
    step = roma.rotmat_to_rotvec(start.mT @ end)
    return (start @ roma.rotvec_to_rotmat(step * share)).to(rotations)


def resample_times(num_frames: int, fps: float, target_fps: float) -> Tensor:
    """(M,) float64 times k / target_fps, in frames of the source, from its first frame to its last."""
    return torch.arange(resampled_length(num_frames, fps, target_fps), dtype=torch.float64) * (fps / target_fps)


def interpolate_pose(pose: Pose, times: Tensor) -> Pose:
    """A pose at times (M,) in its frames, within them."""
    return replace(
        pose,
        rotations=interpolate_rotations(pose.rotations, times),
        translation=interpolate_linearly(pose.translation, times),
    )


def _places(num_frames: int, times: Tensor) -> tuple[Tensor, Tensor]:
    """The frame before each time, and the fraction toward the next one."""
    left = times.floor().long().clamp(0, max(num_frames - 2, 0))
    return left, (times - left).clamp(0, 1)
