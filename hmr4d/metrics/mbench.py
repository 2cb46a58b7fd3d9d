"""The joint metrics of the MBench motion benchmark, as published and in SI units.

All functions take the joints of one motion (L, J, 3) in meters whose joint 0 is the pelvis and whose joints 10 and 11
are the left and right toe base, as in SMPL, SMPL-H and SMPL-X. Published values are in meters per frame, so they depend
on the frame rate; `joint_metrics` also returns the values per second.

The published tables measured height along axis 2 of motions whose axis 1 pointed up. `height_axis` selects the axis:
"y" or "z" if the up axis of the motion is known, "legacy" (always axis 2) to reproduce those tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEET = (10, 11)  # left and right toe base
HEIGHT_AXES = {"y": 1, "z": 2, "legacy": 2}
MODEL_FPS = 20.0  # frames per second for which the published thresholds are meant

CONTACT_SPEED = 0.01  # m/frame below which a foot counts as standing
CONTACT_HEIGHT = 0.02  # m below which a foot counts as standing
PENETRATION = -0.005  # m below which a foot counts as under the floor
STILL_ROOT = 0.001  # m/frame below which the root counts as still
STILL_FOOT = 1.2e-4  # m/frame up to which a foot in contact is at rest, independent of the root
STEP_RATIO = (0.6, 1.75)  # of foot speed relative to the root over root speed: how a planted foot moves
DRIFT_RATIO = 0.4  # of the same below which a foot in the air drifts along with the root
SHORTEST_FLIGHT = 4  # frames
SWINGS = 2  # reversals of the angle in the air above which the foot wobbles
_TINY = 1e-6


@dataclass(frozen=True)
class Metric:
    """A metric of one motion.

    Attributes:
        value: as published, in units of meters and frames.
        si: the same in `unit`; the published value if it does not depend on time. unit: unit of `si`.
    """

    value: float
    si: float
    unit: str


def jitter_degree(joints3d: ArrayLike) -> float:
    """m/frame^2: mean norm of the second difference of the joints, plus that of the joints relative to the pelvis.

    NaN for fewer than three frames.
    """
    return _mean_change(_checked(joints3d), order=2)


def dynamic_degree(joints3d: ArrayLike) -> float:
    """m/frame: the same of first differences. NaN for a single frame."""
    return _mean_change(_checked(joints3d), order=1)


def foot_contact(joints3d: ArrayLike, height_axis: str = "y") -> Bools:
    """(L, 2): whether the left and right foot stand: slower than 1 cm per frame, or lower than 2 cm."""
    feet = _checked(joints3d)[:, FEET]
    return (_speed(feet) < CONTACT_SPEED) | (feet[..., axis_index(height_axis)] < CONTACT_HEIGHT)


def ground_penetration(joints3d: ArrayLike, height_axis: str = "y") -> float:
    """m: mean depth of the feet over the samples (frame, foot) that are more than 5 mm under the floor; 0 if none."""
    heights = _checked(joints3d)[:, FEET, axis_index(height_axis)]
    under = heights[heights < PENETRATION]
    return float(np.abs(under).mean()) if len(under) else 0.0


def foot_sliding(joints3d: ArrayLike, height_axis: str = "y") -> float:
    """m/frame: mean horizontal speed of each foot while it stands, averaged over both feet."""
    joints = _checked(joints3d)
    contact = foot_contact(joints, height_axis)
    ground = [axis for axis in range(3) if axis != axis_index(height_axis)]
    speed = _speed(joints[:, FEET][..., ground])
    return float(((speed * contact).sum(0) / (contact.sum(0) + _TINY)).mean())


def foot_floating(joints3d: ArrayLike, height_axis: str = "y") -> float:
    """Frames in which feet move as no standing or stepping foot does, per frame of the motion; may exceed 1.

    (F + S / 2 + M) / L of frames F in which a standing foot does not move against the root as a planted one, of frames
    S in which a foot in the air drifts along with the root, and of frames M in which it wobbles.
    """
    joints = _checked(joints3d)
    feet = joints[:, FEET]
    contact = foot_contact(joints, height_axis)
    root_speed = _speed(joints[:, 0])
    ratio = _speed(feet - joints[:, :1]) / (root_speed + _TINY)[:, None]  # (L, 2)
    unplanted = _unplanted(contact, _speed(feet), ratio) & (root_speed >= STILL_ROOT)
    flights = [_runs(~contact[:, foot]) for foot in range(2)]
    drifting = sum(_drifting(flights[foot], ratio[:, foot], root_speed) for foot in range(2))
    wobbling = _wobbling(flights[0], flights[1], feet[:, 0])
    return float((unplanted.sum() + drifting / 2 + wobbling) / len(joints))


def joint_metrics(joints3d: ArrayLike, fps: float, height_axis: str = "y") -> dict[str, Metric]:
    """All joint metrics of a motion under their published names.

    Args:
        joints3d: (L, J, 3) meters.
        fps: frames per second of the motion.
        height_axis: a key of HEIGHT_AXES.

    Raises:
        ValueError: another shape, joints that are not finite (names the frame), a bad rate or an unknown axis.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps} but must be a positive number of frames per second.")
    joints = _checked(joints3d)
    jitter, dynamic = jitter_degree(joints), dynamic_degree(joints)
    sliding, depth = foot_sliding(joints, height_axis), ground_penetration(joints, height_axis)
    floating = foot_floating(joints, height_axis)
    return {
        "Jitter_Degree": Metric(jitter, jitter * fps**2, "m/s^2"),
        "Ground_Penetration": Metric(depth, depth, "m"),
        "Foot_Floating": Metric(floating, floating, "share of frames"),
        "Foot_Sliding": Metric(sliding, sliding * fps, "m/s"),
        "Dynamic_Degree": Metric(dynamic, dynamic * fps, "m/s"),
    }


