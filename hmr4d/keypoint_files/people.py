"""Identities of the entries of a file: from the tracker ids if they are reliable, otherwise from boxes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.detections import Detection
from hmr4d.keypoint_files.tracking import overlap, seen_box, track_people

logger = logging.getLogger(__name__)

_MOSTLY = 0.5  # share of frames
_SWAPS, _SHARE = 2, 0.03  # minimum number and fraction of frames in which ids change people


def identified(detections: Sequence[Detection], has_placeholders: bool) -> list[Detection]:
    """The detections, with an id for each person.

    Ids are ignored, with a warning, if one occurs more than once in most of its frames, if they are the index in the
    frame while people change positions, or if only some entries have one. People are then tracked by their boxes. If
    absent people keep their position in the list of a frame, the position is the id.

    Args:
        detections: detections of a file. has_placeholders: absent people keep their position.
    """
    given_ids = [d.person for d in detections]
    if all(person is None for person in given_ids):
        if has_placeholders:
            return [replace(d, person=str(d.place)) for d in detections]
        return track_people(detections)
    if None in given_ids:
        logger.warning(
            "%d of %d entries have no id; people are tracked by their boxes.", given_ids.count(None), len(given_ids)
        )
        return track_people(detections)
    by_frame = _by_frame(detections)
    if (person := _twice_mostly(by_frame)) is not None:
        logger.warning(
            "Id %s occurs more than once in most frames, so ids are not reliable; people are tracked by their boxes.",
            person,
        )
        return track_people(detections)
    if _is_index(by_frame):
        logger.warning(
            "Ids are the position in the list of each frame, and people change positions; they are tracked by their "
            "boxes."
        )
        return track_people(detections)
    return list(detections)


def without_repeats(detections: Sequence[Detection]) -> list[Detection]:
    """The detections; if most frames repeat an entry exactly, id included, without the repeats, with a warning."""
    first = {(d.frame, d.person, d.points.tobytes()): number for number, d in reversed([*enumerate(detections)])}
    if len(detections) - len(first) <= _MOSTLY * len({d.frame for d in detections}):
        return list(detections)
    logger.warning("%d entries repeat another of their frame; they are left out.", len(detections) - len(first))
    return [detections[number] for number in sorted(first.values())]


def one_per_frame(person: str, entries: Sequence[Detection]) -> dict[int, Detection]:
    """One entry per person and frame: of several, the one nearest to the previous frame, with a warning."""
    by_frame = _by_frame(entries)
    chosen: dict[int, Detection] = {}
    before = max(by_frame[min(by_frame)], key=lambda d: float(d.points[:, 2].sum()))
    for frame in sorted(by_frame):
        entries_now = by_frame[frame]
        distances = [_distance(entry, before) for entry in entries_now] if len(entries_now) > 1 else [0.0]
        before = chosen[frame] = entries_now[int(np.argmin(distances))]
    if len(chosen) < len(entries):
        logger.warning(
            "Person %s occurs twice in %d frames; the entries nearest to the previous ones are kept.",
            person,
            sum(len(found) > 1 for found in by_frame.values()),
        )
    return chosen


def _by_frame(detections: Sequence[Detection]) -> dict[int, list[Detection]]:
    by_frame: dict[int, list[Detection]] = {}
    for detection in detections:
        by_frame.setdefault(detection.frame, []).append(detection)
    return by_frame


def _twice_mostly(by_frame: dict[int, list[Detection]]) -> str | None:
    """An id that is more than once in most frames it is in."""
    frames: Counter[str] = Counter()
    double: Counter[str] = Counter()
    for people in by_frame.values():
        for person, count in Counter(str(d.person) for d in people).items():
            frames[person] += 1
            double[person] += count > 1
    return next((person for person, count in double.items() if count > _MOSTLY * frames[person]), None)


def _is_index(by_frame: dict[int, list[Detection]]) -> bool:
    """Whether ids count the entries of each frame from 0 or 1, and neighbors swap them between frames."""
    if all(len(people) < 2 for people in by_frame.values()):
        return False
    listed = [[str(d.person) for d in sorted(people, key=lambda d: d.place)] for people in by_frame.values()]
    if not any(all(ids == [str(i + first) for i in range(len(ids))] for ids in listed) for first in (0, 1)):
        return False
    swaps = pairs = 0
    frames = sorted(by_frame)
    for a, b in zip(frames, frames[1:], strict=False):
        boxes = [{d.person: seen_box(d.points) for d in by_frame[f]} for f in (a, b)]
        if max(map(len, boxes)) < 2:
            continue
        pairs += 1
        swaps += any(_fits_another(box, person, boxes[0]) for person, box in boxes[1].items())
    return swaps >= max(_SWAPS, _SHARE * pairs)


def _fits_another(box: NDArray[np.float64], person: str | None, before: dict[str | None, NDArray[np.float64]]) -> bool:
    """Whether a box overlaps that of another person in the previous frame, and not that with its own id."""
    own = overlap(box, before[person]) if person in before else 0.0
    return own == 0 and any(overlap(box, other) > _MOSTLY for name, other in before.items() if name != person)


def _distance(one: Detection, other: Detection) -> float:
    """Mean distance in pixels of the common joints; without any, of the box centers."""
    both = (one.points[:, 2] > 0) & (other.points[:, 2] > 0)
    if both.any():
        return float(np.linalg.norm(one.points[both, :2] - other.points[both, :2], axis=1).mean())
    boxes = [seen_box(d.points) for d in (one, other)]
    return float(np.linalg.norm((boxes[0][:2] + boxes[0][2:] - boxes[1][:2] - boxes[1][2:]) / 2))
