"""The random numbers of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hmr4d.diffusion.noise import view_noise
from hmr4d.methods.motion2to3.options import TrainingOptions
from hmr4d.methods.motion2to3.values import TrainingDraws


def draw_training(
    batch: Mapping[str, Any],
    generator: torch.Generator,
    options: TrainingOptions,
    *,
    num_steps: int,
    world_noise: bool,
    pooled_dim: int | None,
) -> TrainingDraws:
    """Draws the random numbers of a training step on `batch`.

    Args:
        batch: `joints2d` (B, V, L, P, 2), `T_w2c` (B, V, 4, 4) and, if tokens are hidden, `text_valid` (B, M).
        generator: CPU generator.
        options: dropout probabilities, and noise of the pooled text vector.
        num_steps: number of diffusion steps of the schedule.
        world_noise: views share noise in world space.
        pooled_dim: width of the pooled vector of networks that take it in addition to tokens, or None.

    Raises:
        ValueError: tokens should be hidden but the batch has none.
    """
    batch_size, num_views, num_frames, num_points = batch["joints2d"].shape[:4]
    if num_views > 1 and world_noise:
        noise3d = torch.randn(batch_size, num_frames, num_points, 3, generator=generator)
        eps = view_noise(noise3d.to(batch["T_w2c"]), batch["T_w2c"])
    else:
        eps = torch.randn(batch_size, num_views, num_frames, 2 * num_points, generator=generator)
    t = _noise_steps(batch_size, num_steps, options.step_power, generator)
    keep_text = torch.rand(batch_size, generator=generator) >= options.drop_text
    keep_cam = torch.rand(batch_size, num_views, generator=generator) >= options.drop_cam
    keep_token = None
    if options.drop_token > 0:
        if "text_valid" not in batch:
            raise ValueError(
                "drop_token hides cached token states, but the batch contains plain text. Prepare the text cache of "
                "the data, or set drop_token=0."
            )
        rate = options.drop_token * torch.rand(batch_size, 1, generator=generator)
        keep_token = torch.rand(batch["text_valid"].shape, generator=generator) >= rate
        keep_token[:, 0] = True
    pooled_noise = None
    if options.pooled_noise > 0 and pooled_dim is not None:
        pooled_noise = options.pooled_noise * torch.randn(batch_size, pooled_dim, generator=generator)
    return TrainingDraws(eps, t, keep_text, keep_cam, keep_token, pooled_noise)


def _noise_steps(count: int, num_steps: int, power: float, generator: torch.Generator) -> Tensor:
    """Random diffusion steps (count,), see `TrainingOptions.step_power`."""
    if power == 1.0:
        return torch.randint(0, num_steps, (count,), generator=generator)
    share = torch.rand(count, generator=generator) ** power
    return (num_steps * (1.0 - share)).long().clamp(max=num_steps - 1)
