"""Feet on the floor: the place by the ray is the true one, resting joints are those that rest."""

from __future__ import annotations

import math

import pytest
import torch

from hmr4d.body.ground_contact import feet_on_floor, resting_heights, standing_joints
from hmr4d.body.skeleton import SKELETONS, SMPL22, get_skeleton
from hmr4d.geometry.rigs import Rig, camera_pose, project


def camera(pitch: float = 15.0, roll: float = 4.0, height: float = 1.6) -> Rig:
    turns = [torch.tensor([math.radians(a)], dtype=torch.float64) for a in (pitch, roll, 0.0)]
    T = camera_pose(turns[0], turns[1], turns[2], torch.tensor([[0.0, height, 0.0]], dtype=torch.float64))
    size, K4 = torch.tensor([[1280.0, 720.0]]), torch.tensor([[1000.0, 1010, 640, 350]])
    return Rig(size.double(), K4.double(), T)


@pytest.mark.parametrize("name", SKELETONS)
def test_place_of_the_lower_foot(name: str) -> None:
    skeleton = get_skeleton(name)
    joints3d = torch.rand(20, skeleton.num_joints, 3, generator=torch.manual_seed(0)).double()
    joints3d = joints3d * 0.4 + torch.tensor([0.0, 0.6, -5.0])
    standing = [i % len(skeleton.contact_joints) for i in range(20)]
    for frame, contact in enumerate(standing):  # everything else is above
        joints3d[frame, skeleton.contact_joints[contact], 1] = resting_heights(skeleton)[contact]
    pixels = project(camera(), joints3d)[0][0]
    conf = torch.ones(20, skeleton.num_joints)
    conf[3, list(skeleton.contact_joints)] = 0
    points, found = feet_on_floor(camera(), pixels, conf, skeleton)
    expected = torch.stack([joints3d[f, skeleton.contact_joints[c]] for f, c in enumerate(standing)])
    assert found.tolist() == [frame != 3 for frame in range(20)]
    torch.testing.assert_close(points[found], expected[found], atol=1e-9, rtol=0)


def test_rays_at_the_horizon_find_nothing() -> None:
    up = torch.full((2, 22, 2), 40.0)
    up[1] = float("nan")
    points, found = feet_on_floor(camera(), up, torch.ones(2, 22) * (up[..., 0] < 1e9), SMPL22)
    assert not found.any() and points.isfinite().all()


def test_standing_is_low_and_slow() -> None:
    joints3d = torch.zeros(30, 22, 3)
    left, right = SMPL22.indices("left_foot", "right_foot")
    joints3d[:, left, 1] = 0.02
    joints3d[:, left, 0] = torch.arange(30).clamp(max=14) * 0.03  # slides at 0.9 m/s, then stands
    joints3d[:, right, 1] = 0.02 + 0.2 * (torch.arange(30) >= 20)  # stands, then is lifted
    rests = standing_joints(joints3d, fps=30.0, skeleton=SMPL22)
    columns = [SMPL22.contact_joints.index(j) for j in (left, right)]
    assert rests.shape == (30, len(SMPL22.contact_joints))
    assert rests[:, columns[0]].tolist() == [f >= 14 for f in range(30)]
    assert rests[:, columns[1]].tolist() == [f < 20 for f in range(30)]
    assert standing_joints(joints3d[:1], fps=30.0, skeleton=SMPL22)[0, columns].all()
