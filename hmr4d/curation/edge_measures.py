"""Measures of camera motion from pixels: differences of edge strips and of histograms between frames.

Only five numbers per frame are kept, so thresholds can change without decoding the video again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

WIDTH = 320  # pixels; width of the scaled frames
STRIP = 0.05  # width of each edge strip, relative to the image
BOX_ROOM = 0.10  # excluded margin around the person's box, relative to the box
EARLIER = 15  # frames; second comparison distance, in addition to neighbors
BINS = 64
_View = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]  # strips, background of both, histogram
MEASURES = ("left_previous", "right_previous", "left_earlier", "right_earlier", "histogram")


def edge_measures(
    frames: Iterable[NDArray[np.uint8]], boxes: NDArray[np.floating], size: tuple[int, int]
) -> Iterator[NDArray[np.float32]]:
    """`MEASURES` (5,) of each frame: mean absolute gray differences of the strips (1 = white), and L1 distance of
    histograms.

    Strips are compared with the previous frame and with the frame EARLIER frames before, histograms with the previous
    frame. A value is NaN if that frame does not exist or the person's box covers the whole strip.

    Args:
        frames: (h, WIDTH) gray images.
        boxes: (F, 4) left, top, right, bottom of the person, pixels of the video; zero extent without person.
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
    """Left and right strip (2, h, w) of an image."""
    width = max(round(STRIP * picture.shape[1]), 1)
    return np.stack([picture[:, :width], picture[:, -width:]])


def _background(shape: tuple[int, ...], box: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Background mask (h, w): False in the box of the person and its margin."""
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
    """Histogram (BINS,): fraction of the pixels per bin."""
    counts = np.bincount(picture.ravel() >> 2, minlength=BINS)
    return (counts / picture.size).astype(np.float32)


def _differences(now: _View, then: _View) -> list[float]:
    """Mean absolute difference of the left and of the right strip, without the person in either image."""
    off, seen = np.abs(now[0] - then[0]), now[1] & then[1]
    return [float(off[side][seen[side]].mean()) if seen[side].any() else float("nan") for side in range(2)]
