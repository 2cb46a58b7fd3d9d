"""Where in a picture to look for people: the whole of it, and squares of a half and a third of it for small ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hmr4d.detection.networks import Sighting
from hmr4d.detection.regions import Region

LEVELS = (1, 2, 3)  # parts that the longer side is cut into
_OVERLAP = 1 / 3  # of its side that a square shares with its neighbour, so that somebody is whole in one of them
_SAME_PLACE, _SAME_SIZE = 0.25, 1.6  # of the smaller side between two middles; ratio of sides


def squares(size: tuple[int, int], level: int) -> list[Region]:
    """Upright squares that cover a picture.

    Args:
        size: width and height, pixels.
        level: their side is the longer side over this number.
    """
    side = max(size) / level
    return [Region(u, v, side) for v in _middles(size[1], side) for u in _middles(size[0], side)]


def _middles(length: float, side: float) -> list[float]:
    """Middles of evenly spread stretches that cover a length and overlap."""
    if length <= side:
        return [length / 2]
    count = math.ceil((length - side) / (side * (1 - _OVERLAP)) - 1e-9) + 1
    return [side / 2 + (length - side) * i / (count - 1) for i in range(count)]


def is_same(a: Region, b: Region) -> bool:
    """Whether two regions are around the same person, by place and size."""
    ratio = a.size / b.size
    apart = math.hypot(a.u - b.u, a.v - b.v)
    return 1 / _SAME_SIZE < ratio < _SAME_SIZE and apart < _SAME_PLACE * min(a.size, b.size)


def distinct(sightings: Sequence[Sighting], known: Sequence[Region]) -> list[Sighting]:
    """One sighting for each person who is not known yet: the surest of those around the same place."""
    chosen: list[Sighting] = []
    for one in sorted(sightings, key=lambda sighting: -sighting.score):
        if not any(is_same(one.region, other) for other in (*known, *(s.region for s in chosen))):
            chosen.append(one)
    return chosen
