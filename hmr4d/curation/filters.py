"""Frame filters: each failed filter sets one bit of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

FPS = 30.0
VERSION = 2  # version of the rules; a new version repeats the work
SMOOTHING = 5  # frames of the moving average before speeds are computed
BELOW_PELVIS = (13, 14, 15, 16)  # knees and ankles of COCO-17
_AFTERMATH = 4  # frames around a jump in which other filters fail because of it
_AFTER_CUT = 15  # frames after a cut whose edges are compared with another shot


class Failure(IntFlag):
    """Bits of the filters that a frame fails."""

    CAMERA_MOTION = 1
    SHOT_CUT = 2
    IDENTITY_SWITCH = 4
    SPEED = 8
    ACCELERATION = 16
    STATIC = 32
    CONFIDENCE = 64
    SIZE = 128
    PERSON = 256

    @property
    def reason(self) -> str:
        """Name of a single filter in tables."""
        return str(self.name).lower()


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the filters. Speeds are in heights of the person's box per second.

    Attributes:
        edge_previous, edge_earlier: largest mean absolute difference of both edge strips (1 = white) to the previous
            frame and to the frame 15 frames before.
        cut: largest L1 distance of gray histograms.
        overlap: smallest intersection over union of the boxes in consecutive frames.
        speed: largest mean speed of the keypoints.
        acceleration: largest mean acceleration of the keypoints, heights per second squared.
        static: smallest mean speed over a second.
        confidence: keypoints above this confidence pass.
        passing_share: the fraction of passing keypoints must exceed this; all keypoints below the pelvis must pass.
        height: the height of the box relative to the image must exceed this.
    """

    edge_previous: float = 6 / 255
    edge_earlier: float = 15 / 255
    cut: float = 0.5
    overlap: float = 0.3
    speed: float = 6.0
    acceleration: float = 54.0
    static: float = 0.1
    confidence: float = 0.5
    passing_share: float = 0.75
    height: float = 1 / 3


@dataclass(frozen=True, eq=False)
class Track:
    """The largest person of each frame of a source, at 30 fps.

    Attributes:
        keypoints: (F, 17, 3) float32 COCO-17 x, y in pixels and confidence; zeros where missing.
        boxes: (F, 4) left, top, right, bottom in pixels; zero extent without person.
        size: width and height of the image.
        camera: (F, 5) `edge_measures.MEASURES`, or None without video.
    """

    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    size: tuple[int, int]
    camera: NDArray[np.float32] | None = None


def frame_failures(track: Track, limits: Thresholds) -> NDArray[np.uint16]:
    """(F,) `Failure` bits of the filters that each frame fails; 0 for a good frame."""
    keypoints, boxes = track.keypoints, track.boxes
    mask = np.zeros(len(keypoints), np.uint16)

    def fail(where: NDArray[np.bool_], failure: Failure) -> None:
        mask[where] |= np.uint16(failure)

    present = has_extent(boxes)
    if track.camera is not None:
        with np.errstate(invalid="ignore"):  # comparisons with NaN are False
            left_previous, right_previous, left_earlier, right_earlier, histogram = track.camera.T
            is_previous = (left_previous > limits.edge_previous) & (right_previous > limits.edge_previous)
            is_earlier = (left_earlier > limits.edge_earlier) & (right_earlier > limits.edge_earlier)
            fail(is_previous | is_earlier, Failure.CAMERA_MOTION)
            fail(histogram > limits.cut, Failure.SHOT_CUT)
    both = np.r_[False, present[1:] & present[:-1]]
    fail(both & np.r_[False, box_overlaps(boxes) < limits.overlap], Failure.IDENTITY_SWITCH)
    sure = keypoints[..., 2] > limits.confidence
    speeds, accelerations, second = motion_of(track, sure, mask, present)
    fail(speeds > limits.speed, Failure.SPEED)
    fail(accelerations > limits.acceleration, Failure.ACCELERATION)
    fail(present & (second < limits.static), Failure.STATIC)
    fail(present & ~passing(sure, limits), Failure.CONFIDENCE)
    fail(present & (boxes[:, 3] - boxes[:, 1] <= limits.height * track.size[1]), Failure.SIZE)
    fail(~present, Failure.PERSON)
    return mask


