"""Skeletons as trees with twins."""

from __future__ import annotations

import dataclasses

import pytest

from hmr4d.body.skeleton import SKELETONS, SMPL22, Skeleton, get_skeleton


@pytest.fixture(params=sorted(SKELETONS))
def skeleton(request: pytest.FixtureRequest) -> Skeleton:
    return SKELETONS[request.param]


def test_parents_come_first(skeleton: Skeleton) -> None:
    assert skeleton.num_joints == len(skeleton.parents) == len(set(skeleton.joint_names))
    assert skeleton.parents[0] == -1
    assert all(0 <= parent < child for child, parent in enumerate(skeleton.parents) if child)


def test_every_joint_but_the_root_ends_a_bone(skeleton: Skeleton) -> None:
    assert [child for _, child in skeleton.bones] == list(range(1, skeleton.num_joints))
    assert all(skeleton.parents[child] == parent for parent, child in skeleton.bones)


def test_twins_are_twins_of_each_other(skeleton: Skeleton) -> None:
    order = skeleton.mirror_order
    assert [order[i] for i in order] == list(range(skeleton.num_joints))
    for name, twin in zip(skeleton.joint_names, order, strict=True):
        swapped = name.replace("left", "L").replace("right", "left").replace("L", "right")
        assert skeleton.joint_names[twin] == swapped


def test_the_tree_is_symmetric(skeleton: Skeleton) -> None:
    order = skeleton.mirror_order
    for child, parent in enumerate(skeleton.parents[1:], start=1):
        assert skeleton.parents[order[child]] == order[parent]


def test_chains_follow_bones_and_reach_every_joint(skeleton: Skeleton) -> None:
    for _, chain in skeleton.chains:
        assert all(skeleton.parents[b] == a for a, b in zip(chain, chain[1:], strict=False))
    assert {joint for _, chain in skeleton.chains for joint in chain} == set(range(skeleton.num_joints))


def test_smpl22_order() -> None:
    """The published order, on which every file of the method relies."""
    assert SMPL22.indices("pelvis", "left_hip", "right_hip", "left_foot", "right_foot") == (0, 1, 2, 10, 11)
    assert SMPL22.indices("left_shoulder", "right_shoulder", "left_wrist", "right_wrist") == (16, 17, 20, 21)
    assert SMPL22.chain("spine") == (0, 3, 6, 9, 12, 15)


@pytest.mark.parametrize(
    ("name", "roots", "grounded"),
    [
        ("smpl22", ["pelvis"], {7, 8, 10, 11}),
        ("smpl24", ["pelvis"], {7, 8, 10, 11}),
        ("coco17", ["left_hip", "right_hip"], {15, 16}),
        ("h36m17", ["pelvis"], {3, 6}),
        ("openpose18", ["left_hip", "right_hip"], {10, 13}),
        ("openpose25", ["pelvis"], {11, 14, *range(19, 25)}),
        ("halpe26", ["pelvis"], {15, 16, *range(20, 26)}),
        ("body25b", ["left_hip", "right_hip"], {15, 16, *range(19, 25)}),
        ("wholebody23", ["left_hip", "right_hip"], {15, 16, *range(17, 23)}),
        ("mediapipe33", ["left_hip", "right_hip"], {27, 28, 29, 30, 31, 32}),
    ],
)
def test_roots_and_joints_on_the_ground(name: str, roots: list[str], grounded: set[int]) -> None:
    skeleton = get_skeleton(name)
    assert skeleton.root_joints == skeleton.indices(*roots)
    assert set(skeleton.contact_joints) == grounded


def test_drawn_limbs_join_the_whole_body_symmetrically(skeleton: Skeleton) -> None:
    order = skeleton.mirror_order
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset(order[i] for i in limb) for limb in limbs} == limbs
    assert {i for limb in limbs for i in limb} == set(range(skeleton.num_joints))


def test_orders_of_detectors() -> None:
    """The published orders, which files of keypoints rely on."""
    assert [get_skeleton("openpose25").joint_names[i] for i in (0, 1, 4, 8, 11, 18, 19, 24)] == [
        "nose",
        "neck",
        "right_wrist",
        "pelvis",
        "right_ankle",
        "left_ear",
        "left_big_toe",
        "right_heel",
    ]
    assert get_skeleton("openpose18").indices("right_hip", "left_hip", "right_eye", "left_ear") == (8, 11, 14, 17)
    assert get_skeleton("halpe26").indices("head", "neck", "pelvis", "left_big_toe", "right_heel") == (
        17,
        18,
        19,
        20,
        25,
    )
    assert get_skeleton("h36m17").indices("right_hip", "left_hip", "thorax", "left_wrist") == (1, 4, 8, 13)
    assert get_skeleton("body25b").indices("right_ankle", "neck", "head", "left_heel", "right_big_toe") == (
        16,
        17,
        18,
        21,
        22,
    )
    assert get_skeleton("wholebody23").indices("left_big_toe", "left_heel", "right_small_toe") == (17, 19, 21)
    assert get_skeleton("mediapipe33").indices("nose", "left_shoulder", "right_wrist", "left_hip", "right_ankle") == (
        0,
        11,
        16,
        23,
        28,
    )
    assert get_skeleton("coco17").indices("left_shoulder", "left_hip", "right_ankle") == (5, 11, 16)


def test_unknown_names_say_what_is_known(skeleton: Skeleton) -> None:
    with pytest.raises(KeyError, match="no joint 'tail'"):
        skeleton.index("tail")
    with pytest.raises(ValueError, match=r"Unknown skeleton 'dog'.*smpl22"):
        get_skeleton("dog")
    assert get_skeleton(skeleton.name) is skeleton


def test_skeletons_do_not_change(skeleton: Skeleton) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        skeleton.name = "other"  # type: ignore[misc]
