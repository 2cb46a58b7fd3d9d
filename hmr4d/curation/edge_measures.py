"""Camera motion from the pixels of a video: differences of the edge strips, and of the histograms of frames.

Only numbers are kept, five for each frame, so that thresholds can change without decoding the video again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

WIDTH = 320  # pixels, to which frames are scaled
STRIP = 0.05  # of the width, at either edge
BOX_ROOM = 0.10  # of the person's box that is left out around it
EARLIER = 15  # frames between those that are compared beside neighbours
BINS = 64
_View = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]  # strips, background of both, histogram
MEASURES = ("left_previous", "right_previous", "left_earlier", "right_earlier", "histogram")


def edge_measures(
    frames: Iterable[NDArray[np.uint8]], boxes: NDArray[np.floating], size: tuple[int, int]
) -> Iterator[NDArray[np.float32]]:
    """(5,) `MEASURES` of each frame: mean absolute grey differences of the strips, in shares of white, and L1 distance.

    Strips are compared with those of the frame before, and of EARLIER frames before; the histogram with that of the
    frame before. NaN where there is no such frame, or the person's box covers the whole strip.

    Args:
        frames: (h, WIDTH) grey pictures.
        boxes: (F, 4) left, top, right, bottom of the person in pixels of the video; no extent for nobody.
        size: width and height of the video.
    """
    past: deque[_View] = deque(maxlen=EARLIER)
    for picture, box in zip(frames, boxes, strict=False):
        gray: NDArray[np.float32] = np.asarray(picture / 255, np.float32)
        now = _strips(gray), _strips(_background(gray.shape, box, size)), _histogram(picture)
        measures = np.full(len(MEASURES), np.nan, np.float32)
        if past:
            measures[:2] = _differences(now, past[-1])
            measures[4] = np.abs(now[2] - past[-1][2]).sum()
        if len(past) == EARLIER:
            measures[2:4] = _differences(now, past[0])
        past.append(now)
        yield measures


_Kind = TypeVar("_Kind", bound=np.generic)


def _strips(picture: NDArray[_Kind]) -> NDArray[_Kind]:
    """(2, h, w) left and right strip."""
    width = max(round(STRIP * picture.shape[1]), 1)
    return np.stack([picture[:, :width], picture[:, -width:]])


def _background(shape: tuple[int, ...], box: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) False in the box of the person and around it."""
    background = np.ones(shape, bool)
    left, top, right, bottom = box.astype(np.float64)
    if right > left and bottom > top:
        room = BOX_ROOM * np.array([right - left, bottom - top])
        scale = np.array([shape[1] / size[0], shape[0] / size[1]])
        low = np.clip(np.floor((np.array([left, top]) - room) * scale), 0, None).astype(int)
        high = np.clip(np.ceil((np.array([right, bottom]) + room) * scale), 0, None).astype(int)
        background[low[1] : high[1], low[0] : high[0]] = False
    return background


def _histogram(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(BINS,) shares of the pixels."""
    counts = np.bincount(picture.ravel() >> 2, minlength=BINS)
    return (counts / picture.size).astype(np.float32)


def _differences(now: _View, then: _View) -> list[float]:
    """Mean absolute difference of the left and of the right strip, without the person in either image."""
    off, seen = np.abs(now[0] - then[0]), now[1] & then[1]
    return [float(off[side][seen[side]].mean()) if seen[side].any() else float("nan") for side in range(2)]
