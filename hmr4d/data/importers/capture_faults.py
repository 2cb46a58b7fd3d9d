"""Detection of faults in captured motion (jumps of joints, wrong rates) and of the floor height."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hmr4d.body.skeleton import SMPL22

GRAVITY = 9.81  # meters per second squared
# Shares of the body's mass near SMPL-22 joints; segment masses of Winter, "Biomechanics and Motor Control of Human
# Movement", table 4.1, dealt out to the joints at the ends of the segments.
_MASS = {
    "pelvis": 0.14,
    "spine1": 0.05,
    "spine2": 0.05,
    "spine3": 0.16,
    "neck": 0.09,
    "head": 0.06,
    "hip": 0.06,
    "knee": 0.07,
    "ankle": 0.03,
    "foot": 0.01,
    "collar": 0.0,
    "shoulder": 0.015,
    "elbow": 0.02,
    "wrist": 0.02,
}
JUMP = 18.0  # meters per second; larger changes of speed within one frame are faults
BRIDGED = 0.35  # seconds; longer gaps are not bridged
EDGE = 0.1  # seconds at either end of a clip; jumps there are cut off
FASTEST = 15.0  # meters per second along a bridge; maximum speed of an interpolated joint
MAX_BRIDGED_SHARE = 0.1  # of the frames of a clip
AROUND = 2  # frames around a jump that are discarded too
STANDING_SPEED = 0.3  # meters per second; standing feet are slower
STANDING_SECONDS = 0.1  # minimum duration of standing
FLOOR_QUANTILE = 0.02  # of the heights of standing feet
FLIGHT_HEIGHT, FLIGHT_SECONDS = 0.1, 0.1  # meters and seconds; height of the lowest joint and duration of a flight
_FEET = list(SMPL22.indices("left_ankle", "right_ankle", "left_foot", "right_foot"))


class Mended(NamedTuple):
    """Motion without its jumps.

    Attributes:
        joints: (T', J, 3) meters.
        cut: frames cut off at the start and at the end.
        bridged: frames in which some joint is interpolated.
    """

    joints: np.ndarray
    cut: tuple[int, int]
    bridged: int


def mend_jumps(joints: np.ndarray, fps: float) -> Mended:
    """Interpolates short jumps of joints and cuts off those at the ends.

    A joint jumps where it changes its velocity by more than JUMP from one frame to the next: markers were swapped or
    lost. Frames around it, and frames before in which the whole body is frozen, are interpolated linearly, for this
    joint only and relative to the pelvis. Jumps within EDGE of the start or the end are cut off with the frames beyond.

    Args:
        joints: (T, J, 3) meters; joint 0 is the pelvis.
        fps: frames per second.

    Raises:
        ValueError: jumps that are too long, too large or too many; the message names them.
    """
    jumps = jumping(joints, fps)
    first, last = _cut_ends(np.asarray(jumps.any(1)), round(EDGE * fps))
    kept, jumps = joints[first:last], jumps[first:last]
    if len(kept) < 2 or jumps[[0, -1]].any():
        raise ValueError("jumps of position all through the clip")
    path = np.concatenate(
        [kept[:, :1], kept[:, 1:] - kept[:, :1]], axis=1
    )  # pelvis positions, and positions relative to it
    for joint in np.flatnonzero(jumps.any(0)):
        for start, end in runs(jumps[:, joint]):
            if end - start > BRIDGED * fps:
                raise ValueError(f"jumps of {SMPL22.joint_names[joint]} over {(end - start) / fps:.2f} s")
            share = (np.arange(1, end - start + 1) / (end - start + 1))[:, None]
            before, after = path[start - 1, joint], path[end, joint]
            if (speed := np.linalg.norm(after - before) / (end - start + 1) * fps) > FASTEST:
                raise ValueError(
                    f"{SMPL22.joint_names[joint]} jumps {start / fps:.2f} s after the start, at {speed:.0f} m/s"
                )
            path[start:end, joint] = before + share * (after - before)
    bridged = int(jumps.any(1).sum())
    if bridged > MAX_BRIDGED_SHARE * len(kept):
        raise ValueError(f"jumps of position in {bridged} of {len(kept)} frames")
    mended = np.concatenate([path[:, :1], path[:, 1:] + path[:, :1]], axis=1)
    return Mended(mended, (first, len(joints) - last), bridged)


def jumping(joints: np.ndarray, fps: float) -> np.ndarray:
    """(T, J) bool: frames in which a joint cannot be trusted, see `mend_jumps`."""
    jumps = np.zeros(joints.shape[:2], dtype=bool)
    if len(joints) < 3:
        return jumps
    change = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1) * fps
    jumps[1:-1] = change > JUMP
    frozen = np.zeros(len(joints), dtype=bool)
    frozen[1:] = np.abs(np.diff(joints, axis=0)).max((1, 2)) < 1e-6
    for joint in np.flatnonzero(jumps.any(0)):
        for start, end in runs(jumps[:, joint]):
            first = start
            while first > 0 and frozen[first]:
                first -= 1
            jumps[max(0, first - AROUND) : end + AROUND, joint] = True
        for start, end in runs(~jumps[:, joint]):  # islands of a few frames between jumps
            if start > 0 and end < len(jumps) and end - start <= EDGE * fps:
                jumps[start:end, joint] = True
    return jumps


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of every run of True in a mask (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _cut_ends(bad: np.ndarray, edge: int) -> tuple[int, int]:
    """[first, last) without the runs of bad frames that begin or end within `edge` frames of the ends."""
    first, last = 0, len(bad)
    for start, end in runs(bad):
        if start <= edge:
            first = end
        elif end >= len(bad) - edge:
            last = min(last, start)
    return first, max(first, last)


def rate_by_free_fall(joints: np.ndarray, fps: float) -> float:
    """The frame rate, halved if people in flight fall four times too fast.

    In flight the center of mass falls with 9.81 m/s². If at the given rate it falls about four times as fast, the
    motion was captured at half that rate.

    Args:
        joints: (T, 22, 3) meters, y up.
        fps: frames per second in the file.
    """
    falls = flights(joints, fps)
    return fps / 2 if falls and 3.0 < np.median(falls) / GRAVITY < 5.5 else fps


def flights(joints: np.ndarray, fps: float) -> list[float]:
    """Downward acceleration, m/s², of the center of mass in every ballistic section without contact."""
    lowest = joints[..., 1].min(1)
    names = (name.removeprefix("left_").removeprefix("right_") for name in SMPL22.joint_names)
    mass = np.array([_MASS[name] for name in names])
    center = joints[..., 1] @ (mass / mass.sum())
    falls = []
    for start, end in runs(lowest > floor_height(joints, fps) + FLIGHT_HEIGHT):
        if end - start < FLIGHT_SECONDS * fps:
            continue
        time = np.arange(end - start) / fps
        arc = np.polynomial.Polynomial.fit(time, center[start:end], 2).convert().coef
        off = np.abs(np.polynomial.Polynomial(arc)(time) - center[start:end]).max()
        height = -arc[2] * (time[-1] / 2) ** 2
        if height > 0.05 and off < 0.1 * height:
            falls.append(float(-2 * arc[2]))
    return falls


def floor_height(joints: np.ndarray, fps: float) -> float:
    """Height of the floor: that of the lowest standing feet, in the units of the joints.

    A low quantile over the frames in which an ankle or foot joint is nearly still, so that a foot that sinks at a
    landing does not count, and stairs, stools and jumps keep their height. Without standing, the lowest foot joint.

    Args:
        joints: (T, 22, 3) meters, y up.
        fps: frames per second.
    """
    feet = joints[:, _FEET]
    if len(feet) < 2:
        return float(feet[..., 1].min())
    speed = np.linalg.norm(np.diff(feet, axis=0), axis=-1) * fps
    speed = np.concatenate([speed[:1], speed])
    low = np.where(speed < STANDING_SPEED, feet[..., 1], np.inf).min(1)
    low = np.sort(low[np.isfinite(low)])
    if len(low) < STANDING_SECONDS * fps:
        return float(feet[..., 1].min())
    return float(low[int(FLOOR_QUANTILE * len(low))])
