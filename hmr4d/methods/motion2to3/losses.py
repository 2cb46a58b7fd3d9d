"""Training losses of Motion-2-to-3 on features (B, V, L, D)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hmr4d.methods.motion2to3.options import TrainingOptions
from hmr4d.representation.motion2d import Motion2DCodec

TINY = 1e-6


def masked_mse(predicted: Tensor, target: Tensor, mask: Tensor, item_weight: Tensor | None = None) -> Tensor:
    """Mean squared error over the entries where `mask` (broadcastable, bool) is set, with optional weights
    `item_weight` (B,)."""
    counted = mask.expand_as(target).to(target.dtype)
    error = (predicted - target) ** 2 * counted
    if item_weight is not None:
        error = error * item_weight.to(error).reshape(-1, *(1,) * (error.ndim - 1))
    return error.sum() / (counted.sum() + TINY)


def padded_mse(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Masked squared error averaged over all entries including padding, as published for several views.

    A short clip in a batch of long clips therefore has a smaller weight.
    """
    return ((predicted - target) ** 2 * mask).mean()


def global_velocity(points2d: Tensor) -> Tensor:
    """Steps (..., L - 1, P, 2) between frames of root and joints, in fixed image coordinates.

    Args:
        points2d: (..., L, P, 2) points relative to the root, without the root; the next root is last.
    """
    joints, root_velocity = points2d[..., :-1, :], points2d[..., -1:, :]
    root_step = root_velocity[..., :-1, :, :]
    steps = joints[..., 1:, :, :] - joints[..., :-1, :, :] + root_step
    return torch.cat([root_step, steps], -2)


def loss_terms(
    predicted: Tensor,
    x_0: Tensor,
    batch: Mapping[str, Any],
    codec: Motion2DCodec,
    level: Tensor,
    options: TrainingOptions,
) -> dict[str, Tensor]:
    """Loss terms by name; the trainer minimizes "loss".

    Args:
        predicted, x_0: (B, V, L, D) features.
        batch: `joints2d` (B, V, L, P, 2), `valid` (B, L), `conf` (B, L, P).
        codec: codec of the features.
        level: (B,) cumulative signal variances of the diffusion steps.
        options: weights and masking options.
    """
    mask = batch["valid"][:, None, :, None]
    if x_0.shape[1] == 1:
        trusted = (batch["conf"] > options.min_conf).repeat_interleave(2, -1)[:, None]
        mask = mask & trusted
    weight = (1.0 - level).reciprocal().clamp(max=options.max_step_weight)
    if options.include_padding:
        terms = {"simple_loss": padded_mse(predicted, x_0, mask)}
    else:
        terms = {"simple_loss": masked_mse(predicted, x_0, mask, weight)}
    loss = terms["simple_loss"]
    if options.velocity_weight > 0:
        step_mask = batch["valid"][:, None, 1:, None, None]
        wanted = global_velocity(batch["joints2d"]) / options.velocity_scale
        got = global_velocity(codec.decode(predicted)) / options.velocity_scale
        terms["velocity_loss"] = masked_mse(got, wanted, step_mask, weight)
        loss = loss + options.velocity_weight * terms["velocity_loss"]
    return {"loss": loss} | terms
