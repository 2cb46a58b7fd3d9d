"""Training losses of Mocap-2-to-3 on features and decoded points of several views."""

from __future__ import annotations

from torch import Tensor

TINY = 1e-6


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x over the entries where `mask` (broadcastable, bool) holds; 0 where there are none."""
    weight = mask.expand_as(x).to(x.dtype)
    return (x * weight).sum() / (weight.sum() + TINY)


def step_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Absolute error (..., L - 1, J, 2) of the steps of points (..., L, J, 2) from frame to frame."""
    return ((predicted - target).diff(dim=-3)).abs()
