"""Detection of stances from the height and speed of the feet, and the height of the ground under them.

A foot is its ankle and its toe joint. The height of its *sole* is that of the toe joint, or of the ankle minus its
standing height over the toes, whichever is lower, so that heel strikes count too. Nothing is learned; every threshold
below is a length or a speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from hmr4d.body.skeleton import SMPL22, Skeleton

FEET = (("left_ankle", "left_foot"), ("right_ankle", "right_foot"))
LOW = 0.06  # meters over the lowest part of the body; maximum height at the start of a stance
STILL_LOW = 0.10  # meters; maximum height during a stance
NO_LEAP = 0.10  # meters over the lowest height of the body within LEAP before and after
LEAP = 0.25  # seconds
# A stance starts below the first speed and ends above the second: meters per second, and an addition per root speed,
# since the slide of generated feet grows with the running speed.
LANDS, LEAVES = (0.3, 0.38), (0.5, 0.55)
# Within a stance a foot is held below the first speed and released above the second: meters per second, and an addition
# per median speed of the stance.
HOLDS, LETS_GO = (0.1, 1.4), (0.3, 2.5)
ROOT_WINDOW = 0.5  # seconds over which the root's speed is averaged
ANKLE_HEIGHT = (0.03, 0.07, 0.15)  # meters over the toe joint, standing: minimum, default, maximum
STEP = 0.05  # meters; a smaller change of height between stances is drift
LOWEST_STEP = 0.1  # meters over the floor; minimum height of raised ground
FALLS = -4.0  # meters per second squared; a body with a lower median acceleration is in flight
LEVEL_SPEED = 0.1  # meters per second; soles that rise or sink faster hardly determine the ground height
RESTS = 0.03  # meters per second; slower joints are at rest

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stance:
    """One foot on the ground.

    Attributes:
        foot: 0 left, 1 right.
        start, stop: frames, stop exclusive.
        level: meters over the lowest ground of the clip; 0 on the floor, more on a step or a stool.
    """

    foot: int
    start: int
    stop: int
    level: float = 0.0

    @property
    def frames(self) -> slice:
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Feet:
    """Both feet of a clip.

    Attributes:
        ankles, toes: (L, 2, 3) meters.
        soles: (L, 2) meters, height.
        steadiness: (L, 2) 1 for a sole at constant height, toward 0 for one that rises or sinks.
        slips: (L - 1, 2, 3) displacement in meters of the pivot of a foot to the next frame.
        hold: (L, 2) 1 for a held foot, 0 for a free one, with smooth transitions.
        speed: (L,) meters per second of the root along the floor, averaged over ROOT_WINDOW.
        stances: ordered by start."""

    ankles: Floats
    toes: Floats
    soles: Floats
    steadiness: Floats
    slips: Floats
    hold: Floats
    speed: Floats
    stances: tuple[Stance, ...]


def find_stances(joints3d: Floats, *, fps: float, skeleton: Skeleton = SMPL22) -> Feet:
    """The feet of a clip and their stances.

    A stance starts when a sole is at most LOW over the lowest part of the body and slower than LANDS; it continues
    while the sole is at most STILL_LOW over it and slower than LEAVES (hysteresis in both directions). A body more than
    NO_LEAP higher than shortly before and after is in the air. A hanging or lying person may have no stance; feet at
    rest on high ground are in stance there.

    Args:
        joints3d: (L, J, 3) meters, y up.
        fps: frames per second.
        skeleton: skeleton of the joints.
    """
    ankles, toes = (joints3d[:, list(skeleton.indices(*(f[k] for f in FEET)))] for k in (0, 1))
    steps = np.diff(np.stack([ankles, toes], 2), axis=0)  # (L - 1, 2 feet, 2 joints, 3)
    speeds = _around(np.linalg.norm(steps, axis=-1)) * fps
    over_toes = _ankle_heights(ankles, toes, speeds)
    soles = np.minimum(toes[..., 1], ankles[..., 1] - over_toes)
    parts = [j for j in range(skeleton.num_joints) if j not in skeleton.contact_joints]
    lowest = np.minimum(soles.min(1), joints3d[:, parts, 1].min(1))
    in_air = lowest > minimum_filter1d(lowest, 2 * round(LEAP * fps) + 1, mode="nearest") + NO_LEAP
    root = _around(np.linalg.norm(np.diff(joints3d[:, 0], axis=0)[:, [0, 2]], axis=-1)) * fps
    root = uniform_filter1d(root, 2 * round(ROOT_WINDOW * fps / 2) + 1, mode="nearest")[:, None]
    speed, over = speeds.min(-1), soles - lowest[:, None]
    lands = (over < LOW) & (speed < LANDS[0] + LANDS[1] * root) & ~in_air[:, None]
    stays = (over < STILL_LOW) & (speed < LEAVES[0] + LEAVES[1] * root) & ~in_air[:, None]
    stances = [Stance(foot, *ends) for foot in (0, 1) for ends in _runs(lands[:, foot], stays[:, foot])]
    sinking = np.gradient(soles, axis=0) * fps if len(soles) > 1 else np.zeros_like(soles)
    steadiness = 1 / (1 + (sinking / LEVEL_SPEED) ** 2)
    stances = sorted(stances, key=lambda s: (s.start, s.foot))
    slips = _slips(steps, fps)
    return Feet(
        ankles,
        toes,
        soles,
        steadiness,
        slips,
        _hold(slips, stances, fps),
        root[:, 0],
        with_levels(stances, soles, steadiness, joints3d[:, 0, 1], fps),
    )


def with_levels(
    stances: list[Stance], soles: Floats, steadiness: Floats, root_height: Floats, fps: float
) -> tuple[Stance, ...]:
    """Stances with the height of their ground.

    Generated motion drifts up or down by some centimeters a second, and by decimeters in a jump, so a slow change of
    height is not a change of ground, and a jump ends on its starting ground. A stance less than STEP from an earlier
    one has the same ground; otherwise the height difference to the previous stance counts. Ground less than LOWEST_STEP
    over the lowest one is the floor.

    Args:
        stances: in the order in which they start.
        soles, steadiness: (L, 2), see `Feet`.
        root_height: (L,) meters.
        fps: frames per second.
    """
    heights = [float(np.average(soles[s.frames, s.foot], weights=steadiness[s.frames, s.foot])) for s in stances]
    levels: list[float] = []
    for number, stance in enumerate(stances):
        if not number:
            levels.append(0.0)
            continue
        alike = int(np.argmin([abs(heights[number] - h) for h in heights[:number]]))
        before = max(range(number), key=lambda k: (min(stances[k].stop, stance.start), k))
        if _is_flight(root_height, stances[before].stop, stance.start, fps):
            levels.append(levels[before])
        elif abs(heights[number] - heights[alike]) < STEP:
            levels.append(levels[alike])
        else:
            levels.append(levels[before] + heights[number] - heights[before])
    floor = min(levels, default=0.0)
    levels = [level - floor if level - floor >= LOWEST_STEP else 0.0 for level in levels]
    return tuple(Stance(s.foot, s.start, s.stop, level) for s, level in zip(stances, levels, strict=True))


def _is_flight(root_height: Floats, start: int, stop: int, fps: float) -> bool:
    """Whether the body flies in the frames from `start` to `stop`, in which no foot stands."""
    if stop - start < 2:
        return False
    bends = np.diff(root_height[max(start - 1, 0) : stop + 1], n=2) * fps**2
    return bool(np.median(bends) < FALLS)


def _around(steps: Floats) -> Floats:
    """(L, ...) mean of the step before and the step after, from steps (L - 1, ...)."""
    if not len(steps):
        return np.zeros((1, *steps.shape[1:]))
    return (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2


def _ankle_heights(ankles: Floats, toes: Floats, speeds: Floats) -> Floats:
    """(2,) meters of the ankles over the toes of feet that stand: the median over slow frames."""
    over = ankles[..., 1] - toes[..., 1]
    slow = speeds.max(-1) < LANDS[0]
    least, usual, most = ANKLE_HEIGHT
    return np.array([np.clip(np.median(over[s, k]) if (s := slow[:, k]).any() else usual, least, most) for k in (0, 1)])


def _slips(steps: Floats, fps: float) -> Floats:
    """(L - 1, 2, 3) steps of the point about which a foot turns: that of its two joints which rests, by weights."""
    weights = 1 / ((steps[..., [0, 2]] * fps) ** 2).sum(-1).clip(min=RESTS**2) ** 2
    return (weights[..., None] * steps).sum(2) / weights.sum(2)[..., None]


def _hold(slips: Floats, stances: list[Stance], fps: float) -> Floats:
    """(L, 2) how firmly a foot is held, from the speed of its point of rest against the median over the stance."""
    speed = _around(np.linalg.norm(slips[..., [0, 2]], axis=-1)) * fps
    hold = np.zeros_like(speed)
    for stance in stances:
        own = speed[stance.frames, stance.foot]
        holds, lets_go = (low + more * np.median(own) for low, more in (HOLDS, LETS_GO))
        hold[stance.frames, stance.foot] = ((lets_go - own) / (lets_go - holds)).clip(0, 1)
    return hold


def _runs(core: NDArray[np.bool_], mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of the runs of `mask` that touch `core` and last two frames or more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask | core, [False]]).astype(int)))
    return [(a, b) for a, b in edges.reshape(-1, 2).tolist() if b - a > 1 and core[a:b].any()]
