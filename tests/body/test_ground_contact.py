"""Resting joints are those that are low and slow."""

from __future__ import annotations

import torch

from hmr4d.body.ground_contact import standing_joints
from hmr4d.body.skeleton import SMPL22


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
