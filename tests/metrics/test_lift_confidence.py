"""Confidence of lifted joints: what disagrees counts in meters, and so does what nothing can see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.geometry.rigs import Rig, project
from hmr4d.metrics.lift_confidence import (
    HELD,
    LONGEST_UNSEEN,
    PLACE,
    POSE,
    expected_error,
)
from hmr4d.motion.confidence import GOOD_JOINT, confidence_of
from hmr4d.motion.motion import MotionBatch
from tests.methods.mocap2to3.tiny import people, ring


def lifted(frames: int = 5, padded: int = 2) -> tuple[MotionBatch, Tensor]:
    """Two true motions, the second one shorter, and what view 0 sees of them."""
    joints3d, rig = people(2, frames), ring()
    batched = Rig(*(x.expand(2, *x.shape).clone() for x in (rig.size, rig.K4, rig.T_w2c)))
    pixels = project(batched, joints3d)[0]
    zeros = torch.zeros(2, frames, 22)
    lengths = torch.tensor([frames, frames - padded])
    extras = {"residual": zeros, "spread": zeros.clone()}
    return MotionBatch(joints3d, lengths, 30.0, joints2d=pixels, rig=batched, extras=extras), pixels


def told(output: MotionBatch, index: int, kp2d: Tensor, conf: Tensor) -> Tensor:
    """Squared errors in meters that are expected."""
    return expected_error(output, index, kp2d, conf) ** 2


def depths(output: MotionBatch, index: int) -> Tensor:
    """(L, J) meters from camera 0 along its axis."""
    return project(ring(), output[index].joints3d)[1][0]


def along_ray(output: MotionBatch, index: int) -> Tensor:
    """(L, 1) squared error that is always told: of limbs, and of the root over its distance."""
    return POSE**2 + (PLACE * depths(output, index)[:, :1]) ** 2


def test_agreement_leaves_the_errors_along_the_ray() -> None:
    output, pixels = lifted()
    kp2d, conf = pixels[1, 0, :3].clone(), torch.ones(3, 22)
    ray = along_ray(output, 1)
    torch.testing.assert_close(told(output, 1, kp2d, conf), ray.expand(3, 22), atol=1e-5, rtol=0)
    kp2d[1, 4], conf[1, 4] = 0, 0
    assert float(told(output, 1, kp2d, conf)[1, 4] - ray[1]) == pytest.approx(GOOD_JOINT**2, rel=1e-2)
    conf[1, 4] = 1
    assert confidence_of(expected_error(output, 1, kp2d, conf))[1, 4] < 0.01


def test_errors_grow_with_the_time_without_the_root() -> None:
    output, pixels = lifted()
    kp2d, conf = pixels[0, 0].clone(), torch.ones(5, 22)
    conf[:3, 0] = 0
    extra = (told(output, 0, kp2d, conf) - along_ray(output, 0))[:, 7]
    away = torch.tensor([3.0, 2.0, 1.0, 0.0, 0.0]) / output.fps
    torch.testing.assert_close(extra, (HELD * away) ** 2, atol=1e-5, rtol=0)
    assert told(output, 0, kp2d, torch.zeros(5, 22)).min() > (HELD * LONGEST_UNSEEN) ** 2


@pytest.mark.parametrize("source", ["residual", "spread", "reprojection"])
def test_all_terms_count_in_meters(source: str) -> None:
    output, pixels = lifted()
    kp2d = pixels[0, 0].clone()
    if source == "reprojection":
        depth = depths(output, 0)[2, 7]
        kp2d[2, 7, 0] += GOOD_JOINT * ring().K4[0, 0] / depth
    else:
        output.extras[source][0, 2, 7] = GOOD_JOINT
    extra = told(output, 0, kp2d, torch.ones(5, 22)) - along_ray(output, 0)
    assert float(extra[2, 7]) == pytest.approx(GOOD_JOINT**2, rel=1e-2)
    extra[2, 7] = 0
    assert extra.abs().max() < 1e-5


def test_an_error_of_five_centimeters_halves_the_confidence() -> None:
    torch.testing.assert_close(confidence_of(torch.tensor([0.0, 0.05, 0.5])), torch.tensor([1.0, 0.5, 1 / 101]))
