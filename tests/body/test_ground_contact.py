"""Resting joints are those that are low and slow."""

from __future__ import annotations

import torch

from hmr4d.body.ground_contact import standing_joints
from hmr4d.body.skeleton import SMPL22


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
