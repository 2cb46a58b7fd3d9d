"""Resting joints are those that are low and slow."""

from __future__ import annotations

import torch

from hmr4d.body.joint_conventions import foot_heights
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.ground_contact import rest_heights, standing_joints


def test_standing_is_low_and_slow() -> None:
    joints3d = torch.zeros(60, 22, 3)
    frames = torch.arange(60)
    left, right = SMPL22.indices("left_foot", "right_foot")
    joints3d[:, left, 1] = 0.02
    joints3d[:, left, 0] = frames.clamp(max=30) * 0.06  # slides at 1.8 m/s, then stands
    joints3d[:, right, 1] = 0.02 + 0.4 * (frames >= 40)  # stands, then is lifted
    noise = torch.randn(60, 2, 3, generator=torch.manual_seed(0))
    joints3d[:, [left, right]] += 0.005 * noise
    rests = standing_joints(joints3d, fps=30.0, skeleton=SMPL22)
    columns = [SMPL22.contact_joints.index(j) for j in (left, right)]
    assert rests.shape == (60, len(SMPL22.contact_joints))
    assert not rests[:27, columns[0]].any() and rests[34:, columns[0]].all()  # smoothing blurs the moment
    assert rests[:36, columns[1]].all() and not rests[43:, columns[1]].any()
    assert standing_joints(joints3d[:1], fps=30.0, skeleton=SMPL22)[0, columns].all()


def test_standing_feet_are_as_high_as_their_convention_has_them() -> None:
    ankle, foot = SMPL22.indices("left_ankle", "right_foot")
    adult, known = rest_heights(SMPL22), rest_heights(SMPL22, foot_heights("bandai_namco"))
    assert (adult[ankle], adult[foot]) == (torch.tensor(0.08), torch.tensor(0.02))
    assert known[foot] < 0.005 and known[ankle] > 0.06
    part = rest_heights(SMPL22, {"foot": 0.05})
    assert part[foot] == torch.tensor(0.05) and part[ankle] == adult[ankle]
    assert not foot_heights(None) and torch.equal(rest_heights(SMPL22, foot_heights(None)), adult)
