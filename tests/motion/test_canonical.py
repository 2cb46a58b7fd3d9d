"""Standard placement: heading, floor, mirror, tail."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.canonical import align_to_floor, face_first_frame, facing_transform, mirror, repeat_last_valid

UP = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


def motion(*leading: int, seed: int = 0) -> Tensor:
    """(*leading, 22, 3) of random joints with left joints on the left of a random heading."""
    joints = torch.randn(*leading, 22, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    hips, shoulders = SMPL22.indices("left_hip", "right_hip"), SMPL22.indices("left_shoulder", "right_shoulder")
    for left, right in (hips, shoulders):
        joints[..., left, :] = joints[..., right, :] + torch.tensor([0.3, 0.05, 0.1], dtype=torch.float64)
    return joints


def turn(angle: float, shift: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    c, s = math.cos(angle), math.sin(angle)
    R = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]], dtype=torch.float64)
    return R, torch.tensor(shift, dtype=torch.float64)


def heading(frame: Tensor) -> Tensor:
    """Unit left direction on the floor, from hips and shoulders."""
    hip_l, hip_r, sh_l, sh_r = SMPL22.indices("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    left = frame[..., hip_l, :] - frame[..., hip_r, :] + frame[..., sh_l, :] - frame[..., sh_r, :]
    left = left * torch.tensor([1.0, 0.0, 1.0], dtype=frame.dtype)
    return left / left.norm(dim=-1, keepdim=True)


def test_first_frame_faces_z_above_the_origin() -> None:
    faced = face_first_frame(motion(4, 6))
    # Facing +z with y up, the left hand points along +x.
    assert torch.allclose(heading(faced[:, 0]), torch.tensor([1.0, 0.0, 0.0]).double().expand(4, 3), atol=1e-12)
    assert torch.allclose(faced[:, 0, 0, [0, 2]], torch.zeros(4, 2).double(), atol=1e-12)


def test_heights_and_distances_stay() -> None:
    joints = motion(3, 5)
    faced = face_first_frame(joints)
    assert torch.allclose(faced[..., 1], joints[..., 1], atol=1e-12)
    apart, apart_faced = (x.flatten(1, 2)[:, :, None] - x.flatten(1, 2)[:, None] for x in (joints, faced))
    assert torch.allclose(apart.norm(dim=-1), apart_faced.norm(dim=-1), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, math.pi, -2.5])
def test_turning_and_shifting_before_does_not_matter(angle: float) -> None:
    joints = motion(2, 5)
    R, t = turn(angle, (3.0, 0.0, -2.0))
    assert torch.allclose(face_first_frame(joints @ R.mT + t), face_first_frame(joints), atol=1e-9)


def test_facing_twice_is_facing_once() -> None:
    faced = face_first_frame(motion(2, 5))
    assert torch.allclose(face_first_frame(faced), faced, atol=1e-12)


def test_transform_and_motion_agree() -> None:
    joints = motion(2, 5)
    T = facing_transform(joints[:, 0])
    homogeneous = torch.cat([joints, torch.ones_like(joints[..., :1])], -1)
    assert torch.allclose(torch.einsum("bij,blkj->blki", T, homogeneous)[..., :3], face_first_frame(joints), atol=1e-12)
    assert torch.allclose(torch.linalg.det(T[:, :3, :3]), torch.ones(2).double())


def test_a_pose_without_a_heading_keeps_its_own() -> None:
    joints = motion(2, 3)
    hip_l, hip_r, sh_l, sh_r = SMPL22.indices("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    joints[1, 0, hip_l], joints[1, 0, sh_l] = joints[1, 0, hip_r], joints[1, 0, sh_r]
    T = facing_transform(joints[:, 0])
    assert torch.equal(T[1, :3, :3], torch.eye(3).double())
    assert not torch.equal(T[0, :3, :3], torch.eye(3).double())
    assert torch.allclose(face_first_frame(joints)[1, 0, 0, [0, 2]], torch.zeros(2).double())


def test_gradients_are_finite_without_a_heading() -> None:
    joints = torch.zeros(1, 2, 22, 3, requires_grad=True)
    face_first_frame(joints).sum().backward()
    assert torch.isfinite(joints.grad).all()


def test_arguments_stay_as_they_were() -> None:
    joints, lengths = motion(2, 5), torch.tensor([5, 3])
    kept = joints.clone()
    face_first_frame(joints)
    align_to_floor(joints, lengths)
    mirror(joints)
    repeat_last_valid(joints, lengths)
    assert torch.equal(joints, kept)


def test_lowest_valid_joint_is_on_the_floor() -> None:
    joints, lengths = motion(3, 6), torch.tensor([6, 4, 1])
    joints[1, 4:] -= 10 * UP
    placed = align_to_floor(joints, lengths)
    for b, n in enumerate(lengths.tolist()):
        assert placed[b, :n, :, 1].min() == 0
    shift = placed - joints
    assert torch.allclose(shift, shift[:, :1, :1] * UP, atol=1e-12), "only up or down, the same for a whole motion"
    assert torch.allclose(align_to_floor(placed, lengths), placed)


def test_floor_without_lengths_counts_every_frame() -> None:
    joints = motion(2, 6)
    full = torch.tensor([6, 6])
    assert torch.equal(align_to_floor(joints), align_to_floor(joints, full))
    assert torch.equal(align_to_floor(joints[0]), align_to_floor(joints)[0])


def test_mirror_is_its_own_inverse() -> None:
    joints = motion(2, 5)
    assert torch.equal(mirror(mirror(joints)), joints)
    mirrored = mirror(joints)
    left, right = SMPL22.indices("left_wrist", "right_wrist")
    assert torch.equal(mirrored[..., left, 1:], joints[..., right, 1:])
    assert torch.equal(mirrored[..., left, 0], -joints[..., right, 0])


def test_mirror_and_facing_commute() -> None:
    joints = motion(2, 5)
    assert torch.allclose(face_first_frame(mirror(joints)), mirror(face_first_frame(joints)), atol=1e-12)


def test_tail_repeats_the_last_valid_frame() -> None:
    joints, lengths = motion(3, 6), torch.tensor([6, 4, 1])
    filled = repeat_last_valid(joints, lengths)
    for b, n in enumerate(lengths.tolist()):
        assert torch.equal(filled[b, :n], joints[b, :n])
        assert torch.equal(filled[b, n:], joints[b, n - 1].expand(6 - n, 22, 3))
