"""Keypoints without a mesh are those of the mesh, and their gradients are finite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.keypoint_body import keypoints_of_smpl, load_keypoint_body
from hmr4d.body.light_body import load_light_body
from hmr4d.body.pose_limits import fit_pose_limits, load_pose_limits, save_pose_limits
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import load_smpl_body
from hmr4d.geometry.rotations import rotvec_to_matrix
from tests.body.smpl_models import smpl_arrays


def rotations(frames: int, joints: int) -> torch.Tensor:
    return rotvec_to_matrix(0.5 * torch.randn(frames, joints, 3, generator=torch.Generator().manual_seed(0)))


def test_keypoints_of_the_free_body_are_those_of_its_mesh() -> None:
    body, fast = load_light_body(), load_keypoint_body("anny")
    turns, place = rotations(5, 24), torch.randn(5, 3)
    joints, points = fast(torch.zeros(5, 10), turns, place)
    assert torch.allclose(points, body.coco17(turns[:, :22], place), atol=1e-5)
    assert torch.allclose(joints, body.pose(turns[:, :22], place), atol=1e-5)


def test_shape_coefficients_of_the_free_body_change_its_bones() -> None:
    fast, body = load_keypoint_body("anny"), load_light_body()
    larger = body.with_bone_lengths(body.bone_lengths * 1.05)
    found = fast.shaped_joints(torch.eye(10)[0])
    assert torch.allclose(found - found[0], larger.rest_joints - larger.rest_joints[0], atol=1e-4)


@pytest.mark.parametrize("with_regressor", [False, True])
def test_keypoints_of_smpl_are_those_of_full_skinning(tmp_path: Path, with_regressor: bool) -> None:
    np.savez(tmp_path / "model.npz", **smpl_arrays("smpl"))
    body = load_smpl_body("smpl", path=tmp_path / "model.npz", face_vertices=range(5))
    regressor = None
    if with_regressor:
        regressor = torch.zeros(17, body.num_vertices)
        for row in range(17):
            regressor[row, 3 * row : 3 * row + 8] = 1 / 8
    fast = keypoints_of_smpl(body, regressor=regressor)
    betas, turns, place = torch.randn(10), rotations(4, 24), torch.randn(4, 3)
    joints, points = fast(betas.expand(4, 10), turns, place)
    shaped = body.with_betas(betas)
    whole = shaped.coco17(turns, place) if regressor is None else regressor @ shaped.vertices(turns, place)
    assert torch.allclose(points, whole, atol=1e-5)
    assert torch.allclose(joints, shaped.pose(turns, place), atol=1e-5)


def test_gradients_at_no_rotation_are_finite() -> None:
    turn = torch.zeros(1, 24, 3, requires_grad=True)
    _, points = load_keypoint_body("anny")(torch.zeros(1, 10), rotvec_to_matrix(turn), torch.zeros(1, 3))
    (gradient,) = torch.autograd.grad(points.square().sum(), turn)
    assert gradient.isfinite().all() and (gradient != 0).any()


def test_limits_of_right_joints_mirror_the_left() -> None:
    limits = load_pose_limits()
    left, right = 3 * 15, 3 * 16  # left and right shoulder among the joints below the root
    assert torch.equal(limits.least[left + 1], -limits.greatest[right + 1])
    assert torch.equal(limits.greatest[left], limits.greatest[right])
    inside = torch.zeros(69)
    assert (limits.excess(inside) == 0).all()
    inside[3 * 3] = 2.8  # a knee bent beyond what knees can
    assert torch.isclose(limits.excess(inside).sum(), torch.tensor(0.2), atol=1e-6)


def test_limits_of_smpl_joints_leave_the_root_free() -> None:
    least, greatest = load_pose_limits().of_smpl22()
    assert least.shape == greatest.shape == (22, 3) and (least < greatest).all()
    assert greatest[0].isinf().all() and least[0].isinf().all() and least[1:].isfinite().all()
    elbow, other = SMPL22.index("left_elbow"), SMPL22.index("right_elbow")
    assert greatest[other, 1] == -least[elbow, 1]
    assert greatest[elbow, 1] < 0.2  # elbows do not bend backwards
    assert least[SMPL22.index("right_knee"), 0] > -0.2


def test_fitted_limits_hold_the_poses_they_come_from(tmp_path: Path) -> None:
    poses = np.random.default_rng(0).normal(0, 0.3, (500, 69))
    save_pose_limits(tmp_path / "limits.json", fit_pose_limits(poses, percentile=0.0, margin=0.05), "made up")
    assert float(load_pose_limits(tmp_path / "limits.json").excess(torch.from_numpy(poses)).max()) == 0


def test_damaged_limits_are_reported(tmp_path: Path) -> None:
    (tmp_path / "limits.json").write_text('{"limits": {"hip": [[1, 0], [0, 1], [0, 1]]}}')
    with pytest.raises(ValueError, match=r"bounds of 'left_hip'"):
        load_pose_limits(tmp_path / "limits.json")
