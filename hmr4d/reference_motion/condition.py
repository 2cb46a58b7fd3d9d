"""The condition of published motion-conditioned generators from a reference motion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hmr4d.representation.rep276 import CONDITION, NUM_FEATURES, Rep276Statistics, checked_features

PUBLISHED_RATES = (16, 20)  # assumed input and output frame rate of the published loader
EMPTY_LENGTH = 100  # number of zero rows for an entry without reference
KERNEL, SIGMA = 5, 1.0  # smoothing of the published generator's output


class ReferenceCondition(NamedTuple):
    """Input of the generator.

    Attributes:
        features: (N, 276) normalized features.
        condition: (N, 138) columns of the condition.
        attend_to_text: whether the generator follows the text, because there is no reference.
    """

    features: Tensor
    condition: Tensor
    attend_to_text: bool


def reference_condition(features: Tensor | None, statistics: Rep276Statistics) -> ReferenceCondition:
    """Generator input of a reference (N, 276) at the frame rate of the statistics; None: zeros before normalization."""
    rows = torch.zeros(EMPTY_LENGTH, NUM_FEATURES) if features is None else checked_features(features)
    normalized = statistics.normalize(rows)
    return ReferenceCondition(normalized, normalized[:, CONDITION], features is None)


def published_resampling(features: Tensor) -> Tensor:
    """Rows (N 20 // 16, 276) interpolated from (N, 276) as in the published loader.

    All columns are interpolated linearly from the first to the last row. Velocities therefore stay per 1/16 s and
    rotations are no longer orthonormal; `convert.resampled` avoids both.
    """
    rows = checked_features(features)
    source, target = PUBLISHED_RATES
    count = len(rows) * target // source
    return interpolate(rows.T[None], size=count, mode="linear", align_corners=True)[0].T


def published_smoothing(features: Tensor) -> Tensor:
    """Rows (N, 276) smoothed over time by a five-tap Gaussian; the first two and the last two rows are unchanged."""
    rows = checked_features(features)
    half = KERNEL // 2
    taps = torch.exp(-0.5 * (torch.arange(-half, half + 1).to(rows) / SIGMA).square())
    taps = taps / taps.sum()
    if len(rows) <= 2 * half:
        return rows.clone()
    result = rows.clone()
    result[half:-half] = sum(tap * rows[k : len(rows) - 2 * half + k] for k, tap in enumerate(taps))
    return result
