"""Legs that reach for given feet: two bones of constant length, solved in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from hmr4d.body.skeleton import SMPL22, Skeleton

LEGS = tuple(tuple(f"{side}_{part}" for part in ("hip", "knee", "ankle", "foot")) for side in ("left", "right"))
STRETCH = 0.99  # share of a leg's length up to which it may be straightened; a leg that is straighter stays so
SINK = 0.03  # metres; the body comes no further down so that a foot can be reached
SINK_TIME = 0.1  # seconds, standard deviation of the time over which it does
STRAIGHT = 0.03  # of the shin; knees that stand out by less lean forwards, towards the toes

Floats = NDArray[np.float64]


def move_feet(joints3d: Floats, offsets: Floats, *, fps: float, skeleton: Skeleton = SMPL22) -> Floats:
    """The motion with both feet moved; bones keep their lengths, feet their directions, knees their side.

    Where a leg would have to be straighter than STRETCH, and than it was, the body above sinks, smoothly in time and by
    at most SINK. What is still out of reach is not reached: the foot stays on the line to the hip.

    Args:
        joints3d: (L, J, 3) metres, y up.
        offsets: (L, 2, 3) metres by which the left and the right foot are moved.
        fps: frames per second.
        skeleton: joint meaning.
    """
    legs = [skeleton.indices(*names) for names in LEGS]
    goals = np.stack([joints3d[:, leg[2]] + offsets[:, side] for side, leg in enumerate(legs)], 1)
    hips = joints3d[:, [leg[0] for leg in legs]]
    reach = np.stack([_reach(joints3d, leg) for leg in legs], 1)
    sink = _sink(hips, goals, reach, fps)
    result = joints3d.copy()
    result[..., 1] -= sink[:, None]
    for side, (hip, knee, ankle, foot) in enumerate(legs):
        way = goals[:, side] - result[:, hip]
        distance = np.linalg.norm(way, axis=-1, keepdims=True)
        within = distance.clip(*_range(joints3d, (hip, knee, ankle), reach[:, side]))
        way *= within / distance.clip(min=1e-9)
        result[:, knee] = result[:, hip] + _knee(joints3d, way, (hip, knee, ankle, foot))
        result[:, ankle] = result[:, hip] + way
        result[:, foot] = result[:, ankle] + joints3d[:, foot] - joints3d[:, ankle]
    return result


def _reach(joints3d: Floats, leg: tuple[int, ...]) -> Floats:
    """(L,) metres from hip to ankle that a leg may have in a frame."""
    hip, knee, ankle = (joints3d[:, j] for j in leg[:3])
    length = np.linalg.norm(knee - hip, axis=-1) + np.linalg.norm(ankle - knee, axis=-1)
    return np.maximum(STRETCH * length, np.linalg.norm(ankle - hip, axis=-1))


def _range(joints3d: Floats, leg: tuple[int, int, int], reach: Floats) -> tuple[Floats, Floats]:
    """(L, 1) least and greatest metres from hip to ankle; a folded leg cannot be shorter than its bones differ."""
    hip, knee, ankle = (joints3d[:, j] for j in leg)
    thigh, shin = np.linalg.norm(knee - hip, axis=-1), np.linalg.norm(ankle - knee, axis=-1)
    return (np.abs(thigh - shin) + 1e-6)[:, None], reach[:, None]


def _sink(hips: Floats, goals: Floats, reach: Floats, fps: float) -> Floats:
    """(L,) metres by which the body sinks so that its feet are in reach."""
    ways = goals - hips
    across = (ways[..., [0, 2]] ** 2).sum(-1)
    down = np.sqrt((reach**2 - across).clip(min=0))
    needed = (-ways[..., 1] - down).clip(min=0, max=SINK).max(1)
    if not needed.any():
        return needed
    width = SINK_TIME * fps
    return gaussian_filter1d(maximum_filter1d(needed, 2 * round(width) + 1, mode="nearest"), width, mode="nearest")


def _knee(joints3d: Floats, way: Floats, leg: tuple[int, ...]) -> Floats:
    """(L, 3) metres from the hip to the knee of a leg whose ankle is at `way` (L, 3) from the hip.

    The knee stands out to the same side as before: its direction is turned as the line from hip to ankle turns.
    """
    hip, knee, ankle, foot = (joints3d[:, j] for j in leg)
    thigh, shin = (np.linalg.norm(b, axis=-1) for b in (knee - hip, ankle - knee))
    before, after = _unit(ankle - hip), _unit(way)
    toes = foot - ankle
    out = knee - hip
    out = out + STRAIGHT * shin[:, None] * _unit(toes - before * (toes * before).sum(-1, keepdims=True))
    out = out - before * (out * before).sum(-1, keepdims=True)
    cosine = (before * after).sum(-1, keepdims=True)
    out = _unit(out - (after * out).sum(-1, keepdims=True) / (1 + cosine).clip(min=1e-9) * (before + after))
    distance = np.linalg.norm(way, axis=-1).clip(min=1e-9)
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    along = np.clip(along, -thigh, thigh)  # rounding
    return along[:, None] * after + np.sqrt((thigh**2 - along**2).clip(min=0))[:, None] * out


def _unit(v: Floats) -> Floats:
    return v / np.linalg.norm(v, axis=-1, keepdims=True).clip(min=1e-12)
