"""Joints of one skeleton from another's: places, sides, confidence, and what cannot be made."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import convert_confidence, convert_joints
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import (
    COCO17,
    H36M17,
    HALPE26,
    OPENPOSE18,
    OPENPOSE25,
    SKELETONS,
    SMPL22,
    SMPL24,
    Skeleton,
)
from hmr4d.motion.canonical import mirror

PAIRS = [
    (SMPL22, SMPL24),
    (SMPL24, SMPL22),
    (SMPL22, COCO17),
    (SMPL24, COCO17),
    (SMPL22, H36M17),
    (SMPL22, OPENPOSE18),
    (COCO17, H36M17),
    (COCO17, OPENPOSE18),
    (HALPE26, COCO17),
    (HALPE26, H36M17),
    (HALPE26, OPENPOSE18),
    (OPENPOSE25, COCO17),
    (OPENPOSE25, OPENPOSE18),
    (OPENPOSE18, COCO17),
    (OPENPOSE25, H36M17),
]
# SMPL joints lie within the body, those of detectors on it: of other kinds they share names, not places.
PAIRS_OF_ONE_KIND = [(s, t) for s, t in PAIRS if s.name.startswith("smpl") == t.name.startswith("smpl")]


def rest() -> Tensor:
    """(22, 3) T-pose facing +z, its left at +x."""
    return load_light_body().rest_joints.double()


def poses(skeleton: Skeleton, *shape: int) -> Tensor:
    """Noisy bodies; for detectors random points do."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(*shape, skeleton.num_joints, 3, generator=generator, dtype=torch.float64)
    if not skeleton.name.startswith("smpl"):
        return noise
    return convert_joints(rest(), SMPL22, skeleton) + 0.05 * noise


def points(skeleton: Skeleton, joints: Tensor, *names: str) -> list[Tensor]:
    return [joints[..., i, :] for i in skeleton.indices(*names)]


def test_keypoints_of_the_body_at_rest() -> None:
    """Face and hips fall on the body's own keypoints, limbs come within two centimeters."""
    body = load_light_body()
    assert body.coco17_weights is not None
    keypoints = body.coco17_weights.double() @ body.rest_vertices.double()
    error = (convert_joints(rest(), SMPL22, COCO17) - keypoints).norm(dim=-1)
    skin = [*range(5), *COCO17.indices("left_hip", "right_hip")]
    assert error[skin].max() < 0.0025  # the mesh is not quite symmetric, the offsets are
    assert error.max() < 0.0215
    wrists = list(COCO17.indices("left_wrist", "right_wrist"))
    assert error[wrists].max() < 0.006


def test_keypoints_follow_a_posed_body() -> None:
    """Bowing and leaning, the face stays on the skinned head when head and neck turn as one."""
    body = load_light_body()
    rotations = torch.eye(3).repeat(body.num_joints, 1, 1)
    turn = torch.tensor(0.5)
    rotations[SMPL22.index("spine1")] = torch.tensor(
        [[1, 0, 0], [0, turn.cos(), -turn.sin()], [0, turn.sin(), turn.cos()]]
    )
    joints, keypoints = body.pose(rotations), body.coco17(rotations)
    error = (convert_joints(joints, SMPL22, COCO17) - keypoints).norm(dim=-1)
    assert error[:5].max() < 0.01


def test_left_is_left_and_the_face_looks_ahead() -> None:
    coco = convert_joints(rest(), SMPL22, COCO17)
    nose, eye_l, eye_r, ear_l, ear_r = points(COCO17, coco, *COCO17.joint_names[:5])
    assert eye_l[0] > 0 > eye_r[0]
    assert ear_l[0] > eye_l[0]
    assert ear_r[0] < eye_r[0]
    assert nose[2] > eye_l[2] > ear_l[2] > 0
    assert eye_l[1] > nose[1]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda s: s.name)
