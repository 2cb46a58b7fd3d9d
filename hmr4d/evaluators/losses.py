"""Losses of the evaluator networks, after Guo et al., CVPR 2022."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hmr4d.evaluators.networks import ROWS_PER_TOKEN

MARGIN = 10.0  # distance beyond which a wrong pair costs nothing; it sets the scale of the embeddings
SPARSITY_WEIGHT = SMOOTHNESS_WEIGHT = 1e-3


class MatchingLoss(NamedTuple):
    """Terms of the contrastive loss, scalars; `total` is the sum of the others."""

    total: Tensor
    positive: Tensor
    negative: Tensor


class DecompositionLoss(NamedTuple):
    """Terms of the autoencoder's loss, scalars; `total` weighs the others."""

    total: Tensor
    reconstruction: Tensor
    sparsity: Tensor
    smoothness: Tensor


def matching_loss(text: Tensor, motion: Tensor, *, shift: int, margin: float = MARGIN) -> MatchingLoss:
    """Squared distance of pairs plus squared lack of distance, up to `margin`, of texts and shifted motions.

    Args:
        text, motion: (B, E) embeddings, pairs at equal rows.
        shift: text i is set against motion (i + shift) mod B; 0 sets it against its own motion.
        margin: in units of the embeddings.
    """
    distance = nn.functional.pairwise_distance
    positive = distance(text, motion).square().mean()
    lack = margin - distance(text, motion.roll(-shift, 0))
    negative = lack.clamp(min=0).square().mean()
    return MatchingLoss(positive + negative, positive, negative)


def published_shift(batch_size: int, random: np.random.RandomState) -> int:
    """A shift for `matching_loss` as the published training draws it: 0 to B - 2, so now and then the pair itself.

    Raises:
        ValueError: fewer than two pairs.
    """
    if batch_size < 2:
        raise ValueError(f"A batch of {batch_size} has no wrong pairs to train on; use at least 2 pairs.")
    return int(random.randint(0, batch_size - 1))


def decomposition_loss(reconstruction: Tensor, target: Tensor, movements: Tensor) -> DecompositionLoss:
    """Mean absolute error of the rows, plus small weights on the tokens' size and on their change over time.

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
    """Cross-entropy of the scores (B, K) of a `LengthEstimator` and the motions' rows (B,)."""
    return nn.functional.cross_entropy(logits, torch.div(num_rows, ROWS_PER_TOKEN, rounding_mode="floor"))
