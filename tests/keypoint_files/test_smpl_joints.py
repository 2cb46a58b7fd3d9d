"""SMPL joints from detectors' keypoints: where they fall, what is missing, what does not depend on frame or side."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import (
    BODY25B,
    COCO17,
    H36M17,
    HALPE26,
    MEDIAPIPE33,
    OPENPOSE18,
    OPENPOSE25,
    SMPL22,
    WHOLEBODY23,
    Skeleton,
)
from hmr4d.keypoint_files.smpl_joints import MIXED_CONF, observed_joints, smpl22_from_detections
from hmr4d.motion.canonical import mirror

WITH_FEET = [OPENPOSE25, HALPE26, BODY25B, WHOLEBODY23]
DETECTORS = [COCO17, H36M17, OPENPOSE18, *WITH_FEET, MEDIAPIPE33]
FEET = list(SMPL22.indices("left_foot", "right_foot"))


def rest() -> Tensor:
    return load_light_body().rest_joints.double()


def keypoints(skeleton: Skeleton, *shape: int) -> Tensor:
    return torch.randn(*shape, skeleton.num_joints, 3, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("source", [COCO17, H36M17, OPENPOSE18], ids=lambda s: s.name)
def test_the_body_at_rest_is_restored(source: Skeleton) -> None:
    points = convert_joints(rest(), SMPL22, source)
    found, conf = smpl22_from_detections(points, torch.ones(source.num_joints).double(), source)
    told = conf > 0
    error = (found - rest())[told].abs()
    head = SMPL22.index("head")
    across = error[:, :2][[i for i, j in enumerate(told.nonzero()[:, 0].tolist()) if j != head or source == COCO17]]
    assert across.max() < 0.0025 and error.max() < 0.06  # meters; the nose alone tells less of the head
    assert (~told).nonzero()[:, 0].tolist() == FEET


@pytest.mark.parametrize("source", DETECTORS, ids=lambda s: s.name)
def test_affine_maps_commute(source: Skeleton) -> None:
    """Weights that add up to 1: turned, scaled, moved or flattened keypoints give joints that are just so."""
    points, conf = keypoints(source, 4), torch.ones(4, source.num_joints).double()
    found, told = smpl22_from_detections(points, conf, source)
    A = keypoints(COCO17)[:3]
    shift = torch.tensor([5.0, -2.0, 300.0]).double()
    moved, _ = smpl22_from_detections(points @ A + shift, conf, source)
    torch.testing.assert_close(moved[told > 0], (found @ A + shift)[told > 0])
    flat, _ = smpl22_from_detections(points[..., :2], conf, source)
    torch.testing.assert_close(flat, found[..., :2])


@pytest.mark.parametrize("source", DETECTORS, ids=lambda s: s.name)
def test_left_and_right_are_alike(source: Skeleton) -> None:
    points, conf = keypoints(source, 2), torch.rand(2, source.num_joints).double()
    found, told = smpl22_from_detections(points, conf, source)
    order = list(source.mirror_order)
    other, told_other = smpl22_from_detections(mirror(points, source), conf[:, order], source)
    torch.testing.assert_close(other, mirror(found, SMPL22))
    torch.testing.assert_close(told_other, told[:, list(SMPL22.mirror_order)])


def test_hidden_joints_have_no_confidence() -> None:
    """Without shoulders the hips still tell the pelvis, without both nothing does; no joint is made of missing ones."""
    points, conf = convert_joints(rest(), SMPL22, COCO17).repeat(3, 1, 1), torch.full((3, 17), 0.75).double()
    conf[1, COCO17.index("left_shoulder")] = 0
    conf[2, list(COCO17.indices("left_shoulder", "left_hip"))] = 0
    found, told = smpl22_from_detections(points, conf, COCO17)
    pelvis, neck, elbow = SMPL22.indices("pelvis", "neck", "left_elbow")
    assert told[:, pelvis].tolist() == [MIXED_CONF, MIXED_CONF, 0] and told[:, neck].tolist() == [MIXED_CONF, 0, 0]
    assert told[:, SMPL22.index("spine1")].tolist() == [MIXED_CONF, 0, 0]
    assert told[:, elbow].tolist() == [0.75] * 3
    assert (found[1, pelvis] - rest()[pelvis]).norm() < 0.13  # metres: hips of detectors lie lower than the pelvis
    assert (found[told == 0] == 0).all()
    broken = torch.where(conf[..., None] > 0, points, torch.nan)
    torch.testing.assert_close(smpl22_from_detections(broken, conf, COCO17)[0], found)
    unsure = smpl22_from_detections(points, torch.full((3, 17), 0.25).double(), COCO17)[1]
    assert unsure[unsure > 0].unique().tolist() == [0.25]  # never surer than the keypoints


@pytest.mark.parametrize("source", [*WITH_FEET, MEDIAPIPE33], ids=lambda s: s.name)
def test_toes_and_heels_tell_the_feet(source: Skeleton) -> None:
    points = torch.zeros(source.num_joints, 3).double()
    for name, place in (("big_toe", 0.15), ("small_toe", 0.13), ("foot_index", 0.16), ("heel", -0.1)):
        if f"left_{name}" in source.joint_names:
            points[source.index(f"left_{name}"), 2] = place
    found, told = smpl22_from_detections(points, torch.ones(source.num_joints).double(), source)
    assert 0.05 < found[FEET[0], 2] < 0.1 and told[FEET].tolist() == [MIXED_CONF] * 2


def test_other_joint_sets() -> None:
    points, conf = keypoints(HALPE26, 2), torch.ones(2, 26).double()
    for source, target in ((HALPE26, HALPE26), (HALPE26, COCO17), (HALPE26, SMPL22)):
        assert observed_joints(points, conf, source, target)[0].shape == (2, target.num_joints, 3)
    with pytest.raises(ValueError, match="not a detector's; expected one of"):
        smpl22_from_detections(keypoints(SMPL22), torch.ones(22), SMPL22)
    assert math.isclose(float(observed_joints(points, conf, HALPE26, COCO17)[1].min()), 1.0)
