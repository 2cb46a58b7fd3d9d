"""Temporal smoothing of detected joints, forward and backward, without lag and without damping fast movements.

A Kalman smoother (Rauch, Tung, Striebel, 1965) for every coordinate: positions and velocities, driven by accelerations.
The acceleration of each joint is estimated around each moment, so a resting hand is smoothed strongly and a clapping
one hardly. Single outliers are ignored. Times may be uneven.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

Array = NDArray[np.float64]

NOISE = 0.006  # standard deviation of a confident detection relative to the body size
UNSURE_NOISE = 4.0  # factor of the noise for joints without confidence
_LEAST, _MOST = 1.5, 60.0  # body sizes per second squared: accelerations of a joint
_MEASURING = 12.0  # the same, for the pass that estimates accelerations
_REACH = 0.12  # seconds around a moment in which its acceleration is estimated
_OUTLIER = 6.0  # number of deviations from a smooth curve of an outlier
_CURVE_NOISE = 1.4  # deviation of a measurement from the curve through its neighbors, relative to its noise
_TRIALS = 32  # simulated resting coordinates that give the acceleration of pure noise
_LONGEST_STEP = 0.25  # seconds; longer pauses reset a joint
_UNKNOWN = 1e6  # variance of unknown values in squared body sizes


def smooth_joints(points: Array, conf: Array, times: Array, size: float) -> Array:
    """Smoothed joints; missing ones are not changed.

    Args:
        points: (L, J, 2) pixels.
        conf: (L, J), 0: not seen.
        times: (L,) seconds, rising.
        size: of the body in the picture, pixels.

    Returns:
        (L, J, 2) pixels.
    """
    L, J = conf.shape
    seen = conf > 0
    if L < 3 or not seen.any():
        return points.copy()
    values = points.transpose(0, 2, 1).reshape(L, 2 * J) / size  # (L, 2 J)
    deviation = NOISE * (1 + (UNSURE_NOISE - 1) * (1 - np.clip(conf, 0, 1)))
    variance = np.tile(np.where(seen, deviation**2, _UNKNOWN), (1, 2))
    steps = np.diff(times)
    variance[_spikes(values, variance)] = _UNKNOWN
    light = np.full((L, 2 * J), _MEASURING)
    _, speed = _smoother(values, variance, steps, light)
    noise = NOISE * np.random.default_rng(0).normal(size=(L, _TRIALS))
    _, trembling = _smoother(noise, np.full_like(noise, NOISE**2), steps, light[:, :1])
    floor = np.median(_power(trembling, times)) * np.tile(deviation / NOISE, (1, 2)) ** 2
    acceleration = np.sqrt(np.clip(_power(speed, times) - 2 * floor, _LEAST**2, _MOST**2))
    smooth, _ = _smoother(values, variance, steps, acceleration)
    result = (smooth * size).reshape(L, 2, J).transpose(0, 2, 1)
    return np.where(seen[..., None], result, points)


def _spikes(values: Array, variance: Array) -> NDArray[np.bool_]:
    """(L, K) outliers: single measurements far from any smooth curve through the two previous and two next ones."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    curve = (4 * (padded[1:-3] + padded[3:-1]) - padded[:-4] - padded[4:]) / 6
    error = np.abs(values - curve)
    error[:2] = error[-2:] = 0
    limit = _OUTLIER * _CURVE_NOISE * np.sqrt(variance)
    return (error > limit) & (error >= maximum_filter1d(error, 5, axis=0))


def _power(speed: Array, times: Array) -> Array:
    """(L, K) squared acceleration around each moment, of the coordinate of a joint that accelerates more."""
    L, columns = speed.shape
    change = np.gradient(speed, times, axis=0) ** 2
    reach = max(round(_REACH / float(np.median(np.diff(times)))), 1)
    around = uniform_filter1d(change, 2 * reach + 1, axis=0, mode="nearest").reshape(L, 2, columns // 2)
    return np.tile(around.max(1), (1, 2))


def _smoother(values: Array, variance: Array, steps: Array, acceleration: Array) -> tuple[Array, Array]:
    """Positions and velocities (L, K) after a forward and a backward pass.

    Args:
        values, variance: (L, K) what was measured.
        steps: (L - 1,) seconds.
        acceleration: (L, K) its deviation.
    """
    L, K = values.shape
    x, v = values[0].copy(), np.zeros(K)
    P = np.stack([variance[0], np.zeros(K), np.full(K, 25.0)])  # place, both, velocity
    filtered = np.zeros((L, 5, K))
    predicted = np.zeros((L, 5, K))
    filtered[0] = np.concatenate([[x, v], P])
    for i in range(1, L):
        dt, q = float(min(steps[i - 1], _LONGEST_STEP)), acceleration[i] ** 2
        if steps[i - 1] > _LONGEST_STEP:
            P = np.stack([np.full(K, _UNKNOWN), np.zeros(K), np.full(K, 25.0)])
            v = np.zeros(K)
        x = x + dt * v
        a, b, c = P
        P = np.stack([a + 2 * dt * b + dt**2 * c + q * dt**4 / 4, b + dt * c + q * dt**3 / 2, c + q * dt**2])
        predicted[i] = np.concatenate([[x, v], P])
        a, b, c = P
        gain_x, gain_v = a / (a + variance[i]), b / (a + variance[i])
        error = values[i] - x
        x, v = x + gain_x * error, v + gain_v * error
        P = np.stack([a * (1 - gain_x), b * (1 - gain_x), c - gain_v * b])
        filtered[i] = np.concatenate([[x, v], P])
    places, speeds = np.zeros((L, K)), np.zeros((L, K))
    places[-1], speeds[-1] = x, v
    for i in range(L - 2, -1, -1):
        x, v, a, b, c = filtered[i]
        if steps[i] > _LONGEST_STEP:
            places[i], speeds[i] = x, v
            continue
        dt = float(steps[i])
        next_x, next_v, A, B, C = predicted[i + 1]
        det = np.maximum(A * C - B * B, 1e-30)
        first, second = a + dt * b, b + dt * c  # covariance with the next place, and the rows for the next velocity
        gains = (
            (first * C - b * B) / det,
            (b * A - first * B) / det,
            (second * C - c * B) / det,
            (c * A - second * B) / det,
        )
        off_x, off_v = places[i + 1] - next_x, speeds[i + 1] - next_v
        places[i] = x + gains[0] * off_x + gains[1] * off_v
        speeds[i] = v + gains[2] * off_x + gains[3] * off_v
    return places, speeds
