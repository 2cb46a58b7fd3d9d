"""Search regions for people: the whole image, and squares of a half and a third of it for small people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hmr4d.detection.networks import Sighting
from hmr4d.detection.regions import Region

LEVELS = (1, 2, 3)  # divisions of the longer side
_OVERLAP = 1 / 3  # overlap of neighboring squares relative to their side, so that a person is completely in one of them
_SAME_PLACE, _SAME_SIZE = 0.25, 1.6  # maximum distance of centers relative to the smaller side; maximum ratio of sides


def squares(size: tuple[int, int], level: int) -> list[Region]:
    """Upright squares that cover an image.

    Args:
        size: width and height, pixels.
        level: their side is the longer side over this number.
    """
    side = max(size) / level
    return [Region(u, v, side) for v in _middles(size[1], side) for u in _middles(size[0], side)]


def _middles(length: float, side: float) -> list[float]:
    """Centers of evenly spaced overlapping intervals that cover a length."""
    if length <= side:
        return [length / 2]
    count = math.ceil((length - side) / (side * (1 - _OVERLAP)) - 1e-9) + 1
    return [side / 2 + (length - side) * i / (count - 1) for i in range(count)]


def is_same(a: Region, b: Region) -> bool:
    """Whether two regions contain the same person, by position and size."""
    ratio = a.size / b.size
    apart = math.hypot(a.u - b.u, a.v - b.v)
    return 1 / _SAME_SIZE < ratio < _SAME_SIZE and apart < _SAME_PLACE * min(a.size, b.size)


def distinct(sightings: Sequence[Sighting], known: Sequence[Region]) -> list[Sighting]:
    """One detection per new person: the one with the highest score among those at the same position."""
    chosen: list[Sighting] = []
    for one in sorted(sightings, key=lambda sighting: -sighting.score):
        if not any(is_same(one.region, other) for other in (*known, *(s.region for s in chosen))):
            chosen.append(one)
    return chosen
