"""Detection in two passes: every second frame first, the others only where a clip is possible."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hmr4d.curation.filters import Thresholds, has_extent, passing, runs_of
from hmr4d.curation.largest_person import People, at_standard_rate
from hmr4d.curation.trimming import TrimRules

STEP = 2  # frames; step of the first pass
MARGIN = 16  # frames around candidates that are also detected, because speeds are means over a second
Size = tuple[int, int]
Detect = Callable[[NDArray[np.float64]], People]


def candidate_frames(
    people: People, num_frames: int, size: Size, limits: Thresholds, rules: TrimRules
) -> NDArray[np.bool_]:
    """Candidate frames (F,) of clips, judged by every STEP-th frame, with MARGIN frames around.

    The decision uses properties of single frames only: presence, size and confidence of a person. Gaps that trimming
        may interpolate are closed.

    Args:
        people: people in frames 0, STEP, 2 STEP, ...
        num_frames: F.
        size: width and height of the image.
        limits, rules: of filters and trimming.
    """
    boxes = people.boxes
    sure = people.keypoints[..., 2] > limits.confidence
    good = has_extent(boxes) & passing(sure, limits) & (boxes[:, 3] - boxes[:, 1] > limits.height * size[1])
    for start, end in runs_of(~good):
        if start > 0 and end < len(good) and end - start <= -(-rules.bridged // STEP):
            good[start:end] = True
    candidates = np.zeros(num_frames, bool)
    for start, end in runs_of(good):
        if STEP * (end - start) + STEP >= rules.min_frames:
            candidates[max(STEP * start - MARGIN, 0) : STEP * end + MARGIN] = True
    return candidates


def in_two_passes(detect: Detect, at: NDArray[np.float64], size: Size, limits: Thresholds, rules: TrimRules) -> People:
    """The largest person at all times of a video.

    Frames without detection are interpolated; they do not become part of clips.

    Args:
        detect: function that returns the largest person at increasing times; it may stop early at the end of the video.
        at: (F,) seconds, at 30 frames per second.
        size: width and height of the image.
        limits, rules: of filters and trimming.
    """
    first = detect(at[::STEP])
    others = candidate_frames(first, len(at), size, limits, rules)
    others[::STEP] = False
    if not others.any():
        return at_standard_rate(first)
    second = detect(at[others])
    times = np.concatenate([first.times, second.times])
    order = np.argsort(times, kind="stable")
    parts = zip((first.keypoints, first.boxes), (second.keypoints, second.boxes), strict=True)
    keypoints, boxes = (np.concatenate(pair)[order] for pair in parts)
    return at_standard_rate(People(keypoints, boxes, times[order]))
