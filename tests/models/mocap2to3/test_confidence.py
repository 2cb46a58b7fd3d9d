"""Confidence of lifted joints: 1 where nothing disagrees, a half at five centimetres, whatever they come from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig, project
from hmr4d.models.mocap2to3.confidence import GOOD_JOINT, camera_joints, joint_confidence
from hmr4d.models.mocap2to3.output import LiftOutput
from tests.models.mocap2to3.tiny import people, ring


def lifted(frames: int = 5, padded: int = 2) -> tuple[LiftOutput, Tensor]:
    """Two true motions, the second one shorter, and what view 0 sees of them."""
    joints3d, rig = people(2, frames), ring()
    batched = Rig(*(x.expand(2, *x.shape).clone() for x in (rig.size, rig.K4, rig.T_w2c)))
    pixels = project(batched, joints3d)[0]
    zeros = torch.zeros(2, frames, 22)
    lengths = torch.tensor([frames, frames - padded])
    return LiftOutput(joints3d, lengths, 30.0, SMPL22, batched, pixels, zeros, zeros.clone()), pixels


def test_perfect_agreement_is_one_and_half_where_nothing_was_seen() -> None:
    output, pixels = lifted()
    kp2d, conf = pixels[1, 0, :3].clone(), torch.ones(3, 22)
    torch.testing.assert_close(joint_confidence(output, 1, kp2d, conf), torch.ones(3, 22), atol=1e-4, rtol=0)
    kp2d[1, 4], conf[1, 4] = 0, 0
    assert joint_confidence(output, 1, kp2d, conf)[1, 4] == pytest.approx(0.5)
    conf[1, 4] = 1
    assert joint_confidence(output, 1, kp2d, conf)[1, 4] < 0.01


@pytest.mark.parametrize("source", ["residual", "spread", "reprojection"])
def test_five_centimetres_halve_it(source: str) -> None:
    output, pixels = lifted()
    kp2d = pixels[0, 0].clone()
    if source == "reprojection":
        depth = camera_joints(output, 0)[2, 7, 2]
        kp2d[2, 7, 0] += GOOD_JOINT * output.rig.K4[0, 0, 0] / depth
    else:
        getattr(output, source)[0, 2, 7] = GOOD_JOINT
    confidence = joint_confidence(output, 0, kp2d, torch.ones(5, 22))
    assert float(confidence[2, 7]) == pytest.approx(0.5, abs=1e-3)
    confidence[2, 7] = 1
    assert (confidence > 0.999).all()


def test_camera_joints_project_to_the_pixels() -> None:
    output, pixels = lifted()
    points = camera_joints(output, 1)
    assert points.shape == (3, 22, 3)
    K4 = output.rig.K4[1, 0]
    torch.testing.assert_close(points[..., :2] / points[..., 2:] * K4[:2] + K4[2:], pixels[1, 0, :3], atol=1e-2, rtol=0)