def has_extent(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether boxes (F, 4) contain a person: (F,) bool."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def passing(sure: NDArray[np.bool_], limits: Thresholds) -> NDArray[np.bool_]:
    """Whether enough keypoints (F, 17), and all below the pelvis, are confident: (F,) bool."""
    return (sure.mean(1) > limits.passing_share) & (sure[:, BELOW_PELVIS].sum(1) == len(BELOW_PELVIS))


def motion_of(
    track: Track, sure: NDArray[np.bool_], mask: NDArray[np.uint16], present: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean speed, mean acceleration, and mean speed over a window of one second, (F,) each, in heights of the box.

    They are computed within intervals of consecutive frames with a person. The height is the median over the part of an
    interval between cuts and changes of the person. The first frame of an interval has no speed, which counts as 0.
    """
    num = len(present)
    speeds, accelerations, second = np.zeros(num), np.zeros(num), np.full(num, np.inf)
    breaks = (mask & np.uint16(Failure.SHOT_CUT | Failure.IDENTITY_SWITCH)) != 0
    heights = _run_heights(track.boxes, present, breaks)
    for start, end in runs_of(present):
        at = slice(start, end)
        points = _smoothed(track.keypoints[at, :, :2], sure[at])
        speeds[at] = _mean_step(points, sure[at], 1) * FPS / heights[at]
        accelerations[at] = _mean_step(points, sure[at], 2) * FPS**2 / heights[at]
        second[at] = _windowed(speeds[at])
    return speeds, accelerations, second


def reject_reason(mask: NDArray[np.uint16]) -> tuple[Failure, dict[str, int]]:
    """The main filter that rejects a source, and the number of failing frames per filter.

    A cut or a change of the person also triggers other filters for a few frames; these are attributed to the cut or the
    change. While the camera moves, speeds in the image are not those of the person; they are attributed to the camera.
    Of the remaining failures, the filter with the most frames is the main one.
    """
    counts = {f.reason: int((mask & np.uint16(f) != 0).sum()) for f in Failure}
    counts = {name: count for name, count in counts.items() if count}
    cut, switch = (mask & np.uint16(f) != 0 for f in (Failure.SHOT_CUT, Failure.IDENTITY_SWITCH))
    jumps = Failure.SPEED | Failure.ACCELERATION
    left = mask.copy()
    left[_around(cut, 0, _AFTER_CUT)] &= ~np.uint16(Failure.CAMERA_MOTION)
    left[_around(cut, _AFTERMATH, _AFTERMATH)] &= ~np.uint16(jumps | Failure.IDENTITY_SWITCH)
    left[_around(switch, _AFTERMATH, _AFTERMATH)] &= ~np.uint16(jumps)
    left[left & np.uint16(Failure.CAMERA_MOTION) != 0] &= ~np.uint16(jumps | Failure.STATIC)
    explained = {f: int((left & np.uint16(f) != 0).sum()) for f in Failure}
    return max(Failure, key=lambda f: explained[f]), counts


def runs_of(good: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[start, end) of the intervals in which `good` (F,) is True."""
    edges = np.flatnonzero(np.diff(np.r_[False, good, False]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def box_overlaps(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union (F - 1,) of the boxes of consecutive frames."""
    boxes = boxes.astype(np.float64)
    a, b = boxes[:-1], boxes[1:]
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    shared = sides.prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-9), 0.0)


def _run_heights(
    boxes: NDArray[np.floating], present: NDArray[np.bool_], breaks: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(F,) median height of the box over the run of each frame, pixels."""
    heights = np.ones(len(boxes))
    for start, end in runs_of(present):
        edges = [start, *(start + 1 + np.flatnonzero(breaks[start + 1 : end])).tolist(), end]
        for first, last in zip(edges[:-1], edges[1:], strict=True):
            heights[first:last] = np.median(boxes[first:last, 3] - boxes[first:last, 1])
    return heights


def _smoothed(points: NDArray[np.floating], sure: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(L, 17, 2) means over SMOOTHING frames around each, of the confident keypoints; shorter at the ends."""
    weights = sure[..., None].astype(np.float64)
    sums, counts = (_moving_sum(x, SMOOTHING) for x in (points * weights, weights))
    return sums / np.maximum(counts, 1)


def _moving_sum(values: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    """Sums over a centered window of `window` frames, shorter at the ends."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, 0, dtype=np.float64)])
    frames, reach = np.arange(len(values)), window // 2
    return total[np.minimum(frames + reach + 1, len(values))] - total[np.maximum(frames - reach, 0)]


def _mean_step(points: NDArray[np.float64], sure: NDArray[np.bool_], order: int) -> NDArray[np.float64]:
    """(L,) mean length of first or second differences over the keypoints that are confident in all their frames,
    pixels."""
    steps = np.zeros(len(points))
    if len(points) > order:
        lengths = np.linalg.norm(np.diff(points, order, axis=0), axis=-1)
        counted = sure[order:].copy()
        for shift in range(order):
            counted &= sure[shift : len(sure) - order + shift]
        means = (lengths * counted).sum(1) / np.maximum(counted.sum(1), 1)
        # A first difference is assigned to its later frame, a second difference to its middle frame.
        steps[1 : 1 + len(means)] = means
    return steps


def _windowed(speeds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L,) mean over the second around each frame, without the first frame of the stretch, which has no speed."""
    has_speed = np.r_[0.0, np.ones(len(speeds) - 1)]
    window = 2 * int(FPS / 2) + 1
    counts = _moving_sum(has_speed, window)
    return np.where(counts > 0, _moving_sum(speeds * has_speed, window) / np.maximum(counts, 1), np.inf)


def _around(where: NDArray[np.bool_], before: int, after: int) -> NDArray[np.bool_]:
    """True (F,) from `before` frames before to `after` frames after the True frames of `where`."""
    near = np.zeros(len(where), bool)
    for frame in np.flatnonzero(where):
        near[max(frame - before, 0) : frame + after + 1] = True
    return near
