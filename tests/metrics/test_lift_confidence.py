"""Confidence of lifted joints: what disagrees counts in metres, and so does what nothing can see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig, project
from hmr4d.metrics.lift_confidence import (
    GOOD_JOINT,
    HELD,
    LONGEST_UNSEEN,
    PLACE,
    POSE,
    camera_joints,
    joint_confidence,
)
from hmr4d.motion.lift_output import LiftOutput
from tests.methods.mocap2to3.tiny import people, ring


def lifted(frames: int = 5, padded: int = 2) -> tuple[LiftOutput, Tensor]:
    """Two true motions, the second one shorter, and what view 0 sees of them."""
    joints3d, rig = people(2, frames), ring()
    batched = Rig(*(x.expand(2, *x.shape).clone() for x in (rig.size, rig.K4, rig.T_w2c)))
    pixels = project(batched, joints3d)[0]
    zeros = torch.zeros(2, frames, 22)
    lengths = torch.tensor([frames, frames - padded])
    return LiftOutput(joints3d, lengths, 30.0, SMPL22, batched, pixels, zeros, zeros.clone()), pixels


def told(output: LiftOutput, index: int, kp2d: Tensor, conf: Tensor) -> Tensor:
    """Squared errors in metres that the confidence tells."""
    return GOOD_JOINT**2 * (1 / joint_confidence(output, index, kp2d, conf) - 1)


def along_ray(output: LiftOutput, index: int) -> Tensor:
    """(L, 1) squared error that is always told: of limbs, and of the root over its distance."""
    return POSE**2 + (PLACE * camera_joints(output, index)[:, :1, 2]) ** 2


def test_agreement_leaves_the_errors_along_the_ray() -> None:
    output, pixels = lifted()
    kp2d, conf = pixels[1, 0, :3].clone(), torch.ones(3, 22)
    ray = along_ray(output, 1)
    torch.testing.assert_close(told(output, 1, kp2d, conf), ray.expand(3, 22), atol=1e-5, rtol=0)
    kp2d[1, 4], conf[1, 4] = 0, 0
    assert float(told(output, 1, kp2d, conf)[1, 4] - ray[1]) == pytest.approx(GOOD_JOINT**2, rel=1e-2)
    conf[1, 4] = 1
    assert joint_confidence(output, 1, kp2d, conf)[1, 4] < 0.01


def test_errors_grow_with_the_time_without_the_root() -> None:
    output, pixels = lifted()
    kp2d, conf = pixels[0, 0].clone(), torch.ones(5, 22)
    conf[:3, 0] = 0
    extra = (told(output, 0, kp2d, conf) - along_ray(output, 0))[:, 7]
    away = torch.tensor([3.0, 2.0, 1.0, 0.0, 0.0]) / output.fps
    torch.testing.assert_close(extra, (HELD * away) ** 2, atol=1e-5, rtol=0)
    assert told(output, 0, kp2d, torch.zeros(5, 22)).min() > (HELD * LONGEST_UNSEEN) ** 2


@pytest.mark.parametrize("source", ["residual", "spread", "reprojection"])
def test_all_terms_count_in_metres(source: str) -> None:
    output, pixels = lifted()
    kp2d = pixels[0, 0].clone()
    if source == "reprojection":
        depth = camera_joints(output, 0)[2, 7, 2]
        kp2d[2, 7, 0] += GOOD_JOINT * output.rig.K4[0, 0, 0] / depth
    else:
        getattr(output, source)[0, 2, 7] = GOOD_JOINT
    extra = told(output, 0, kp2d, torch.ones(5, 22)) - along_ray(output, 0)
    assert float(extra[2, 7]) == pytest.approx(GOOD_JOINT**2, rel=1e-2)
    extra[2, 7] = 0
    assert extra.abs().max() < 1e-5


def test_camera_joints_project_to_the_pixels() -> None:
    output, pixels = lifted()
    points = camera_joints(output, 1)
    assert points.shape == (3, 22, 3)
    K4 = output.rig.K4[1, 0]
    torch.testing.assert_close(points[..., :2] / points[..., 2:] * K4[:2] + K4[2:], pixels[1, 0, :3], atol=1e-2, rtol=0)
