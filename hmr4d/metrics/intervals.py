"""Means over repeats of an evaluation, with the interval that tables of the field report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NORMAL_95 = 1.96  # standard deviations of the central 95 % of a normal distribution


@dataclass(frozen=True)
class Value:
    """A metric over repeats.

    Attributes:
        mean: over the repeats; None when it is not defined (a repeat was NaN or infinite).
        interval: half width of the 95 % interval; None for a single repeat.
        repeats: how many.
    """

    mean: float | None
    interval: float | None
    repeats: int


def replicate(values: Sequence[float]) -> Value:
    """Mean and 1.96 * std / sqrt(R) of R repeats, with the population's standard deviation (Guo et al., CVPR 2022).

    `motion_quality.interval`, by Student's t, is the wider one for few repeats; this one is for comparison with
    published tables.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("No repeats to average; give at least one value.")
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean())
    if not math.isfinite(mean):
        return Value(None, None, len(found))
    interval = float(NORMAL_95 * found.std() / math.sqrt(len(found))) if len(found) > 1 else None
    return Value(mean, interval, len(found))


def replicate_rows(repeats: Sequence[Mapping[str, float]]) -> dict[str, Value]:
    """Values by metric name of repeats with the same metrics.

    Raises:
        ValueError: no repeats, or repeats with different metrics.
    """
    if not repeats:
        raise ValueError("No repeats to average; give at least one.")
    for number, repeat in enumerate(repeats):
        if odd := repeat.keys() ^ repeats[0].keys():
            raise ValueError(
                f"Repeat {number} differs from repeat 0 in {sorted(odd)}; all must contain the same metrics."
            )
    return {name: replicate([repeat[name] for repeat in repeats]) for name in repeats[0]}
