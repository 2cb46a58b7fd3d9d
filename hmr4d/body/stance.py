"""Height and vertical axis of a body from joints of any skeleton; NumPy only, for worker processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton
from hmr4d.utils.remarks import Remark

USUAL_HEIGHT = 1.5  # meters from the head joint to an ankle joint along the bones of an adult
USUAL_REACH = 1.35  # meters from the hips to a wrist along the bones of an adult
DOUBTED_HEIGHTS = (0.95, 2.1)  # meters; few people are shorter or taller, measured like USUAL_HEIGHT
REFUSED_HEIGHTS = (0.65, 2.7)  # meters; heights outside are refused
FASTEST = 12.0  # meters a second of the root; sprinters reach 12.4
LONGEST_STEP, FASTEST_STEP = 0.5, 15.0  # meters, m/s of the body between two frames; 5 m/s in clips of CMU
FARTHEST = 1000.0  # meters from the origin; studios and fields are smaller
STILL = 1e-6  # meters of the joints; recorded people never stand that still
ALONG = 0.9  # cosine of 26 degrees, from feet to head
BACKWARD = 0.02  # meters by which toes are behind ankles
NEARLY_ALL = 0.95  # share of frames
_FRAMES_TO_MEASURE = 512  # number of evenly spaced frames of a longer motion
_STEPS_TO_TELL = 10  # frames; a speed over fewer is not reliable
_NO_HEAD = ("end", "top", "nub", "tip", "site", "eye", "band", "fore")
_NO_FOOT = ("toe", "ik", "end", "nub", "tip", "site", "roll", "ctrl", "root", "effector", "ball")


class BodyPoints(NamedTuple):
    """Head and feet of a skeleton.

    Attributes:
        parents: parent index per joint, -1 for a root.
        head: joint, or None if no name identifies it.
        feet: ankles or feet; may be empty.
    """

    parents: Sequence[int]
    head: int | None
    feet: tuple[int, ...]


def points_of_skeleton(skeleton: Skeleton) -> BodyPoints:
    """Head and feet of a known skeleton."""
    head = next((skeleton.index(name) for name in ("head", "nose") if name in skeleton.joint_names), None)
    ankles = tuple(skeleton.index(name) for name in ("left_ankle", "right_ankle") if name in skeleton.joint_names)
    return BodyPoints(skeleton.parents, head, ankles)


def points_by_name(joint_names: Sequence[str], parents: Sequence[int]) -> BodyPoints:
    """Head and feet of a file's own skeleton, by what people call them."""
    names = [name.rpartition(":")[2].lower() for name in joint_names]
    heads = [i for i, n in enumerate(names) if ("head" in n or "頭" in n) and not any(w in n for w in _NO_HEAD)]
    feet = [
        i
        for i, n in enumerate(names)
        if ("ankle" in n or "foot" in n or "足首" in n) and not any(word in n for word in _NO_FOOT)
    ]
    exact = [i for i in heads if names[i] == "head"]
    return BodyPoints(parents, next(iter(exact or heads), None), tuple(feet[:2]))


