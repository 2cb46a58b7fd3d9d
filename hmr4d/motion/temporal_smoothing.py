"""Noise taken out of motion along time, as much as there is of it, without delay and without damping what people do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

CUTOFF = 6.0  # Hz; half the amplitude remains at it, 98 % at 4 Hz, 87 % at 5 Hz; a fast wave has 3 Hz
ORDER = 3  # order of the filter, which runs forward and backward
# Fraction of the jitter below the cutoff: motion above the first value is clean and not changed, below the second it is
# smoothed fully.
CLEAN, NOISY = 0.8, 0.6
LARGEST = 0.015  # meters; noise is smaller, what moves a joint further is a flip or a blow

Floats = NDArray[np.float64]


def smooth_motion(joints3d: Floats, *, fps: float) -> Floats:
    """Motion (L, J, 3) with less noise.

    A zero-phase Butterworth low-pass, blended with the original motion depending on its noise. Human motion has most of
    its jitter (mean size of the third difference over time) below the cutoff; noise of single frames and seams between
    blocks of frames have most of it above. The blend is one number per clip, so the result is also a zero-phase filter,
    except that no joint moves by more than LARGEST.

    Args:
        joints3d: (L, J, 3) meters.
        fps: frames per second; at 2 CUTOFF and below, nothing is removed.
    """
    if len(joints3d) < 4 or fps <= 2 * CUTOFF:
        return joints3d.copy()
    sections = butter(ORDER, CUTOFF, fs=fps, output="sos")
    smooth = sosfiltfilt(sections, joints3d, axis=0, padlen=min(2 * ORDER * 3, len(joints3d) - 1))
    given = _jitter(joints3d)
    share = _jitter(smooth) / given if given > 0 else 1.0
    amount = float(np.clip((CLEAN - share) / (CLEAN - NOISY), 0, 1))
    change = amount * (smooth - joints3d)
    size = np.linalg.norm(change, axis=-1, keepdims=True)
    return joints3d + change * np.minimum(1, LARGEST / size.clip(min=1e-12))


def _jitter(joints3d: Floats) -> float:
    return float(np.linalg.norm(np.diff(joints3d, n=3, axis=0), axis=-1).mean())
