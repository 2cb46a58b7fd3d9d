"""Separation of detected and missing joints, and conversion to pixels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.detections import Detection

logger = logging.getLogger(__name__)

FARTHEST = 1e6  # pixels or fractions; larger coordinates are invalid
_LEAST_SURE = 1e-6  # confidences below are 0
_PERCENT = 10.0, 100.0  # confidences with a median between are percent; flags and scores of heat maps are smaller
_DEPTHS = 0.1  # share of negative values from which the third values are depths
_MARK = -1.0  # equal coordinates from here down, such as (-1, -1) and (-1000, -1000), mark missing joints
_SHARED = 0.25, 4  # of the joints of an entry, and joints, at least: so many in one place are no detections
_WHOLE_BODY = 40, 17  # sizes of joint sets with face and hands, which may coincide, after the body
_CONSTANT = 3  # entries in which two joints or more share a place that does not move with the others
_STILL = 0.05  # of the body's size that the middle of the other joints moves
_LARGEST_SHARE = 3.0  # shares of the image may lie that far out; people in pixels are larger
_CENTERED = 0.25  # share of coordinates below 0 from which shares count from the middle
_NEVER_CENTERED, _LOWEST = (
    ("mediapipe", "apple"),
    -1.05,
)  # layouts with relative coordinates from a corner; smallest value of others
_OFTEN_CENTERED = ("openpose", "npz")
_ABOVE = 0.2  # share of v below 0 that heads beyond the upper edge do not reach


def cleaned(detections: Sequence[Detection]) -> list[Detection]:
    """Detections with confidences in [0, 1]; missing joints are (0, 0, 0), entries without joints are dropped.

    All of them have the same number of joints.

    These joints count as missing: at (0, 0) or equal negative
        coordinates such as (-1, -1), with coordinates that are not numbers or beyond all images,
        with a confidence of 0 or less, or without one if other joints of the entry have one; and joints at a position
        that many joints of one entry share, or that two or more share in several entries while the others move.
    """
    if not detections:
        return []
    points = np.stack([d.points for d in detections])
    points[..., 2] = _confidences(points[..., 2])
    points = _cleaned(points)
    found = np.flatnonzero((points[..., 2] > 0).any(1)).tolist()
    seen = [_moved(detections[number], points[number]) for number in found]
    if marks := _shared_places(seen):
        at = [np.isin(d.points[:, 0] + 1j * d.points[:, 1], marks) for d in seen]
        seen = [replace(d, points=np.where(a[:, None], 0.0, d.points)) for d, a in zip(seen, at, strict=True)]
        examples = ", ".join(f"({mark.real:g}, {mark.imag:g})" for mark in marks[:3])
        logger.info(
            "Joints at %s%s count as missing: several share this position exactly.",
            examples,
            "" if len(marks) <= 3 else " and elsewhere",
        )
    return [d for d in seen if (d.points[:, 2] > 0).any()]


def _confidences(written: NDArray[np.float64]) -> NDArray[np.float64]:
    """Confidences (N, J) of values as written: percent become shares, and depths 1."""
    is_given = np.isfinite(written) & (written != 0) & (written != -1)
    given = written[is_given]
    middle = float(np.median(np.abs(given))) if given.size else 0.0
    if given.size and float((given < 0).mean()) > _DEPTHS or middle > _PERCENT[1]:
        logger.warning(
            "The third value of joints lies between %.4g and %.4g: a depth, no confidence. The joints count as found.",
            given.min(),
            given.max(),
        )
        return np.where(is_given, 1.0, written)
    if middle > _PERCENT[0] and given.min() > 0 and given.max() <= _PERCENT[1]:
        logger.warning("Confidences lie between %.4g and %.4g; taken as percent.", given.min(), given.max())
        return np.where(written == -1, written, written / 100)
    return written


def _moved(detection: Detection, points: NDArray[np.float64]) -> Detection:
    """The same person with other points. As `replace` does, which takes four times as long."""
    return Detection(detection.frame, points, detection.person, detection.place, detection.depth)


def _cleaned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, J, 3) of entries (N, J, 3) as written."""
    places, conf = points[..., :2], points[..., 2]
    is_given = np.isfinite(conf)
    conf = np.clip(np.where(is_given, conf, ~is_given.any(1, keepdims=True)), 0.0, 1.0)
    missing = ~(np.abs(places) < FARTHEST).all(-1) | (conf < _LEAST_SURE)
    missing |= (places == 0).all(-1) | ((places[..., 0] == places[..., 1]) & (places[..., 0] <= _MARK))
    return np.where(missing[..., None], 0.0, np.concatenate([places, conf[..., None]], -1))


