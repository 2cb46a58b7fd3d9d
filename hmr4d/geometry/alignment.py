"""Least-squares alignment of corresponding points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hmr4d.utils import lazy_roma as roma


class Similarity(NamedTuple):
    """y = scale * R x + t.

    Attributes:
        scale: (...,) non-negative.
        R: (..., 3, 3) proper rotation.
        t: (..., 3).
    """

    scale: Tensor
    R: Tensor
    t: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Moves points (..., N, 3)."""
        return self.scale[..., None, None] * (points @ self.R.mT) + self.t[..., None, :]


def align_points(
    source: Tensor, target: Tensor, weights: Tensor | None = None, *, with_scale: bool = True
) -> Similarity:
    """The similarity that takes source points nearest to target points (Umeyama, PAMI 1991).

    With centered points x and y and C = sum w y x^T = U D V^T: R = U S V^T, scale = tr(D S) / sum w |x|^2, where
    S = diag(1, 1, -1) if a reflection would fit better and the identity otherwise.

    Args:
        source, target: (..., N, 3).
        weights: (..., N) non-negative, or None for equal weights.
        with_scale: False keeps the scale at 1.

    Returns:
        The alignment. If all source points coincide, only a translation with scale 1; without any weight, the identity.
    """
    weights = torch.ones_like(source[..., 0]) if weights is None else weights.expand(source.shape[:-1]).to(source)
    total = weights.sum(-1, keepdim=True)
    share = (weights / torch.where(total > 0, total, torch.ones_like(total)))[..., None]
    source_mean, target_mean = (share * source).sum(-2), (share * target).sum(-2)
    x, y = source - source_mean[..., None, :], target - target_mean[..., None, :]
    moments = (share * y).mT @ x
    spread = (share * x * x).sum((-1, -2))
    is_point = spread <= torch.finfo(x.dtype).tiny
    eye = torch.eye(3, dtype=x.dtype, device=x.device)
    R = roma.special_procrustes(torch.where(is_point[..., None, None], eye, moments))
    assert isinstance(R, Tensor)  # the singular values are only returned on request
    scale = torch.ones_like(spread)
    if with_scale:
        fitted = (R * moments).sum((-1, -2)) / torch.where(is_point, scale, spread)
        scale = torch.where(is_point, scale, fitted)
    t = target_mean - scale[..., None] * (R @ source_mean[..., None])[..., 0]
    return Similarity(scale, R, t)
