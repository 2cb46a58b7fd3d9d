"""Rotations that follow a motion: relative to how its source rests, on constant bones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmr4d.body.joint_conventions import bone_directions, rest_in_convention
from hmr4d.body.kinematics import posed_joints
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.rigid_motion import follow_joints
from tests.export.motions import HEADINGS, heading, rigid_motion

REST = load_body().rest_joints
NAME = "bandai_namco"


@pytest.mark.parametrize("degrees", HEADINGS)
def test_somebody_who_stands_in_the_source_stands_at_rest(degrees: float) -> None:
    turn = torch.from_numpy(heading(degrees).as_matrix()).float()
    joints3d = (0.9 * rest_in_convention(REST, NAME) @ turn.mT).repeat(4, 1, 1) + torch.tensor([1.0, 0.2, 3.0])
    for fps in (None, 20.0):
        rigid = follow_joints(joints3d, REST, fps=fps, convention=NAME)
        torch.testing.assert_close(rigid.pose.rotations[:, 0], turn.repeat(4, 1, 1), atol=2e-3, rtol=0)
        torch.testing.assert_close(rigid.pose.rotations[:, 1:], torch.eye(3).expand(4, 21, 3, 3), atol=2e-3, rtol=0)
        assert (rigid.joints() - joints3d).norm(dim=-1).max() < 1e-4
    tilted = follow_joints(joints3d, REST).pose.rotations
    angles = torch.acos((tilted[0].diagonal(dim1=-2, dim2=-1).sum(-1) - 1).clamp(max=2) / 2).rad2deg()
    assert angles[SMPL22.index("neck")] > 10 and angles[SMPL22.index("left_ankle")] > 15


def test_joints_do_not_depend_on_the_convention() -> None:
    joints3d = torch.from_numpy(rigid_motion(30, rest=rest_in_convention(REST, NAME).double().numpy()))
    for convention in (None, NAME):
        rigid = follow_joints(joints3d, REST, fps=20, convention=convention)
        assert (rigid.joints() - joints3d).norm(dim=-1).max() < 1e-4 and rigid.largest < 1e-4


def test_bones_that_change_are_followed_and_the_rest_is_reported() -> None:
    noise = np.random.default_rng(1).normal(scale=0.005, size=(50, 22, 3))
    joints3d = torch.from_numpy(rigid_motion(50) + noise).float()
    rigid = follow_joints(joints3d, REST, fps=20, convention=NAME)
    distance = (rigid.joints() - joints3d).norm(dim=-1)
    assert float(distance.mean()) == pytest.approx(rigid.mean, abs=1e-6)
    assert float(distance.max()) == pytest.approx(rigid.largest, abs=1e-6)
    for joint, direction in bone_directions(NAME).items():
        bone = rigid.pose.rest_joints[joint] - rigid.pose.rest_joints[SMPL22.parents[joint]]
        torch.testing.assert_close(bone / bone.norm(), direction.float())


def test_a_body_that_keeps_its_bones_takes_the_directions() -> None:
    joints3d = 1.2 * torch.from_numpy(rigid_motion(10))
    rigid = follow_joints(joints3d, REST, keep_bones=True)
    assert torch.equal(rigid.pose.rest_joints, REST) and rigid.largest > 0.1
    again = posed_joints(rigid.pose.rotations, rigid.pose.translation, REST)
    elbow, wrist = SMPL22.indices("left_elbow", "left_wrist")
    bones = (x[:, wrist] - x[:, elbow] for x in (again, joints3d))
    assert torch.cosine_similarity(*bones, dim=-1).min() > 1 - 1e-6


def test_a_body_of_another_convention_stands_as_the_source_does() -> None:
    """Pose parameters for somebody else's body: its own head and toes are elsewhere, and none of its joints is bent."""
    joints3d = rest_in_convention(REST, NAME).repeat(3, 1, 1)
    rigid = follow_joints(joints3d, REST, fps=20, convention=NAME, keep_bones=True)
    torch.testing.assert_close(rigid.pose.rotations, torch.eye(3).expand(3, 22, 3, 3), atol=2e-3, rtol=0)
    assert (rigid.joints() - REST).norm(dim=-1).max() < 1e-3 and rigid.largest > 0.01
