"""Feet that stand where they bear weight, on a floor that does not sink or rise, and legs that follow them."""

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

# The whole body gives way to feet that slide for longer than this, the legs to those that slide for less.
SHARED = 0.5  # seconds
# What the body does not give way to, as feet that roll do it, too: metres in a stance, and metres per second for each
# metre per second of the root.
ROLL = (0.08, 0.08)
SMOOTH = 0.15  # seconds; time constant of the body's way
SMOOTH_HEIGHT = 1.0  # seconds; of its height while feet stand, when it drifts slowly
SMOOTH_FLIGHT = 0.15  # seconds; of its height in the air, where a jump that ends too low or too high is mended
# Metres between the lowest and the highest ground on one level: a clip with less does not drift and keeps its heights,
# one with more than the second loses all its drift.
DRIFT = (0.03, 0.06)
HEIGHT_PLAY = 0.008  # metres over and under the ground within which a standing sole stays as it is
GROUND = 0.2  # quantile of the heights of standing soles that is the ground
FADE = 0.3  # seconds after a stance in which its correction fades, unless the next stance comes first
SOFT = 0.02  # seconds, standard deviation; foot corrections begin and end this softly
LARGEST = 0.15  # metres; a foot is moved, and what is under the floor is lifted, by no more than this
LEAST = 1e-3  # weight of the frames of a stance in which the foot is free
UNDER = 0.005  # metres under the floor down to which joints may be

Floats = NDArray[np.float64]


def plant_feet(joints3d: Floats, *, fps: float, skeleton: Skeleton = SMPL22) -> Floats:
    """A motion whose standing feet do not slide, sink or float.

    1. Stances and the ground under each are found (`find_stances`).
    2. The whole body is moved: along the floor by s(t) that minimises
       sum over stances k and their frames |s + slip - c_k|^2 + (SHARED fps)^2 / 12 sum |s'|^2 + (SMOOTH fps)^4
       sum |s''|^2, where slip(t) is how far the foot has slid and c_k where it ends up; and in height, so that soles
       come to the ground under them, by a path as smooth as SMOOTH_HEIGHT, and as SMOOTH_FLIGHT in the air.
    3. What is left is done by the legs: stances stand still, within HEIGHT_PLAY of their ground; in between the
       correction of one stance goes over into that of the next.
    4. Nothing stays below the floor by more than UNDER.

    Where no foot ever stands nothing is done. Bones keep their length.

    Args:
        joints3d: (L, J, 3) metres, y up.
        fps: frames per second.
        skeleton: joint meaning.

    Returns:
        (L, J, 3); heights are as given, but for drift: the floor need not be at 0.
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
    """The body's way along the floor (L, 2), and what is left for the legs in each stance (n, 2)."""
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
    """How far the body is raised (L,), and the height of the floor after that."""
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
    """The solution of a sparse system; what it leaves open becomes zero."""
    solution: Any = spsolve((form + LEAST**2 * eye_array(len(right))).tocsc(), right)
    return solution


def _between(offsets: Floats, stances: list[Stance], fps: float) -> Floats:
    """Offsets (L, 3) of one foot, known in its stances, with those between: each fades into the next, or to none."""
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
