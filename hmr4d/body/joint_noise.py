"""Noise of joint positions: its estimation from changing bone lengths, and its removal.

Bones of a person do not change their length; what changes from one frame to the next is noise. Given its size, the
stiffness of a smoothing spline (Eilers, "A perfect smoother", 2003) with the smallest risk can be estimated without the
true motion (Stein, "Estimation of the mean of a multivariate normal distribution", 1981). Motion without noise is not
changed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from torch import Tensor

from hmr4d.body.skeleton import SMPL22

LEAST_NOISE = 3e-4  # meters; less noise is not removed
ORDER = 3  # of the differences that a smooth motion keeps small
STIFFNESSES = 10.0 ** np.arange(-4.0, 8.0, 0.5)
FARTHEST = (
    6.0  # maximum displacement of a joint in standard deviations: larger deviations are fast movements, not noise
)
FRAMES_TO_CHOOSE = 4096  # number of middle frames of a longer clip that determine the stiffness
_TO_DEVIATION = 1.4826  # standard deviation over median absolute value, of normal noise

Real = NDArray[np.float64]


def joint_noise(joints3d: Tensor) -> float:
    """Standard deviation in meters of the noise in each coordinate, independent from frame to frame; 0 for short clips.

    Args:
        joints3d: (L, 22, 3) meters.
    """
    if len(joints3d) <= 2 * ORDER:
        return 0.0
    starts, ends = (list(x) for x in zip(*SMPL22.bones, strict=True))
    lengths = (joints3d[:, ends] - joints3d[:, starts]).norm(dim=-1).double()
    jumps = lengths[2:] - 2 * lengths[1:-1] + lengths[:-2]  # variance 1 + 4 + 1, at both ends of a bone
    return float(_TO_DEVIATION * jumps.abs().median() / 12**0.5)


def without_noise(joints3d: Tensor, noise: float) -> Tensor:
    """Joints (L, 22, 3) in meters, each smoothed according to the noise in meters; unchanged if there is hardly any.

    No joint is moved by more than FARTHEST times the noise.
    """
    if noise < LEAST_NOISE:
        return joints3d
    given = joints3d.detach().cpu().double().flatten(1).numpy()
    spare = max(len(given) - FRAMES_TO_CHOOSE, 0) // 2
    best = _stiffnesses(given[spare : spare + FRAMES_TO_CHOOSE], noise)
    smooth = np.empty_like(given)
    for stiffness in np.unique(best):
        columns = np.repeat(best == stiffness, 3)
        smooth[:, columns] = _smoothed(given[:, columns], stiffness)
    shift = (smooth - given).reshape(len(given), -1, 3)
    distance = np.linalg.norm(shift, axis=-1, keepdims=True)
    shift *= np.minimum(1.0, FARTHEST * noise / np.maximum(distance, 1e-12))
    return torch.from_numpy(given.reshape(shift.shape) + shift).to(joints3d)


def _stiffnesses(given: Real, noise: float) -> Real:
    """(J,) of STIFFNESSES for joints (L, 3 J): those of the least expected squared error."""
    num_frames = len(given)
    squares = (2 - 2 * np.cos(np.pi * np.arange(num_frames) / num_frames)) ** ORDER
    risks = []
    for stiffness in STIFFNESSES:
        left = (given - _smoothed(given, stiffness)).reshape(num_frames, -1, 3)
        freedom = (1 / (1 + stiffness * squares)).sum()
        risks.append((left**2).sum((0, 2)) / 3 + 2 * noise**2 * freedom)
    return STIFFNESSES[np.argmin(risks, axis=0)]


def _smoothed(given: Real, stiffness: float) -> Real:
    """Curves x (L, C) that minimize |x - given|^2 + stiffness |differences of x of the third order|^2."""
    num_frames, steps = len(given), np.array([-1.0, 3.0, -3.0, 1.0])
    matrix = np.zeros((ORDER + 1, num_frames))  # diagonals below the main one
    matrix[0] = 1.0
    for below in range(ORDER + 1):
        for k in range(ORDER + 1 - below):
            matrix[below, k : num_frames - ORDER + k] += stiffness * steps[k] * steps[k + below]
    return solveh_banded(matrix, given, lower=True)
