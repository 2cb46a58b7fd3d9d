"""Joint names and orders: identifies the joint set of a file independent of order and spelling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hmr4d.body.skeleton import (
    BODY25B,
    COCO17,
    H36M17,
    HALPE26,
    MEDIAPIPE33,
    OPENPOSE18,
    OPENPOSE25,
    SMPL22,
    SMPL24,
    WHOLEBODY23,
    Skeleton,
)


@dataclass(frozen=True)
class JointOrder:
    """An order in which files list the joints of a skeleton.

    Attributes:
        name: for messages.
        skeleton: skeleton of the converted points. joint_names: names of the used points, the first ones of the file,
            in its order. needs_proof: this order is only used if the geometry confirms it.
    """

    name: str
    skeleton: Skeleton
    joint_names: tuple[str, ...]
    needs_proof: bool = False

    @property
    def order(self) -> list[int]:
        """Index in the file of every joint of the skeleton."""
        return [self.joint_names.index(name) for name in self.skeleton.joint_names]


def _own(skeleton: Skeleton) -> JointOrder:
    return JointOrder(skeleton.name, skeleton, skeleton.joint_names)


# Wrappers of ViTPose list OpenPose's 25 joints from the head down; MPI-INF-3DHP has those of H36M.
_VITPOSE25 = (
    *COCO17.joint_names[:5], "neck", *COCO17.joint_names[5:13], "pelvis", *COCO17.joint_names[13:], "left_big_toe",
    "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
_MPI_INF_17 = (
    "head", "thorax", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "nose",
)  # fmt: skip
# By the number of points of an entry, the usual order first.
ORDERS: dict[int, tuple[JointOrder, ...]] = {
    17: (_own(COCO17), _own(H36M17), JointOrder("MPI-INF-3DHP's 17", H36M17, _MPI_INF_17, True)),
    18: (_own(OPENPOSE18), JointOrder("COCO's 17 and the neck", OPENPOSE18, (*COCO17.joint_names, "neck"), True)),
    22: (_own(SMPL22),),
    23: (_own(WHOLEBODY23),),
    24: (_own(SMPL24),),
    25: (_own(OPENPOSE25), _own(BODY25B), JointOrder("ViTPose's 25", OPENPOSE25, _VITPOSE25, True)),
    26: (_own(HALPE26),),
    33: (_own(MEDIAPIPE33),),
    133: (_own(WHOLEBODY23),),
    136: (_own(HALPE26),),
}
_UNREAD = {
    14: "LSP's or CrowdPose's joints",
    15: "OpenPose's MPI model",
    16: "MPII's joints",
    21: "the joints of one hand",
    68: "landmarks of a face",
    478: "landmarks of a face",
}


def unknown_count(count: int) -> str:
    """Message about entries with an unknown number of joints."""
    known = ", ".join(
        f"{number} ({' or '.join(dict.fromkeys(o.skeleton.name for o in orders))})" for number, orders in ORDERS.items()
    )
    maybe = f" They may be {_UNREAD[count]}; export another set." if count in _UNREAD else ""
    return f"entries have {count} joints; known are {known}.{maybe}"


# Apple Vision's names, which differ from all others: the hand is the wrist, the foot the ankle.
_APPLE = {
    "head_joint": "nose", "neck_1_joint": "neck", "root": "pelvis",
    **{f"{side}_{theirs}_joint": f"{side}_{ours}" for side in ("left", "right") for theirs, ours in (
        ("eye", "eye"), ("ear", "ear"), ("shoulder_1", "shoulder"), ("forearm", "elbow"), ("hand", "wrist"),
        ("upleg", "hip"), ("up_leg", "hip"), ("leg", "knee"), ("foot", "ankle"))},
}  # fmt: skip
# DeepLabCut's model of people: the side 1 is the right one.
_NUMBERED = re.compile(r"(ankle|knee|hip|wrist|elbow|shoulder)_?([12])")
_WHOLE = {
    "hip": "pelvis", "mid_hip": "pelvis", "midhip": "pelvis", "hips": "pelvis", "root": "pelvis", "c_hip": "pelvis",
    "hip_center": "pelvis", "upper_neck": "neck", "head_top": "head", "top_head": "head", "headtop": "head",
    "mid_shoulder": "neck", "mouth_left": "left_mouth", "mouth_right": "right_mouth",
}  # fmt: skip
_PARTS = {
    "toe": "big_toe",
    "bigtoe": "big_toe",
    "smalltoe": "small_toe",
    "pinky_finger": "pinky",
    "index_finger": "index",
    "footindex": "foot_index",
    "eyeinner": "eye_inner",
    "eyeouter": "eye_outer",
}
_KNOWN = frozenset(n for orders in ORDERS.values() for o in orders for n in o.skeleton.joint_names)


def joint_name(name: str) -> str:
    """A joint name in the terms of `Skeleton`: `LShoulder`, `leftShoulder` and `shoulder.L` are `left_shoulder`.

    Unknown names are returned in lower case with underscores.
    """
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    word = re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_")
    if word in _APPLE and word != "root":
        return _APPLE[word]
    if found := _NUMBERED.fullmatch(word):
        return f"{'right' if found[2] == '1' else 'left'}_{found[1]}"
    if word in _WHOLE:
        return _WHOLE[word]
    for pattern, side_first in (
        (r"(left|right|l|r)_(.+)", True),
        (r"(left|right)(.+)", True),
        (r"([lr])(shoulder|elbow|wrist|hip|knee|ankle|eye|ear|big_?toe|small_?toe|heel)", True),
        (r"(.+)_(left|right|l|r)", False),
    ):
        if found := re.fullmatch(pattern, word):
            side, part = (found[1], found[2]) if side_first else (found[2], found[1])
            candidate = f"{'left' if side[0] == 'l' else 'right'}_{_PARTS.get(part, part)}"
            if candidate in _KNOWN:
                return candidate
    return word


def joint_names(value: object) -> tuple[str, ...] | None:
    """Names of joints from a list or {number: name}, in the terms of `Skeleton`; None for anything else."""
    if isinstance(value, dict):
        numbers = [str(number) for number in range(len(value))]
        by_number = {str(number): name for number, name in value.items()}
        value = [by_number[n] for n in numbers] if by_number.keys() == set(numbers) else None
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        return None
    return tuple(joint_name(name) for name in value)


def is_apple(names: Sequence[str]) -> bool:
    """Whether names of joints are those that Apple Vision writes: `left_upLeg_joint`, or its 19 in Swift's spelling."""
    if any(re.fullmatch(r"(left|right)_(up_?leg|forearm|shoulder_1)_joint", name, re.IGNORECASE) for name in names):
        return True
    return "root" in names and any(name in names for name in ("leftAnkle", "leftShoulder", "rightHip", "rightKnee"))


def smallest_set(names: Sequence[str]) -> JointOrder | None:
    """The smallest joint set with most of the named joints; None if shoulders and hips are not named.

    `joint_names` of the order are the given names, without unnamed joints of the set.
    """
    given = set(names)
    if len(given & {"left_shoulder", "right_shoulder", "left_hip", "right_hip"}) < 4:
        return None
    sets = {o.skeleton.name: o.skeleton for orders in ORDERS.values() for o in orders}.values()
    best = min(sets, key=lambda s: (-len(given & set(s.joint_names)), s.num_joints))
    return JointOrder(best.name, best, tuple(names))