def _shared_places(detections: Sequence[Detection]) -> list[complex]:
    """Positions, u + iv, that mark missing joints."""
    found: dict[tuple[float, float], list[tuple[int, int]]] = {}
    marks: set[tuple[float, float]] = set()
    for number in _with_twins(detections):
        points = detections[number].points
        body = points if len(points) < _WHOLE_BODY[0] else points[: _WHOLE_BODY[1]]
        places = body[body[:, 2] > 0, :2]
        values, counts = np.unique(places, axis=0, return_counts=True)
        for (u, v), count in zip(values[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
            if count >= max(_SHARED[1], _SHARED[0] * len(body)):
                marks.add((u, v))
            found.setdefault((u, v), []).append((number, count))
    for place, entries in found.items():
        if (
            place not in marks
            and len(entries) >= _CONSTANT
            and _others_move(detections, [n for n, _ in entries], place)
        ):
            marks.add(place)
    return [complex(u, v) for u, v in sorted(marks)]


def _with_twins(detections: Sequence[Detection]) -> list[int]:
    """Entries in which two joints share a position."""
    if not detections:
        return []
    points = np.stack([d.points for d in detections])
    # Each missing joint gets a unique position that no joint has.
    places = np.where(points[..., 2] > 0, points[..., 0] + 1j * points[..., 1], np.arange(points.shape[1]) * 1j - 2e6)
    ordered = np.sort(places, axis=1)
    return np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(1)).tolist()


def _others_move(detections: Sequence[Detection], numbers: Sequence[int], place: tuple[float, float]) -> bool:
    """Whether other joints move between the entries with a shared position."""
    middles, sizes = [], []
    for number in numbers:
        points = detections[number].points
        rest = points[(points[:, 2] > 0) & ~(points[:, :2] == place).all(1), :2]
        if len(rest):
            middles.append(np.median(rest, axis=0))
            sizes.append(float(np.linalg.norm(np.ptp(rest, axis=0))))
    return len(middles) >= _CONSTANT and float(np.ptp(middles, axis=0).max()) > _STILL * max(
        float(np.median(sizes)), 1e-9
    )


def in_pixels(
    detections: Sequence[Detection], size: tuple[int, int] | None, layout: str, *, counts_up: bool = False
) -> list[Detection]:
    """Detections in pixels; relative coordinates are multiplied by the image size.

    The size of people distinguishes relative coordinates from pixels; some may lie outside the image. Relative
    coordinates start at the upper left corner or, if many are negative, at the center with the range [-1, 1]. Apple
    Vision counts v upwards.

    Args:
        detections: cleaned.
        size: (width, height) pixels of the image.
        layout: of the file.
        counts_up: v of shares counts from the lower edge.

    Raises:
        ValueError: they are fractions, and the size is not given.
    """
    places = np.concatenate([d.points[d.points[:, 2] > 0, :2] for d in detections])
    if np.quantile(np.abs(places), 0.95) > _LARGEST_SHARE or _median_size(detections) > _LARGEST_SHARE:
        return _turned(detections, size[1]) if layout == "apple" and size else list(detections)
    if size is None:
        raise ValueError(
            "its coordinates are normalized, not pixels. Pass the size of the image (the camera file has it)."
        )
    is_centered = layout not in _NEVER_CENTERED and places.min() > _LOWEST and _is_centered(places, layout)
    logger.info("Coordinates are normalized to %s; taken times the image size.", "[-1, 1]" if is_centered else "[0, 1]")
    corner = np.array([size[0] - 1, size[1] - 1])
    scaled: list[Detection] = []
    for detection in detections:
        points = detection.points.copy()
        found = points[:, 2] > 0
        points[found, :2] = ((points[found, :2] + 1) / 2 if is_centered else points[found, :2]) * corner
        points[~(np.abs(points[:, :2]) < FARTHEST).all(1)] = 0.0
        scaled.append(replace(detection, points=points))
    return _turned(scaled, size[1]) if layout == "apple" or counts_up else scaled


def _is_centered(places: NDArray[np.float64], layout: str) -> bool:
    """Whether shares (N, 2) count from the middle of the image, rather than of people who are partly outside it."""
    if layout in _OFTEN_CENTERED and float((places < 0).mean()) > _CENTERED:
        return True
    return float((places[:, 1] < 0).mean()) > _ABOVE


def _median_size(detections: Sequence[Detection]) -> float:
    """Longer side of the box around the joints of an entry, in the median."""
    return float(np.median([np.ptp(d.points[d.points[:, 2] > 0, :2], axis=0).max() for d in detections]))


def _turned(detections: Sequence[Detection], height: int) -> list[Detection]:
    """Detections with v converted from upward to downward."""
    logger.info("v counts from the lower edge of the image, as Apple Vision has it; it is turned over.")
    turned: list[Detection] = []
    for detection in detections:
        points = detection.points.copy()
        found = points[:, 2] > 0
        points[found, 1] = height - 1 - points[found, 1]
        turned.append(replace(detection, points=points))
    return turned
