"""Noise sources of sampling: one CPU generator per item, or recorded arrays.

A source is called once for the initial noise and once per step, and returns standard normal noise. Each item draws only
for its own length, so a sample does not depend on the rest of the batch, on padding or on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hmr4d.geometry.cameras import world_to_camera
from hmr4d.utils.precision import full_precision


class NoiseSource(Protocol):
    """Returns the next standard normal array (B, V, L, D) of a sampling run."""

    def __call__(self) -> Tensor: ...


class IndependentNoise:
    """Independent noise per view and channel, (B, V, L, D), zero beyond each item's length.

    Args:
        generators: B CPU generators.
        lengths: (B,) valid frames.
        num_views, num_features: V and D.
        device: device of the noise.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        lengths: Tensor,
        *,
        num_views: int,
        num_features: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.generators, self.lengths = generators, [int(n) for n in lengths]
        self.num_views, self.num_features, self.device = num_views, num_features, device

    def __call__(self) -> Tensor:
        out = torch.zeros(len(self.lengths), self.num_views, max(self.lengths), self.num_features)
        for item, (generator, length) in enumerate(zip(self.generators, self.lengths, strict=True)):
            out[item, :, :length] = torch.randn(self.num_views, length, self.num_features, generator=generator)
        return out.to(self.device)


class WorldNoise:
    """One normal vector in space per frame and point, projected to every view: (B, V, L, 2 P), zero beyond each length.

    Each view keeps x and y of R_w2c n + t_w2c, as the released program of Motion-2-to-3 (arXiv 2412.13111) does. The
    marginal of a view is standard normal as long as the camera looks at the origin.

    Args:
        generators: B CPU generators.
        lengths: (B,) valid frames.
        T_w2c: (B, V, 4, 4).
        num_points: P.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], lengths: Tensor, T_w2c: Tensor, *, num_points: int
    ) -> None:
        self.generators, self.lengths = generators, [int(n) for n in lengths]
        self.T_w2c, self.num_points = T_w2c, num_points

    def __call__(self) -> Tensor:
        noise3d = torch.zeros(len(self.lengths), max(self.lengths), self.num_points, 3)
        for item, (generator, length) in enumerate(zip(self.generators, self.lengths, strict=True)):
            noise3d[item, :length] = torch.randn(length, self.num_points, 3, generator=generator)
        return view_noise(noise3d.to(self.T_w2c), self.T_w2c)


@full_precision
def view_noise(noise3d: Tensor, T_w2c: Tensor) -> Tensor:
    """(B, V, L, 2 P) noise of views T_w2c (B, V, 4, 4) from noise in space (B, L, P, 3)."""
    flat = world_to_camera(noise3d.flatten(1, 2)[:, None], T_w2c)[..., :2]
    return flat.unflatten(2, noise3d.shape[1:3]).flatten(-2)
