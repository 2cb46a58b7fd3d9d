"""Means of pose errors over a set. Intervals treat several cameras of one motion as one sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

from hmr4d.evaluation.cards import AVERAGES
from hmr4d.metrics.intervals import Value
from hmr4d.metrics.pose_errors import PoseErrorMetric

CONFIDENCE = 0.95


def averaged(metric: PoseErrorMetric, sequences: Sequence[str], average: str) -> dict[str, Value]:
    """Metric -> mean over the set and half width of its 95 % confidence interval; `repeats` is the number of sequences.

    The mean is a ratio of sums: sum of values / number of frames, or sum of the clips' means / number of clips. Its
        variance is that of the residuals, summed over the clips of each sequence, because errors of one motion recorded
        by several cameras are correlated. The interval uses Student's t. A single sequence has no interval.

    Args:
        metric: metric state with one entry per clip.
        sequences: name of the recorded sequence of each clip, in the order of the clips.
        average: "frames" or "clips".

    Raises:
        ValueError: the average is unknown, or the number of sequences differs from the number of clips.
    """
    sums, counts = (x.double().cpu().numpy() for x in metric.sums_and_counts())
    if average not in AVERAGES or len(sequences) != len(sums):
        raise ValueError(
            f"average is {average!r} with {len(sequences)} sequences for {len(sums)} clips; expected one of "
            f"{', '.join(AVERAGES)} and one name per clip."
        )
    groups = np.unique(np.asarray(sequences), return_inverse=True)[1]
    values = {}
    for column, name in enumerate(metric.names):
        total, count = sums[:, column], counts[:, column]
        has = count > 0
        if average == "clips":
            total, count = total / np.where(has, count, 1), has.astype(float)
        values[name] = _ratio(total[has], count[has], groups[has])
    return values


def _ratio(total: np.ndarray, count: np.ndarray, groups: np.ndarray) -> Value:
    """sum(total) / sum(count) with its confidence interval."""
    clusters = np.unique(groups)
    if not len(clusters):
        return Value(None, None, 0)
    mean = float(total.sum() / count.sum())
    if len(clusters) < 2:
        return Value(mean, None, len(clusters))
    residuals = np.bincount(groups, total - mean * count)[clusters]
    error = math.sqrt(len(clusters) / (len(clusters) - 1) * float(residuals @ residuals)) / float(count.sum())
    return Value(mean, float(student_t.ppf((1 + CONFIDENCE) / 2, len(clusters) - 1)) * error, len(clusters))