def body_height(joints3d: NDArray[np.floating], points: BodyPoints) -> float:
    """Length from the head to the feet along the bones, the median over frames; 0 if it cannot be measured.

    Bones without length do not matter. Without known names, the longest path along the bones below the first joint with
    two children is used, which ends at a wrist in adults.

    Args:
        joints3d: (L, J, 3) in any unit.
        points: head, feet and tree.
    """
    frames = joints3d[:: -(-len(joints3d) // _FRAMES_TO_MEASURE)]
    parents = np.asarray(points.parents)
    bones = np.linalg.norm(frames - np.where((parents < 0)[:, None], frames, frames[:, parents]), axis=-1)  # (L, J)
    lengths = np.median(bones, axis=0)
    if points.head is not None and points.feet:
        return float(np.mean([_way(parents, points.head, foot, lengths) for foot in points.feet]))
    children = np.bincount(parents[parents >= 0], minlength=len(parents))
    is_body, reach = np.zeros(len(parents), dtype=bool), np.zeros(len(parents))
    for joint, parent in enumerate(parents):
        if parent >= 0 and (is_body[parent] or children[parent] > 1):
            is_body[joint], reach[joint] = True, reach[parent] + lengths[joint]
    return float(reach.max()) * USUAL_HEIGHT / USUAL_REACH


def _way(parents: NDArray[np.integer], start: int, end: int, lengths: NDArray[np.floating]) -> float:
    """Length of the path between two joints along the bones."""
    ways: list[list[int]] = []
    for joint in (start, end):
        way = [joint]
        while parents[way[-1]] >= 0:
            way.append(int(parents[way[-1]]))
        ways.append(way)
    return float(lengths[list(set(ways[0]) ^ set(ways[1]))].sum())


def standing_axis(joints3d: NDArray[np.floating], points: BodyPoints, *, share: float = NEARLY_ALL) -> str | None:
    """ "y", "-z" and so on: the axis along which the body stands or lies nearly all the time, or None.

    Args:
        joints3d: (L, J, 3).
        points: head and feet.
        share: required fraction of agreeing frames.
    """
    if points.head is None or not points.feet:
        return None
    upright = joints3d[:, points.head] - joints3d[:, list(points.feet)].mean(1)
    along = upright / np.maximum(np.linalg.norm(upright, axis=-1, keepdims=True), 1e-9)
    for axis, name in enumerate("xyz"):
        for sign, word in ((1, name), (-1, f"-{name}")):
            if np.mean(sign * along[:, axis] > ALONG) >= share:
                return word
    return None


def height_fault(height: float) -> str | None:
    """ "refused" for an impossible height in meters, "doubted" for a rare one, None for others."""
    if not REFUSED_HEIGHTS[0] <= height <= REFUSED_HEIGHTS[1]:
        return "refused"
    return None if DOUBTED_HEIGHTS[0] <= height <= DOUBTED_HEIGHTS[1] else "doubted"


def motion_doubts(joints3d: NDArray[np.floating], points: BodyPoints, fps: float) -> list[Remark]:
    """Warnings about size, speed and position of a motion; the caller adds the advice.

    Args:
        joints3d: (L, J, 3) meters.
        points: head, feet and tree.
        fps: frames per second.
    """
    doubts: list[Remark] = []
    height = body_height(joints3d, points)
    if height and height_fault(height):
        words = f"the body is {height:.2g} m tall from head to feet; the usual height is {USUAL_HEIGHT} m."
        doubts.append(Remark("size", words))
    speeds = np.linalg.norm(np.diff(joints3d.mean(1), axis=0), axis=-1) * fps
    if len(speeds) >= _STEPS_TO_TELL and float(np.median(speeds)) > FASTEST * max(height / USUAL_HEIGHT, 1.0):
        words = f"the body moves at {np.median(speeds):.0f} m/s at {fps:g} frames per second; check the rate."
        doubts.append(Remark("speed", words))
    if (far := float(np.abs(joints3d).max())) > FARTHEST:
        frame = int(np.abs(joints3d).max((1, 2)).argmax())
        words = f"a joint is {far:.3g} m away from the origin in frame {frame}; is a number of the file damaged?"
        doubts.append(Remark("place", words))
    steps = speeds / fps
    least = max(LONGEST_STEP, FASTEST_STEP / fps)
    if not {doubt.kind for doubt in doubts} & {"speed", "place"} and float(steps.max(initial=0.0)) > least:
        frame = int(steps.argmax())
        words = f"the body jumps by {steps.max():.2g} m from frame {frame} to frame {frame + 1}; cut it there."
        doubts.append(Remark("jump", words))
    if len(joints3d) >= _STEPS_TO_TELL and float(np.abs(joints3d - joints3d[0]).max()) < STILL:
        doubts.append(Remark("still", f"nothing moves in {len(joints3d)} frames; is the motion missing?"))
    return doubts


def share_of_backward_toes(joints3d: NDArray[np.floating], skeleton: Skeleton) -> float:
    """Fraction of frames in which the feet point opposite to the hips, which indicates exchanged sides.

    Args:
        joints3d: (T, J, 3) meters, y up.
        skeleton: with hips, ankles and feet of these names; NaN for others.
    """
    sides = [[f"{side}_{name}" for side in ("left", "right")] for name in ("hip", "ankle", "foot")]
    if not {name for pair in sides for name in pair} <= set(skeleton.joint_names):
        return math.nan
    hips, ankles, feet = (joints3d[:, list(skeleton.indices(*pair))] for pair in sides)
    facing = np.cross(hips[:, 0] - hips[:, 1], (0.0, 1.0, 0.0))
    facing /= np.maximum(np.linalg.norm(facing, axis=-1, keepdims=True), 1e-9)
    ahead = ((feet - ankles).mean(1) * facing).sum(-1)  # (T,) meters
    return float((ahead < -BACKWARD).mean())
