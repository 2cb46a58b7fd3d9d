"""The condition of published motion-conditioned generators from a reference motion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hmr4d.representation.rep276 import CONDITION, NUM_FEATURES, Rep276Statistics, checked_features

PUBLISHED_RATES = (16, 20)  # frames per second that the published loader takes a reference to have, and gives it
EMPTY_LENGTH = 100  # rows of zeros for an entry without a reference
KERNEL, SIGMA = 5, 1.0  # of the smoothing of what the published generator makes


class ReferenceCondition(NamedTuple):
    """Input of the generator.

    Attributes:
        features: (N, 276) normalised.
        condition: (N, 138) the columns that it is conditioned on.
        attend_to_text: it is to follow the text, for there is no reference.
    """

    features: Tensor
    condition: Tensor
    attend_to_text: bool


def reference_condition(features: Tensor | None, statistics: Rep276Statistics) -> ReferenceCondition:
    """The input of a reference (N, 276) at the rate of the statistics; None: zeros, before they are normalised."""
    rows = torch.zeros(EMPTY_LENGTH, NUM_FEATURES) if features is None else checked_features(features)
    normalized = statistics.normalize(rows)
    return ReferenceCondition(normalized, normalized[:, CONDITION], features is None)


def published_resampling(features: Tensor) -> Tensor:
    """(N 20 // 16, 276) rows interpolated from (N, 276), as the published loader does for every reference.

    All columns are interpolated on lines from the first row to the last. Velocities stay those of 1/16 s and rotations
    are no longer orthonormal; `convert.resampled` does it well.
    """
    rows = checked_features(features)
    source, target = PUBLISHED_RATES
    count = len(rows) * target // source
    return interpolate(rows.T[None], size=count, mode="linear", align_corners=True)[0].T


def published_smoothing(features: Tensor) -> Tensor:
    """(N, 276) rows smoothed in time by a Gaussian of five taps; the first two and the last two are not changed."""
    rows = checked_features(features)
    half = KERNEL // 2
    taps = torch.exp(-0.5 * (torch.arange(-half, half + 1).to(rows) / SIGMA).square())
    taps = taps / taps.sum()
    if len(rows) <= 2 * half:
        return rows.clone()
    result = rows.clone()
    result[half:-half] = sum(tap * rows[k : len(rows) - 2 * half + k] for k, tap in enumerate(taps))
    return result
