"""Samples of motion for the same keypoints: the prediction, perturbed by errors of the predicted size."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.methods.ray_lifting.features import JOINTS, Prediction
from hmr4d.motion.tracks import smooth_in_time

SHARED = 0.6  # fraction of the variance along the ray shared by all joints (position of the person)
SLOW_SECONDS = 0.4  # correlation time of the errors


def draw_errors(num_frames: int, fps: float, seed: int) -> Tensor:
    """Slowly varying errors (L, 22, 3) of unit variance, to the right, up and along the ray."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(1, num_frames, JOINTS, 3, generator=generator)
    common = torch.randn(1, num_frames, 1, 3, generator=generator)
    lengths = torch.tensor([num_frames])
    own, common = (_unit(smooth_in_time(x, lengths, SLOW_SECONDS * fps)) for x in (own, common))
    return (SHARED**0.5 * common + (1 - SHARED) ** 0.5 * own)[0]


def _unit(x: Tensor) -> Tensor:
    """x (1, L, ...), scaled to a mean square of 1."""
    return x / x.square().mean().sqrt().clamp(min=1e-6)


def moved(predicted: Prediction, errors: Tensor, sizes: Tensor) -> Prediction:
    """A prediction (1, L, ...) shifted by errors (L, 22, 3) of unit variance, times standard deviations (1, L, 22, 2+)
    along and across the ray, meters."""
    errors = errors.to(predicted.along)[None]
    wide = sizes[..., 1:2] / 2**0.5 * errors[..., :2]
    return replace(predicted, plane=predicted.plane + wide, along=predicted.along + sizes[..., 0] * errors[..., 2])
