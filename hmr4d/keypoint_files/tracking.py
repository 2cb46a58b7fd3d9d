"""Tracking of people from frame to frame, for detectors without ids."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.detections import Detection

logger = logging.getLogger(__name__)

LEAST_OVERLAP = 0.1  # intersection over union of boxes
REACH = 0.5  # fraction of the box diagonal that a box center may move per frame without overlap
MOST_REACH = 2.0  # of the box diagonal, after frames without the person
LONGEST_ABSENCE = 30  # frames; after a longer absence a person gets a new id
LONGEST_PREDICTION = 10  # frames for which the movement of a hidden person is extrapolated
STEADINESS = 0.5  # fraction of the previous velocity kept in the update
MIXED_UP = 0.25  # intersection over union above which two people may be confused

Points = NDArray[np.float64]


@dataclass(frozen=True)
class _Track:
    """State of a person at the last detection: frame, points (K, 3), and velocity (2,) in pixels per frame."""

    frame: int
    points: Points
    velocity: Points

    def at(self, frame: int) -> Points:
        """The points extrapolated with constant velocity."""
        moved = self.points.copy()
        moved[:, :2] += self.velocity * min(frame - self.frame, LONGEST_PREDICTION)
        return moved

    def followed(self, frame: int, points: Points) -> _Track:
        """The track updated by a new detection."""
        both = _seen(self.points) & _seen(points)
        if not both.any():
            return _Track(frame, points, self.velocity)
        velocity = np.median(points[both, :2] - self.points[both, :2], axis=0) / (frame - self.frame)
        return _Track(frame, points, STEADINESS * self.velocity + (1 - STEADINESS) * velocity)


def track_people(detections: Sequence[Detection]) -> list[Detection]:
    """The detections with ids "0", "1", ... in order of appearance, frame by frame.

    The position of each known person is predicted with constant velocity. People of the previous frame are matched
    first, so that a hidden person does not replace the one in front: the nearest pairs, by the median distance of
    joints over the box diagonal, whose boxes overlap by LEAST_OVERLAP (intersection over union); then, of the rest,
    pairs up to REACH box diagonals per elapsed frame. Then the same for absent people. Unmatched detections are new
    people. If every frame has at most one person, it is the same one throughout. A warning lists frames in which two
    people may be confused.
    """
    by_frame: dict[int, list[Detection]] = {}
    for detection in detections:
        by_frame.setdefault(detection.frame, []).append(detection)
    if all(len(people) == 1 for people in by_frame.values()):
        return [replace(detection, person="0") for detection in detections]
    tracked: list[Detection] = []
    tracks: dict[int, _Track] = {}
    count, unclear = 0, []
    for before, frame in zip([-1, *sorted(by_frame)], sorted(by_frame), strict=False):
        people = by_frame[frame]
        known = {name: track for name, track in tracks.items() if frame - track.frame <= LONGEST_ABSENCE}
        visible = {name: track for name, track in known.items() if track.frame == before}
        hidden = {name: track for name, track in known.items() if track.frame != before}
        matches: dict[int, int] = {}
        for candidates in (visible, hidden):
            _match([person.points for person in people], candidates, frame, matches)
        for row, person in enumerate(people):
            if row not in matches:
                matches[row] = count
                count += 1
            name, points = matches[row], person.points
            tracks[name] = (
                tracks[name].followed(frame, points) if name in tracks else _Track(frame, points, np.zeros(2))
            )
            tracked.append(replace(person, person=str(matches[row])))
        recent = [track.at(frame) for track in tracks.values() if frame - track.frame <= LONGEST_PREDICTION]
        if _is_unclear([seen_box(points) for points in recent]):
            unclear.append(frame)
    if unclear:
        logger.warning(
            "In %d frames, the first is %d, two people without ids overlap in the image and may be confused. Check "
            "the overlay, or use a tracker with ids.",
            len(unclear),
            unclear[0],
        )
    return tracked


def _match(people: list[Points], tracks: dict[int, _Track], frame: int, matches: dict[int, int]) -> None:
    """Adds row of `people` -> track to `matches`, each at most once."""
    overlapping, near = [], []
    for row, points in enumerate(people):
        for name, track in tracks.items():
            expected = track.at(frame)
            here, there = seen_box(points), seen_box(expected)
            diagonal = max(float(np.linalg.norm(there[2:] - there[:2])), 1e-6)
            middle = float(np.linalg.norm((here[2:] + here[:2] - there[2:] - there[:2]) / 2)) / diagonal
            both = _seen(points) & _seen(expected)
            apart = middle
            if both.any():
                apart = float(np.median(np.linalg.norm(points[both, :2] - expected[both, :2], axis=1))) / diagonal
            if overlap(here, there) >= LEAST_OVERLAP:
                overlapping.append((apart, row, name))
            elif middle <= min(REACH * (frame - track.frame), MOST_REACH):
                near.append((middle, row, name))
    for _, row, name in [*sorted(overlapping), *sorted(near)]:
        if row not in matches and name not in matches.values():
            matches[row] = name


def _is_unclear(boxes: list[Points]) -> bool:
    """Whether two of the boxes overlap so much that people may be confused."""
    return any(overlap(a, b) >= MIXED_UP for i, a in enumerate(boxes) for b in boxes[:i])


def _seen(points: Points) -> NDArray[np.bool_]:
    """(K,) whether each joint is visible."""
    return np.isfinite(points[:, :2]).all(1) & ~(points[:, 2] <= 0)


def seen_box(points: Points) -> Points:
    """(4,) left, top, right, bottom of the visible joints."""
    seen = points[_seen(points), :2]
    return np.concatenate([seen.min(0), seen.max(0)]) if len(seen) else np.zeros(4)


def overlap(a: Points, b: Points) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0
