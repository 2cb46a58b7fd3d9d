"""Where sources put joints: tables, and how they are measured."""

from __future__ import annotations

import pytest
import torch

from hmr4d.body.joint_conventions import (
    METADATA_KEY,
    bone_directions,
    bone_lengths,
    convention_of,
    convention_of_motion,
    joined_convention,
    known_conventions,
    rest_in_convention,
    retargeted_convention,
    standing_directions,
)
from hmr4d.body.loading import load_body
from hmr4d.body.retarget import smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22
from tests.export.motions import HEADINGS, heading

REST = load_body().rest_joints
HEAD, LEFT_FOOT, RIGHT_FOOT = SMPL22.indices("head", "left_foot", "right_foot")


@pytest.mark.parametrize("name", known_conventions())
def test_bones_take_the_direction_and_keep_their_length(name: str) -> None:
    rest, directions = rest_in_convention(REST, name), bone_directions(name)
    assert directions
    for parent, joint in SMPL22.bones:
        bone, own = rest[joint] - rest[parent], REST[joint] - REST[parent]
        torch.testing.assert_close(bone.norm(), own.norm())
        if joint in directions:
            torch.testing.assert_close(bone / bone.norm(), directions[joint].float())
            twin = SMPL22.mirror_order[joint]
            mirrored = directions[twin] * torch.tensor([1.0 if twin == joint else -1.0, 1.0, 1.0])
            torch.testing.assert_close(mirrored, directions[joint])
        else:
            torch.testing.assert_close(bone, own)


def test_none_is_the_convention_of_the_body() -> None:
    assert convention_of(None) is convention_of({"seed": 1}) is None
    assert not bone_directions(None) and torch.equal(rest_in_convention(REST, None), REST)
    with pytest.raises(ValueError, match="'mars'; known: bandai_namco"):
        convention_of({METADATA_KEY: "mars"})
    with pytest.raises(ValueError, match="known"):
        bone_directions("mars")
    with pytest.raises(ValueError, match="known"):
        convention_of({METADATA_KEY: 3})


@pytest.mark.parametrize("degrees", HEADINGS)
def test_directions_are_measured_whichever_way_somebody_stands(degrees: float) -> None:
    rest = rest_in_convention(REST, "bandai_namco")
    rest = rest - rest[LEFT_FOOT] * torch.tensor([0.0, 1.0, 0.0])
    turn = torch.from_numpy(heading(degrees).as_matrix()).float()
    frames = (rest @ turn.mT).repeat(20, 1, 1)
    frames[12:] += torch.arange(8)[:, None, None] * torch.tensor([0.1, 0.0, 0.0])  # then goes away
    measured = standing_directions(frames, fps=20)
    assert measured is not None
    for joint, direction in bone_directions("bandai_namco").items():
        torch.testing.assert_close(measured[joint], direction.float(), atol=1e-3, rtol=0)
    frames[:12] += torch.arange(12)[:, None, None] * torch.tensor([0.1, 0.0, 0.0])
    assert standing_directions(frames[1:], fps=20) is not None, "its first frame has no speed"
    assert standing_directions(frames + torch.tensor([0.0, 0.5, 0.0]), fps=20) is None


def test_bones_of_a_convention_have_its_lengths_and_others_the_bodys() -> None:
    own = bone_lengths(None, REST)
    parents, children = (list(ends) for ends in zip(*SMPL22.bones, strict=True))
    torch.testing.assert_close(own, (REST[children] - REST[parents]).norm(dim=-1))
    known = bone_lengths("bandai_namco", REST)
    twins = [children.index(SMPL22.mirror_order[child]) for child in children]
    assert torch.equal(known, known[twins]) and (known > 0.04).all()
    hip = children.index(SMPL22.index("left_hip"))
    assert known[hip] < 0.7 * own[hip]  # its hips are nearer to the pelvis


@pytest.mark.parametrize("convention", ["bandai_namco", "cmu+bandai_namco", None])
def test_motion_on_the_mean_bones_has_their_lengths_and_keeps_its_directions(convention: str | None) -> None:
    retargeted = retargeted_convention(convention, "smpl_mean")
    children = [child for _, child in SMPL22.bones]
    mean = torch.from_numpy(smpl_mean_bone_lengths()).to(REST)[children]
    torch.testing.assert_close(bone_lengths(retargeted, REST), mean)
    assert bone_directions(retargeted).keys() == bone_directions(convention).keys()
    assert convention_of({METADATA_KEY: retargeted}) == retargeted
    assert retargeted_convention(convention, "none") == convention
    assert retargeted_convention(retargeted, "smpl_mean") == retargeted


def test_mean_bones_are_no_source_of_standing_feet() -> None:
    joints3d = standing("cmu")
    assert convention_of_motion("bandai_namco+cmu+smpl_mean", joints3d, 20.0) == "cmu"
    assert convention_of_motion("cmu+smpl_mean", joints3d, 20.0) == "cmu"
    assert joined_convention(["cmu+smpl_mean", "bandai_namco"]) == "cmu+bandai_namco+smpl_mean"


def standing(convention: str) -> torch.Tensor:
    """(20, 22, 3) of somebody who stands on the floor, with joints as a source has them."""
    rest = rest_in_convention(REST, convention)
    return (rest - torch.tensor([0.0, 1.0, 0.0]) * rest[:, 1].min()).repeat(20, 1, 1)


@pytest.mark.parametrize("name", known_conventions())
def test_a_motion_of_several_sources_has_the_convention_of_its_standing_feet(name: str) -> None:
    both = joined_convention(known_conventions())
    tiptoe = standing(name)
    tiptoe[:6, SMPL22.indices("left_ankle", "right_ankle"), 1] += 0.2  # a third of the time
    for joints3d in (standing(name), standing(name) + torch.tensor([2.0, 0.7, -1.0]), tiptoe):
        assert convention_of_motion(both, joints3d, 20.0) == name
        assert convention_of_motion("cmu", joints3d, 20.0) == "cmu"
        assert convention_of_motion(None, joints3d, 20.0) is None


def test_a_motion_without_standing_feet_has_the_convention_of_most_motion() -> None:
    slides = standing("cmu") + torch.arange(20)[:, None, None] * torch.tensor([0.1, 0.0, 0.0])
    for joints3d in (slides, standing("cmu")[:1]):
        assert convention_of_motion("bandai_namco+cmu", joints3d, 20.0) == "bandai_namco"
    assert convention_of({METADATA_KEY: "bandai_namco+cmu"}) == "bandai_namco+cmu"
    assert bone_directions("bandai_namco+cmu").keys() == bone_directions("bandai_namco").keys()
    with pytest.raises(ValueError, match="known"):
        convention_of({METADATA_KEY: "bandai_namco+mars"})


def test_sources_without_a_convention_add_no_name() -> None:
    assert joined_convention(["cmu", None, "bandai_namco", "cmu"]) == "cmu+bandai_namco"
    assert joined_convention([None, None]) is None


def test_lengths_are_those_asked_for_and_limbs_follow_their_turned_hips() -> None:
    lengths = bone_lengths("everyday", REST)
    rest = rest_in_convention(REST, "everyday", lengths)
    for (parent, joint), length in zip(SMPL22.bones, lengths, strict=True):
        torch.testing.assert_close((rest[joint] - rest[parent]).norm(), length)
    hip, knee = SMPL22.indices("left_hip", "left_knee")
    shin, own = rest[knee] - rest[hip], REST[knee] - REST[hip]
    torch.testing.assert_close(shin / shin.norm(), own / own.norm())
