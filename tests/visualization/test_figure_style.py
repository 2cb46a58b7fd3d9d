"""Figures of every skeleton: limbs people draw, sides by name, a head ball where there is a head to carry it."""

from __future__ import annotations

import pytest

from hmr4d.body.skeleton import COCO17, SKELETONS, SMPL22, SMPL24
from hmr4d.visualization.figure_style import figure_style


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_sides_are_those_of_the_names(name: str) -> None:
    skeleton = SKELETONS[name]
    style = figure_style(skeleton)
    assert style.bones == skeleton.limbs
    for joint, side in zip(skeleton.joint_names, style.joint_sides, strict=True):
        assert joint.startswith(side) or (side == "center" and not joint.startswith(("left", "right")))
    for (a, b), side in zip(style.bones, style.bone_sides, strict=True):
        ends = {style.joint_sides[a], style.joint_sides[b]} - {"center"}
        assert side == (ends.pop() if len(ends) == 1 else "center")


def test_a_bone_across_the_body_is_central() -> None:
    style = figure_style(COCO17)
    hips = COCO17.indices("left_hip", "right_hip")
    assert style.bone_sides[style.bones.index(hips)] == "center"


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_only_head_joints_at_the_base_of_the_skull_have_a_head_ball(name: str) -> None:
    skeleton = SKELETONS[name]
    expected = skeleton.indices("neck", "head") if skeleton in (SMPL22, SMPL24) else None
    assert figure_style(skeleton).head == expected
