"""Foot lock: standing feet are fixed on a level floor, and the legs are adapted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d
from scipy.sparse import coo_array, diags_array, eye_array
from scipy.sparse.linalg import spsolve

from hmr4d.body.leg_solver import move_feet
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.motion.stances import Feet, Stance, find_stances

# Longer slides move the whole body, shorter ones the legs.
SHARED = 0.5  # seconds
# Slides that do not move the body, since rolling feet also cause them: meters per stance, and meters per second for
# each meter per second of the root.
ROLL = (0.08, 0.08)
SMOOTH = 0.15  # seconds; time constant of the horizontal path of the body
SMOOTH_HEIGHT = 1.0  # seconds; time constant of its height while feet stand, for slow drift
SMOOTH_FLIGHT = 0.15  # seconds; time constant of its height in the air, to correct the landing height of a jump
# Meters between the lowest and the highest ground on one level: a clip below the first value is not corrected, one
# above the second is corrected fully.
DRIFT = (0.03, 0.06)
HEIGHT_PLAY = 0.008  # meters above and below the ground within which a standing sole is not changed
GROUND = 0.2  # quantile of the heights of standing soles that defines the ground
FADE = 0.3  # seconds in which the correction fades after a stance, unless the next stance starts earlier
SOFT = 0.02  # seconds, standard deviation of the smoothing of foot corrections
LARGEST = 0.15  # meters; maximum displacement of a foot, and maximum lift of parts below the floor
LEAST = 1e-3  # weight of stance frames in which the foot is free
UNDER = 0.005  # meters; allowed depth of joints below the floor

Floats = NDArray[np.float64]


def plant_feet(joints3d: Floats, *, fps: float, skeleton: Skeleton = SMPL22) -> Floats:
    """Corrects a motion so that standing feet do not slide, sink or float.

    1. `find_stances` detects stances and the ground under each.
    2. The whole body is moved: along the floor by s(t) that minimizes sum over stances k and their frames |s + slip -
       c_k|^2 + (SHARED fps)^2 / 12 sum |s'|^2 + (SMOOTH fps)^4 sum |s''|^2, where slip(t) is the slide of the foot and
       c_k its final position; and in height, so that soles reach their ground, with the smoothness SMOOTH_HEIGHT, and
       SMOOTH_FLIGHT in the air.
    3. The legs correct the rest: feet in stance do not move, within HEIGHT_PLAY of their ground; in between, the
       corrections are interpolated.
    4. Nothing remains more than UNDER below the floor.

    Motion without any stance is not changed. Bone lengths are kept.

    Args:
        joints3d: (L, J, 3) meters, y up.
        fps: frames per second.
        skeleton: skeleton of the joints.

    Returns:
        (L, J, 3); heights are kept except for drift; the floor need not be at 0.
    """
    if len(joints3d) < 3:
        return joints3d.copy()
    feet = find_stances(joints3d, fps=fps, skeleton=skeleton)
    if not feet.stances:
        return joints3d.copy()
    along, corrections = _along(feet, fps)
    height, floor = _height(feet, fps)
    offsets = np.zeros((len(joints3d), 2, 3))
    for stance, flat in zip(feet.stances, corrections, strict=True):
        frames, foot = stance.frames, stance.foot
        up = floor + stance.level - feet.soles[frames, foot] - height[frames]
        up = feet.hold[frames, foot] * (up - up.clip(-HEIGHT_PLAY, HEIGHT_PLAY))
        offsets[frames, foot] = np.stack([flat[:, 0], up, flat[:, 1]], -1)
    for foot in (0, 1):
        offsets[:, foot] = _between(offsets[:, foot], [s for s in feet.stances if s.foot == foot], fps)
    offsets = gaussian_filter1d(offsets, SOFT * fps, axis=0, mode="nearest")
    size = np.linalg.norm(offsets, axis=-1, keepdims=True)
    offsets *= np.minimum(1, LARGEST / size.clip(min=1e-9))
    moved = joints3d + np.stack([along[:, 0], height, along[:, 1]], -1)[:, None]
    return _above_floor(moved, offsets, floor, fps, skeleton)


def _along(feet: Feet, fps: float) -> tuple[Floats, list[Floats]]:
    """The displacement of the body along the floor (L, 2), and the remaining one for the legs in each stance (n, 2)."""
    num_frames, size = len(feet.soles), len(feet.soles) + len(feet.stances)
    rows, columns, values = [np.array([])], [np.array([])], [np.array([])]
    targets, held = [np.zeros((0, 2))], []
    count = 0
    for number, stance in enumerate(feet.stances):
        hold = feet.hold[stance.frames, stance.foot]
        steps = feet.slips[stance.start : stance.stop - 1, stance.foot][:, [0, 2]]
        held.append(np.concatenate([np.zeros((1, 2)), (np.minimum(hold[1:], hold[:-1])[:, None] * steps).cumsum(0)]))
        slide = np.median(steps, axis=0)
        rolls = ROLL[0] / len(hold) + ROLL[1] * feet.speed[stance.frames].mean() / fps
        slide *= max(1 - rolls / max(np.linalg.norm(slide), 1e-9), 0)
        weights, frames = np.sqrt(hold + LEAST), np.arange(len(hold))
        rows += 2 * [count + frames]
        columns += [stance.start + frames, np.full(len(hold), num_frames + number)]
        values += [weights, -weights]
        targets.append(-weights[:, None] * frames[:, None] * slide)
        count += len(hold)
    places = (np.concatenate(rows).astype(int), np.concatenate(columns).astype(int))
    data: Any = coo_array((np.concatenate(values), places), shape=(count, size))
    first, second = (_difference(order, num_frames, size) for order in (1, 2))
    form = data.T @ data + (SHARED * fps) ** 2 / 12 * (first.T @ first) + (SMOOTH * fps) ** 4 * (second.T @ second)
    way = _solve(form, data.T @ np.concatenate(targets))[:num_frames]
    left = []
    for stance, path in zip(feet.stances, held, strict=True):
        weights = feet.hold[stance.frames, stance.foot, None] + LEAST
        moved = path + way[stance.frames]
        left.append((moved * weights).sum(0) / weights.sum() - moved)
    return way, left


def _height(feet: Feet, fps: float) -> tuple[Floats, float]:
    """The height displacement of the body (L,), and the resulting floor height."""
    num_frames = len(feet.soles)
    over = [feet.soles[s.frames, s.foot] - s.level for s in feet.stances]
    held = [feet.steadiness[s.frames, s.foot] * feet.hold[s.frames, s.foot] for s in feet.stances]
    floor = _weighted_quantile(np.concatenate(over), np.concatenate(held), GROUND)
    weights, sums = np.zeros(num_frames), np.zeros(num_frames)
    for stance, height, weight in zip(feet.stances, over, held, strict=True):
        weights[stance.frames] += weight
        sums[stance.frames] += weight * (floor - height)
    stands = minimum_filter1d((weights > 0).astype(float), 3, mode="nearest")[1:-1]
    stiffness = np.where(stands > 0, SMOOTH_HEIGHT, SMOOTH_FLIGHT) * fps
    second = diags_array(stiffness**2) @ _difference(2, num_frames, num_frames)
    height = _solve(second.T @ second + diags_array(weights), sums)
    drift = np.ptp(height[weights > 0])
    return height * np.clip((drift - DRIFT[0]) / (DRIFT[1] - DRIFT[0]), 0, 1), floor


def _weighted_quantile(values: Floats, weights: Floats, quantile: float) -> float:
    order = np.argsort(values)
    total = weights[order].cumsum()
    return float(values[order][np.searchsorted(total, quantile * total[-1])])


def _difference(order: int, num_frames: int, size: int) -> Any:
    """(num_frames - order, size) sparse: first or second differences between the first of `size` unknowns."""
    bands = {1: (-1.0, 1.0), 2: (1.0, -2.0, 1.0)}[order]
    count = num_frames - order
    return sum(value * eye_array(count, size, k=k) for k, value in enumerate(bands))


def _solve(form: Any, right: Floats) -> Floats:
    """The solution of a sparse system; undetermined unknowns become zero."""
    solution: Any = spsolve((form + LEAST**2 * eye_array(len(right))).tocsc(), right)
    return solution


def _between(offsets: Floats, stances: list[Stance], fps: float) -> Floats:
    """Offsets (L, 3) of one foot: given in its stances, interpolated or faded out between them."""
    result = offsets.copy()
    fade = round(FADE * fps)
    known = np.zeros(len(offsets), bool)
    for stance in stances:
        known[stance.frames] = True
    gaps = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(int))).reshape(-1, 2)
    for start, stop in gaps.tolist():
        span = min(fade, stop - start + 1)
        time = np.arange(start, stop)
        for edge, is_there in ((start - 1, start > 0), (stop, stop < len(offsets))):
            if is_there:
                x = (np.abs(time - edge) / span).clip(max=1)[:, None]
                result[start:stop] += offsets[edge] * (1 - x * x * (3 - 2 * x))
    return result


def _above_floor(moved: Floats, offsets: Floats, floor: float, fps: float, skeleton: Skeleton) -> Floats:
    """Feet moved, nothing below the floor."""
    deepest = floor - UNDER
    feet = list(skeleton.contact_joints)
    others = [j for j in range(skeleton.num_joints) if j not in feet]
    up = _envelope((deepest - moved[:, others, 1]).clip(min=0, max=LARGEST).max(1), fps)
    moved = moved + up[:, None, None] * np.array([0.0, 1.0, 0.0])
    offsets = offsets - up[:, None, None] * np.array([0.0, 1.0, 0.0])
    for foot, names in enumerate((("left_ankle", "left_foot"), ("right_ankle", "right_foot"))):
        lowest = moved[:, list(skeleton.indices(*names)), 1].min(1) + offsets[:, foot, 1]
        offsets[:, foot, 1] += _envelope((deepest - lowest).clip(min=0, max=LARGEST), fps)
    return move_feet(moved, offsets, skeleton=skeleton)


def _envelope(depths: Floats, fps: float) -> Floats:
    """(L,) a smooth curve that is nowhere below depths (L,)."""
    if not depths.any():
        return depths
    width = 2 * round(SOFT * fps) + 1
    wide = maximum_filter1d(depths, 2 * width + 1, mode="nearest")
    return gaussian_filter1d(wide, SOFT * fps, mode="nearest", radius=width)
