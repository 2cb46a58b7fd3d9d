"""Legs that reach for given feet: two bones of constant length, solved in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import SMPL22, Skeleton

LEGS = tuple(tuple(f"{side}_{part}" for part in ("hip", "knee", "ankle", "foot")) for side in ("left", "right"))
STRETCH = 0.995  # maximum extension as a fraction of the leg length; a straighter leg is not changed
STRAIGHT = 0.03  # fraction of the shin; knees with a smaller offset bend toward the toes if their feet are moved

Floats = NDArray[np.float64]


def move_feet(joints3d: Floats, offsets: Floats, *, skeleton: Skeleton = SMPL22) -> Floats:
    """The motion with both feet moved; bone lengths, foot directions and the bending side of the knees are kept.

    A leg is never extended beyond STRETCH, or its previous extension: a foot out of reach stays on the line from the
        hip to its target.

    Args:
        joints3d: (L, J, 3) meters, y up.
        offsets: (L, 2, 3) displacement of the left and the right foot in meters.
        skeleton: skeleton of the joints.
    """
    result = joints3d.copy()
    for side, names in enumerate(LEGS):
        hip, knee, ankle, foot = skeleton.indices(*names)
        way = joints3d[:, ankle] + offsets[:, side] - joints3d[:, hip]
        distance = np.linalg.norm(way, axis=-1, keepdims=True)
        way *= distance.clip(*_reach(joints3d, (hip, knee, ankle))) / distance.clip(min=1e-9)
        result[:, knee] = result[:, hip] + _knee(joints3d, way, (hip, knee, ankle, foot))
        result[:, ankle] = result[:, hip] + way
        result[:, foot] = result[:, ankle] + joints3d[:, foot] - joints3d[:, ankle]
    return result


def _reach(joints3d: Floats, leg: tuple[int, int, int]) -> tuple[Floats, Floats]:
    """(L, 1) least and greatest meters from hip to ankle; a folded leg cannot be shorter than its bones differ."""
    hip, knee, ankle = (joints3d[:, j] for j in leg)
    thigh, shin, span = (np.linalg.norm(b, axis=-1) for b in (knee - hip, ankle - knee, ankle - hip))
    greatest = np.minimum(np.maximum(STRETCH * (thigh + shin), span), thigh + shin)
    return (np.abs(thigh - shin) + 1e-6)[:, None], greatest[:, None]


def _knee(joints3d: Floats, way: Floats, leg: tuple[int, ...]) -> Floats:
    """(L, 3) meters from the hip to the knee of a leg whose ankle is at `way` (L, 3) from the hip.

    The knee keeps its bending side: its direction is rotated with the line from hip to ankle.
    """
    hip, knee, ankle, foot = (joints3d[:, j] for j in leg)
    thigh, shin = (np.linalg.norm(b, axis=-1) for b in (knee - hip, ankle - knee))
    before, after = _unit(ankle - hip), _unit(way)
    toes = foot - ankle
    out = knee - hip
    lean = np.minimum(STRAIGHT * shin, np.linalg.norm(way - (ankle - hip), axis=-1))
    out = out + lean[:, None] * _unit(toes - before * (toes * before).sum(-1, keepdims=True))
    out = out - before * (out * before).sum(-1, keepdims=True)
    cosine = (before * after).sum(-1, keepdims=True)
    out = _unit(out - (after * out).sum(-1, keepdims=True) / (1 + cosine).clip(min=1e-9) * (before + after))
    distance = np.linalg.norm(way, axis=-1).clip(min=1e-9)
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    along = np.clip(along, -thigh, thigh)  # rounding
    return along[:, None] * after + np.sqrt((thigh**2 - along**2).clip(min=0))[:, None] * out


def _unit(v: Floats) -> Floats:
    return v / np.linalg.norm(v, axis=-1, keepdims=True).clip(min=1e-12)
