"""Training losses of Motion-2-to-3 on features (B, V, L, D)."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-6


def masked_mse(predicted: Tensor, target: Tensor, mask: Tensor, item_weight: Tensor | None = None) -> Tensor:
    """Mean squared error where `mask` (broadcastable, bool) holds; items may have weights `item_weight` (B,)."""
    counted = mask.expand_as(target).to(target.dtype)
    error = (predicted - target) ** 2 * counted
    if item_weight is not None:
        error = error * item_weight.to(error).reshape(-1, *(1,) * (error.ndim - 1))
    return error.sum() / (counted.sum() + TINY)


def padded_mse(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Masked squared error averaged over all entries, padding included, as published for several views.

    A short clip in a long batch therefore weighs less than its share.
    """
    return ((predicted - target) ** 2 * mask).mean()


def global_velocity(points2d: Tensor) -> Tensor:
    """Frame-to-frame steps (..., L - 1, P, 2) of the root and the joints in the fixed image frame.

    Args:
        points2d: (..., L, P, 2) local points without the root, next root last.
    """
    joints, next_root = points2d[..., :-1, :], points2d[..., -1:, :]
    root_step = next_root[..., :-1, :, :]
    steps = joints[..., 1:, :, :] - joints[..., :-1, :, :] + root_step
    return torch.cat([root_step, steps], -2)
