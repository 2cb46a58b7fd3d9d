"""Keypoint tracks at another frame rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAME_TIME = 1e-6  # of the steps between frames


def even_times(times: NDArray[np.floating], fps: float) -> NDArray[np.float64]:
    """(M,) times at `fps` from the first to the last of `times` (F,), seconds."""
    span = float(times[-1] - times[0]) if len(times) else 0.0
    return float(times[0]) + np.arange(int(span * fps + _SAME_TIME) + 1) / fps if len(times) else np.empty(0)


def resample_keypoints(
    keypoints: NDArray[np.floating],
    times: NDArray[np.floating],
    at: NDArray[np.floating],
    linked: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Keypoints at other times: linear between two frames, with the lower of both confidences.

    A keypoint that is missing in one of the two is missing. At the time of a frame it equals that frame.

    Args:
        keypoints: (F, J, 3) x, y, confidence; confidence 0 for missing.
        times: (F,) seconds of the frames, rising.
        at: (M,) seconds, within the times.
        linked: (F - 1,) False between frames with different people, where the nearer one is used; None: all frames show
            the same person.

    Returns:
        (M, J, 3), (0, 0, 0) for missing.

    Raises:
        ValueError: times that do not increase, or another number of times than frames.
    """
    if len(times) != len(keypoints) or not len(times) or (np.diff(times) <= 0).any():
        raise ValueError(f"there are {len(times)} times for {len(keypoints)} frames; expected one each, rising.")
    place = np.interp(at, times, np.arange(len(times)))
    before = np.minimum(place.astype(np.int64), len(times) - 1)
    share = place - before
    before = np.where(share > 1 - _SAME_TIME, before + 1, before)
    share = np.where((share > 1 - _SAME_TIME) | (share < _SAME_TIME), 0.0, share)
    if linked is not None and len(linked):
        apart = (share > 0) & ~linked[np.minimum(before, len(linked) - 1)]
        before, share = np.where(apart & (share >= 0.5), before + 1, before), np.where(apart, 0.0, share)
    share = share[:, None]
    after = np.where(share[:, 0] > 0, before + 1, before)
    first, last = keypoints[before], keypoints[after]
    conf = np.minimum(first[..., 2], last[..., 2])
    points = (1 - share[..., None]) * first[..., :2] + share[..., None] * last[..., :2]
    found = conf > 0
    resampled = np.concatenate([np.where(found[..., None], points, 0.0), np.where(found, conf, 0.0)[..., None]], -1)
    return resampled.astype(np.float32)