def test_mirror_images_convert_to_mirror_images(source: Skeleton, target: Skeleton) -> None:
    """But for the hands, whose forearms the SMPL body has in two lengths, a millimeter apart."""
    joints = poses(source, 4)
    there = convert_joints(mirror(joints, source), source, target)
    tolerance = 0.01 if target is SMPL24 else 1e-9
    assert torch.allclose(there, mirror(convert_joints(joints, source, target), target), atol=tolerance)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda s: s.name)
def test_conversion_moves_with_the_body(source: Skeleton, target: Skeleton) -> None:
    joints = poses(source, 2, 3)
    R = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    R = R * torch.linalg.det(R)
    moved = convert_joints(1.7 * joints @ R.T + 2.0, source, target)
    assert torch.allclose(moved, 1.7 * convert_joints(joints, source, target) @ R.T + 2.0, atol=1e-9)


@pytest.mark.parametrize(("source", "target"), PAIRS_OF_ONE_KIND, ids=lambda s: s.name)
def test_joints_of_one_name_stay(source: Skeleton, target: Skeleton) -> None:
    joints = poses(source)
    converted = convert_joints(joints, source, target)
    shared = [n for n in source.joint_names if n in target.joint_names]
    assert shared
    for name in shared:
        assert torch.equal(converted[target.index(name)], joints[source.index(name)])


def test_hands_extend_the_forearms() -> None:
    joints = poses(SMPL22)
    wrist, elbow = points(SMPL22, joints, "right_wrist", "right_elbow")
    hand = convert_joints(joints, SMPL22, SMPL24)[SMPL24.index("right_hand")]
    assert torch.allclose(hand, wrist + 0.3345 * (wrist - elbow))


def test_h36m_from_coco_in_pixels() -> None:
    coco = poses(COCO17, 5)[..., :2]
    h36m = convert_joints(coco, COCO17, H36M17)
    hips = sum(points(COCO17, coco, "left_hip", "right_hip")) / 2
    shoulders = sum(points(COCO17, coco, "left_shoulder", "right_shoulder")) / 2
    pelvis, thorax, spine = points(H36M17, h36m, "pelvis", "thorax", "spine")
    assert torch.allclose(pelvis, hips)
    assert torch.allclose(thorax, shoulders)
    assert torch.allclose(spine, (hips + shoulders) / 2)


def test_the_h36m_head_is_above_the_nose() -> None:
    h36m = convert_joints(rest(), SMPL22, H36M17)
    nose, head, thorax = points(H36M17, h36m, "nose", "head", "thorax")
    assert head[1] > nose[1] > thorax[1]


def test_a_joint_is_as_sure_as_the_least_sure_of_its_parts() -> None:
    confidence = torch.ones(2, COCO17.num_joints)
    confidence[1, COCO17.index("left_hip")] = 0.25
    h36m = convert_confidence(confidence, COCO17, H36M17)
    assert (h36m[0] == 1).all()
    sure = {n for n, c in zip(H36M17.joint_names, h36m[1].tolist(), strict=True) if c == 1}
    assert set(H36M17.joint_names) - sure == {"left_hip", "pelvis", "spine"}


def test_what_cannot_be_made_is_named() -> None:
    with pytest.raises(ValueError, match=r"left_big_toe.*'halpe26' cannot be derived from those of 'coco17'"):
        convert_joints(poses(COCO17), COCO17, HALPE26)
    with pytest.raises(ValueError, match="cannot be derived"):
        convert_joints(poses(COCO17), COCO17, SMPL22)
    with pytest.raises(ValueError, match="Got 22 joints, but skeleton 'coco17' has 17"):
        convert_joints(poses(SMPL22), COCO17, H36M17)
    with pytest.raises(ValueError, match="left_big_toe"):
        convert_joints(poses(SMPL22), SMPL22, OPENPOSE25)


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_every_skeleton_converts_to_itself(name: str) -> None:
    joints = poses(SKELETONS[name], 2)
    assert torch.equal(convert_joints(joints, SKELETONS[name], SKELETONS[name]), joints)


def test_a_collapsed_body_stays_finite() -> None:
    assert convert_joints(torch.zeros(22, 3), SMPL22, COCO17).isfinite().all()
