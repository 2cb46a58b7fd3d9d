"""How tall a body is, how it stands, and what is odd about size and speed."""

from __future__ import annotations

import numpy as np
import pytest

from hmr4d.body.retarget import smpl_mean_bone_lengths
from hmr4d.body.skeleton import COCO17, SKELETONS, SMPL22
from hmr4d.body.stance import (
    body_height,
    height_fault,
    motion_doubts,
    points_by_name,
    points_of_skeleton,
    standing_axis,
)

POINTS = points_of_skeleton(SMPL22)


def standing(num_frames: int = 5) -> np.ndarray:
    """(L, 22, 3) somebody of mean bones who stands with the arms out, y up, feet near y = 0."""
    ways = {"hip": (0, -1), "knee": (0, -1), "ankle": (0, -1), "foot": (0, -1), "collar": (1, 1)}
    joints, lengths = np.zeros((22, 3)), smpl_mean_bone_lengths()
    for joint, name in enumerate(SMPL22.joint_names[1:], start=1):
        side = -1 if name.startswith("right") else 1 if name.startswith("left") else 0
        x, y = ways.get(name.split("_")[-1], (1, 0) if side else (0, 1))
        way = np.array([side * x, y, 0.0]) / np.hypot(x, y)
        joints[joint] = joints[SMPL22.parents[joint]] + lengths[joint] * way
    return np.repeat(joints[None] - [0, joints[:, 1].min(), 0], num_frames, axis=0)


def test_height_goes_along_the_bones_whatever_the_pose() -> None:
    joints3d = standing()
    height = body_height(joints3d, POINTS)
    assert height == pytest.approx(0.112 + 0.135 + 0.059 + 0.218 + 0.083 + 0.114 + 0.381 + 0.401)
    assert body_height(joints3d @ np.roll(np.eye(3), 1, axis=0), POINTS) == pytest.approx(height)
    assert body_height(0.01 * joints3d, POINTS) == pytest.approx(0.01 * height)


def test_bones_of_no_length_do_not_end_the_height() -> None:
    """CMU's files have LHipJoint, RHipJoint and LowerBack where the hips are."""
    names = ["Hips", "LHipJoint", "LeftUpLeg", "LeftFoot", "LowerBack", "Head", "LeftFoot_IK"]
    parents = [-1, 0, 1, 2, 0, 4, 0]
    pose = np.array([[0, 9, 0], [0, 9, 0], [1, 8, 0], [1, 0, 0], [0, 9, 0], [0, 18, 0], [50, 0, 0]], float)[None]
    points = points_by_name(names, parents)
    assert (points.head, points.feet) == (5, (3,))
    assert body_height(pose, points) == pytest.approx(9 + 8 + np.sqrt(2))
    unnamed = points_by_name(["a", "b", "c", "d", "e", "f"], parents[:6])
    assert not unnamed.feet and body_height(pose[:, :6], unnamed) == pytest.approx((8 + np.sqrt(2)) / 1.35 * 1.5)
    assert body_height(pose[:, :1], points_by_name(["a"], [-1])) == 0


@pytest.mark.parametrize(
    ("names", "head", "feet"),
    [
        (["mixamorig:Hips", "mixamorig:HeadTop_End", "mixamorig:Head", "mixamorig:LeftFoot"], 2, (3,)),
        (["headband", "neck", "head", "foot_l", "foot_r", "l_toe", "ik_foot_root"], 2, (3, 4)),
        (["センター", "頭", "左足首", "右足首"], 1, (2, 3)),
        (["a", "b"], None, ()),
    ],
)
def test_head_and_feet_are_found_by_the_names_people_use(names: list[str], head: int, feet: tuple[int, ...]) -> None:
    points = points_by_name(names, [-1] + [0] * (len(names) - 1))
    assert (points.head, points.feet) == (head, feet)


@pytest.mark.parametrize(("axis", "sign"), [(axis, sign) for axis in range(3) for sign in (-1, 1)])
def test_the_axis_of_the_body_in_nearly_all_frames(axis: int, sign: int) -> None:
    joints3d = sign * np.roll(standing(40), axis - 1, axis=-1)
    assert standing_axis(joints3d, POINTS) == f"{'-' if sign < 0 else ''}{'xyz'[axis]}"
    joints3d[:3] = np.roll(joints3d[:3], 1, axis=-1)
    assert standing_axis(joints3d, POINTS) is None


def test_sizes_and_speeds_of_nobody_are_reported() -> None:
    joints3d = standing(30) + np.arange(30)[:, None, None] * [1e-4, 0.0, 0.0]
    assert motion_doubts(joints3d, POINTS, 30.0) == []
    assert [d.kind for d in motion_doubts(0.38 * joints3d, POINTS, 30.0)] == ["size"]
    running = joints3d + np.arange(30)[:, None, None] * [0.3, 0.0, 0.0]
    assert motion_doubts(running, POINTS, 30.0) == []  # 9 m/s
    (doubt,) = motion_doubts(running, POINTS, 120.0)
    assert doubt.kind == "speed" and "36 m/s at 120 frames per second" in doubt.words
    assert [height_fault(h) for h in (0.014, 0.57, 0.8, 1.0, 1.7, 2.4, 14)] == [
        "refused",
        "refused",
        "doubted",
        None,
        None,
        "doubted",
        "refused",
    ]


def test_jumps_of_the_body_and_motion_that_stands_still_are_reported() -> None:
    joints3d = standing(30) + np.arange(30)[:, None, None] * [0.1, 0.0, 0.0]
    assert motion_doubts(joints3d, POINTS, 20.0) == []
    joints3d[12:, :, 2] += 2.0
    (doubt,) = motion_doubts(joints3d, POINTS, 20.0)
    assert doubt.kind == "jump" and "by 2 m from frame 11 to frame 12" in doubt.words
    (doubt,) = motion_doubts(np.repeat(joints3d[:1], 30, axis=0), POINTS, 20.0)
    assert doubt.kind == "still" and "nothing moves in 30 frames" in doubt.words


def test_a_joint_far_outside_any_studio_is_reported_with_its_frame() -> None:
    joints3d = standing(4)
    joints3d[2, 20, 0] = 5e4
    (doubt,) = motion_doubts(joints3d, POINTS, 30.0)
    assert doubt.kind == "place" and "5e+04 m away from the origin in frame 2" in doubt.words


def test_every_skeleton_has_a_head_and_feet() -> None:
    points = [points_of_skeleton(skeleton) for skeleton in SKELETONS.values()]
    assert all(one.head is not None and one.feet for one in points)
    assert points_of_skeleton(COCO17).head == 0
