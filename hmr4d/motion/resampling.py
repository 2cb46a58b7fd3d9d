"""Changing the frame rate of joint positions."""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded


def resampled_length(num_frames: int, fps: float, target_fps: float) -> int:
    """Number of frames at `target_fps` that fit between the first and the last source frame, both included."""
    return math.floor((num_frames - 1) * target_fps / fps + 1e-9) + 1


def resample_positions(positions: np.ndarray, fps: float, target_fps: float) -> np.ndarray:
    """Positions at times k / target_fps from a not-a-knot cubic spline through every coordinate.

    Args:
        positions: (T, ..., 3) positions at `fps` frames per second.
        fps: source rate.
        target_fps: wanted rate.

    Returns:
        (M, ..., 3) with M = floor((T - 1) * target_fps / fps) + 1, same dtype.
    """
    if len(positions) == 1 or fps == target_fps:
        return positions.copy()
    values = positions.reshape(len(positions), -1).astype(np.float64)
    times = np.arange(resampled_length(len(values), fps, target_fps)) * (fps / target_fps)
    # Four points or more have the closed form below; SciPy handles not-a-knot with two and three.
    spline = _not_a_knot_spline if len(values) > 3 else _scipy_spline
    return spline(values, times).reshape(len(times), *positions.shape[1:]).astype(positions.dtype)


def _scipy_spline(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    return CubicSpline(np.arange(len(values)), values, axis=0, bc_type="not-a-knot")(times)


def _not_a_knot_spline(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Cubic spline through (T, D) values at times 0, 1, ..., T - 1, T > 3; three times as fast as the general one.

    The slopes d solve d[i-1] + 4 d[i] + d[i+1] = 3 (s[i] + s[i-1]) with s the differences of the values, and at both
    ends d[0] + 2 d[1] = (5 s[0] + s[1]) / 2, which makes the third derivative continuous there. Each piece is then a
    cubic Hermite curve.
    """
    num = len(values)
    steps = np.diff(values, axis=0)
    right = np.empty_like(values)
    right[1:-1] = 3 * (steps[1:] + steps[:-1])
    right[0] = 2.5 * steps[0] + 0.5 * steps[1]
    right[-1] = 2.5 * steps[-1] + 0.5 * steps[-2]
    upper, diagonal, lower = bands = np.ones((3, num))
    diagonal[1:-1] = 4.0
    upper[1] = lower[-2] = 2.0
    slopes = solve_banded((1, 1), bands, right, overwrite_b=True, check_finite=False)
    left = np.minimum(times.astype(np.int64), num - 2)
    u = (times - left)[:, None]
    start, step, slope0, slope1 = values[left], steps[left], slopes[left], slopes[left + 1]
    return start + u * (slope0 + u * ((3 * step - 2 * slope0 - slope1) + u * (slope0 + slope1 - 2 * step)))
