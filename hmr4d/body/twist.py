"""Twists of joints about their bones, smoothed in time: neighboring frames decide what a single frame does not
determine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

MEMORY = 0.5  # time constant in seconds relative to evidence of weight 1
ROUNDS = 2  # iterations that make the angles continuous

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def carried_twist(evidence: Complex, rest_weight: Real, drift: Real, *, fps: float) -> Real:
    """Angles that follow the evidence of each frame and change smoothly without jumps.

    They minimize the sum over frames of w (a - e)^2 + s (a - r)^2 + m^2 (a' - a - d)^2, where e and r are the angles
    nearest to a, modulo full turns, of the evidence and of "no twist". The initial value solves the same problem for
    unit vectors exp(i a), which is linear, so that the number of full turns is correct.

    Args:
        evidence: (..., L) direction exp(i e) times its weight w.
        rest_weight: (..., L) s > 0, of "no twist".
        drift: (..., L - 1) d, change of the angle in radians if the joint does not twist.
        fps: frames per second; m = MEMORY fps.

    Returns:
        (..., L) radians, continuous over time.
    """
    trust = np.abs(evidence)
    stiffness = (MEMORY * fps) ** 2
    z = _solve(rest_weight + trust, rest_weight + evidence, np.exp(1j * drift), stiffness)
    steps = drift + np.angle(z[..., 1:] * np.conj(z[..., :-1]) * np.exp(-1j * drift))
    angle = np.cumsum(np.concatenate([np.angle(z[..., :1]), steps], -1), -1)
    for _ in range(ROUNDS):
        back = np.exp(-1j * angle)
        pull = rest_weight * (angle + np.angle(back)) + trust * (angle + np.angle(evidence * back))
        pull[..., 1:] += stiffness * drift
        pull[..., :-1] -= stiffness * drift
        angle = _solve(rest_weight + trust, pull, np.ones_like(drift), stiffness)
    return angle


def continuous(angle: Real) -> Real:
    """The same angles (..., L) without jumps by full turns; the clip as a whole stays as near to zero as it can."""
    whole = np.unwrap(angle, axis=-1)
    return whole - 2 * np.pi * np.round(np.median(whole, axis=-1, keepdims=True) / (2 * np.pi))


def _solve(weight: Real, pull: NDArray[Any], turn: NDArray[Any], stiffness: float) -> NDArray[Any]:
    """Solution x (..., L) of the normal equations of weight |x - pull / weight|^2 + stiffness |x' - turn x|^2."""
    diagonal = weight.copy()
    diagonal[..., 1:] += stiffness
    diagonal[..., :-1] += stiffness
    if weight.size == 1:
        return pull / diagonal
    above = np.zeros(weight.shape, turn.dtype)  # entry of one frame and the next, stored at the next
    above[..., 1:] = -stiffness * np.conj(turn)  # the first entry of each clip stays 0: clips do not touch
    return solveh_banded(np.stack([above.ravel(), diagonal.ravel()]), pull.ravel()).reshape(weight.shape)
