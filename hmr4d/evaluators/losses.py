"""Losses of the evaluator networks, after Guo et al., CVPR 2022."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hmr4d.evaluators.networks import ROWS_PER_TOKEN

MARGIN = 10.0  # distance beyond which a negative pair has no loss; determines the scale of the embeddings
SPARSITY_WEIGHT = SMOOTHNESS_WEIGHT = 1e-3


class MatchingLoss(NamedTuple):
    """Terms of the contrastive loss, scalars; `total` is the sum of the others."""

    total: Tensor
    positive: Tensor
    negative: Tensor


class DecompositionLoss(NamedTuple):
    """Terms of the autoencoder's loss, scalars; `total` is their weighted sum."""

    total: Tensor
    reconstruction: Tensor
    sparsity: Tensor
    smoothness: Tensor


def matching_loss(text: Tensor, motion: Tensor, *, shift: int, margin: float = MARGIN) -> MatchingLoss:
    """Contrastive loss: squared distance of positive pairs, plus squared hinge max(0, margin - distance) of negative
    pairs.

    Args:
        text, motion: (B, E) embeddings, pairs at equal rows.
        shift: the negative of text i is motion (i + shift) mod B; with 0 it is its own motion.
        margin: margin, in units of the embeddings.
    """
    distance = nn.functional.pairwise_distance
    positive = distance(text, motion).square().mean()
    lack = margin - distance(text, motion.roll(-shift, 0))
    negative = lack.clamp(min=0).square().mean()
    return MatchingLoss(positive + negative, positive, negative)


def published_shift(batch_size: int, random: np.random.RandomState) -> int:
    """Random shift for `matching_loss` as in the published training: 0 to B - 2, which includes the pair itself.

    Raises:
        ValueError: there are fewer than two pairs.
    """
    if batch_size < 2:
        raise ValueError(f"A batch of {batch_size} has no negative pairs; use at least 2 pairs.")
    return int(random.randint(0, batch_size - 1))


def decomposition_loss(reconstruction: Tensor, target: Tensor, movements: Tensor) -> DecompositionLoss:
    """Mean absolute error of the rows, plus penalties with small weights on magnitude and temporal change of the
    tokens.

    Args:
        reconstruction, target: (B, L, D) feature rows, foot contacts included.
        movements: (B, L // 4, C) tokens.
    """
    error = nn.functional.l1_loss(reconstruction, target)
    sparsity = movements.abs().mean()
    smoothness = nn.functional.l1_loss(movements[:, 1:], movements[:, :-1])
    total = error + SPARSITY_WEIGHT * sparsity + SMOOTHNESS_WEIGHT * smoothness
    return DecompositionLoss(total, error, sparsity, smoothness)


def length_loss(logits: Tensor, num_rows: Tensor) -> Tensor:
    """Cross-entropy of the logits (B, K) of a `LengthEstimator` for motions of `num_rows` (B,)."""
    return nn.functional.cross_entropy(logits, torch.div(num_rows, ROWS_PER_TOKEN, rounding_mode="floor"))
