"""Who is who from frame to frame, for detectors that do not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hmr4d.data.keypoints.detections import Detection

LEAST_OVERLAP = 0.1  # intersection over union of boxes
REACH = 0.5  # of the box diagonal that the middle of a box may move per frame where boxes do not overlap
MOST_REACH = 2.0  # of the box diagonal, after frames without the person
LONGEST_ABSENCE = 30  # frames; who is away longer comes back as someone new


def track_people(detections: Sequence[Detection]) -> list[Detection]:
    """The detections with ids "0", "1", ... in order of appearance, frame by frame.

    Boxes of the joints seen are compared with the last box of everyone known. Pairs are taken from the largest overlap
    (intersection over union) down to LEAST_OVERLAP; then, of those left, from the nearest middles up to REACH box
    diagonals per frame gone by. Whoever is left over is new. Where at most one person is in every frame, it is the same
    one throughout.
    """
    by_frame: dict[int, list[Detection]] = {}
    for detection in detections:
        by_frame.setdefault(detection.frame, []).append(detection)
    if all(len(people) == 1 for people in by_frame.values()):
        return [replace(detection, person="0") for detection in detections]
    tracked: list[Detection] = []
    last: dict[int, tuple[int, NDArray[np.float64]]] = {}
    count = 0
    for frame in sorted(by_frame):
        people = by_frame[frame]
        boxes = [seen_box(person.points) for person in people]
        known = {track: seen for track, seen in last.items() if frame - seen[0] <= LONGEST_ABSENCE}
        matches = _match(boxes, known, frame)
        for row, person in enumerate(people):
            if row not in matches:
                matches[row] = count
                count += 1
            last[matches[row]] = frame, boxes[row]
            tracked.append(replace(person, person=str(matches[row])))
    return tracked


def _match(
    boxes: list[NDArray[np.float64]], known: dict[int, tuple[int, NDArray[np.float64]]], frame: int
) -> dict[int, int]:
    """Row of `boxes` -> track, each at most once."""
    overlaps, distances = [], []
    for row, box in enumerate(boxes):
        for track, (seen, before) in known.items():
            diagonal = max(float(np.linalg.norm(before[2:] - before[:2])), 1e-6)
            distance = float(np.linalg.norm((box[2:] + box[:2] - before[2:] - before[:2]) / 2)) / diagonal
            shared = overlap(box, before)
            if shared >= LEAST_OVERLAP:
                overlaps.append((-shared, row, track))
            elif distance <= min(REACH * (frame - seen), MOST_REACH):
                distances.append((distance, row, track))
    matches: dict[int, int] = {}
    for _, row, track in [*sorted(overlaps), *sorted(distances)]:
        if row not in matches and track not in matches.values():
            matches[row] = track
    return matches


def seen_box(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) left, top, right, bottom of the joints that are seen."""
    seen = points[np.isfinite(points[:, :2]).all(1) & ~(points[:, 2] <= 0), :2]
    return np.concatenate([seen.min(0), seen.max(0)]) if len(seen) else np.zeros(4)


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0