def aggregate(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, population standard deviation and number of the values of a set; None for both where it is empty.

    A motion without the metric (NaN) is excluded.
    """
    known = np.array([value for value in values if not math.isnan(value)], np.float64)
    if not len(known):
        return {"mean": None, "std": None, "num_samples": 0}
    return {"mean": float(known.mean()), "std": float(known.std()), "num_samples": len(known)}


def aggregate_metrics(motions: Sequence[Mapping[str, Metric]]) -> dict[str, dict[str, object]]:
    """Per metric name the aggregate of the published values, and under "si" that of the values in SI units."""
    names = list(dict.fromkeys(name for motion in motions for name in motion))
    table: dict[str, dict[str, object]] = {}
    for name in names:
        found = [motion[name] for motion in motions if name in motion]
        si: dict[str, object] = {**aggregate([metric.si for metric in found]), "unit": found[0].unit}
        table[name] = {**aggregate([metric.value for metric in found]), "si": si}
    return table


def axis_index(height_axis: str) -> int:
    """Number of the axis that counts as height.

    Raises:
        ValueError: an unknown name.
    """
    if height_axis not in HEIGHT_AXES:
        raise ValueError(f"height_axis is '{height_axis}'; known: {', '.join(HEIGHT_AXES)}.")
    return HEIGHT_AXES[height_axis]


def _checked(joints3d: ArrayLike) -> Floats:
    joints = np.asarray(joints3d)
    if joints.ndim != 3 or joints.shape[-1] != 3 or joints.shape[1] <= max(FEET) or not len(joints):
        raise ValueError(
            f"joints3d has shape {joints.shape}; expected (L, 22, 3) in meters, at least one frame and the joints up "
            f"to {max(FEET)}."
        )
    bad = ~np.isfinite(joints).all((1, 2))
    if bad.any():
        raise ValueError(f"joints3d contains NaN or infinity in frame {int(bad.argmax())}; repair or drop that frame.")
    return joints.astype(np.float64)


def _mean_change(joints: Floats, order: int) -> float:
    if len(joints) <= order:
        return math.nan
    local = joints - joints[:, :1]
    return float(sum(np.linalg.norm(np.diff(x, order, axis=0), axis=-1).mean() for x in (joints, local)))


def _speed(points: Floats) -> Floats:
    """(L, ...) length of the step to the next frame of points (L, ..., C); the last step counts twice."""
    if len(points) < 2:
        return np.zeros(points.shape[:-1])
    steps = np.diff(points, axis=0)
    return np.linalg.norm(np.concatenate([steps, steps[-1:]]), axis=-1)


def _unplanted(contact: Bools, speed: Floats, ratio: Floats) -> Bools:
    """(L,) frames in which the standing foot, or both of two standing feet, do not move as planted ones."""
    fails = (speed > STILL_FOOT) & ((ratio < STEP_RATIO[0]) | (ratio > STEP_RATIO[1]))
    return np.logical_and(contact.any(1), (fails | ~contact).all(1))


def _drifting(flights: list[tuple[int, int]], ratio: Floats, root_speed: Floats) -> int:
    """Frames of longer flights in which the foot moves with the root."""
    count = 0
    for start, end in flights:
        if end - start >= SHORTEST_FLIGHT and (root_speed[start:end] < STILL_ROOT).sum() <= (end - start) / 2:
            count += int((ratio[start:end] < DRIFT_RATIO).sum())
    return count


def _wobbling(left: list[tuple[int, int]], right: list[tuple[int, int]], foot: Floats) -> int:
    """Frames of common flights in which the path of the left foot oscillates; the right one is not evaluated."""
    count = 0
    for left_start, left_end in left:
        for right_start, right_end in right:
            start, last = max(left_start, right_start), min(left_end, right_end) - 1
            if last - start + 1 >= SHORTEST_FLIGHT and _num_peaks(_angles(foot[start : last + 1])) > SWINGS:
                count += last - start + 1
    return count


def _angles(path: Floats) -> Floats:
    """(K - 1,) degrees between the vectors from the first point of a path (K, 3) to each point and to the last one."""
    ways = path[1:] - path[0]
    ways = ways / (np.linalg.norm(ways, axis=-1, keepdims=True) + _TINY)
    return np.degrees(np.arccos(np.clip(ways @ ways[-1], -1.0, 1.0)))


def _num_peaks(values: Floats) -> int:
    """Strict local maxima, plateaus once, without the ends."""
    distinct = values[np.insert(np.diff(values) != 0, 0, True)]
    inner = distinct[1:-1]
    return int(((inner > distinct[:-2]) & (inner > distinct[2:])).sum())


def _runs(mask: Bools) -> list[tuple[int, int]]:
    """First frame and frame behind the last one of every unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
