"""Networks small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hmr4d.models.mocap2to3.denoiser import LiftingDenoiser

NUM_FEATURES, NUM_CONDITION, CAM_DIM, GRID = 48, 72, 7, 8
ASLEEP = ("view_out", "mix_out", "condition2d_out", "embed_other")  # what starts at zero


def tiny_denoiser(*, awake: bool = True, **changes: Any) -> LiftingDenoiser:
    """Multi-view network of two narrow layers; awake gives the branches that start at zero some weight."""
    settings: dict[str, Any] = {
        "num_features": NUM_FEATURES, "num_condition_features": NUM_CONDITION, "cam_dim": CAM_DIM, "dim": 16,
        "ff_dim": 24, "num_layers": 2, "num_heads": 2, "dropout": 0.0, "use_views": True, "grid": GRID, "patch": 4,
    }  # fmt: skip
    torch.manual_seed(0)
    denoiser = LiftingDenoiser(**(settings | changes))
    if awake:
        for name, parameter in denoiser.named_parameters():
            if any(part in name for part in ASLEEP):
                nn.init.normal_(parameter, std=0.3)
    return denoiser.eval()


def random_inputs(
    batch: int = 2, num_views: int = 4, frames: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """x_t, pointmaps and the other keywords of a denoiser call."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    x_t, pointmap = draw(batch, num_views, frames, NUM_FEATURES), draw(batch, num_views, 4, GRID, GRID)
    return x_t, pointmap, {
        "t": torch.arange(batch) * 3,
        "lengths": torch.full((batch,), frames),
        "cam": draw(batch, num_views, CAM_DIM),
        "condition2d": draw(batch, frames, NUM_CONDITION),
    }  # fmt: skip
