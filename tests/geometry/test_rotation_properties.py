"""Every form of a rotation leads to the same matrix, without rotation, near half a turn and between."""

from __future__ import annotations

import torch
from hypothesis import given
from torch import Tensor

from hmr4d.export.amass_npz import axis_angles
from hmr4d.export.bvh import euler_zxy
from hmr4d.geometry import published_rotations as published
from hmr4d.geometry.rotations import (
    conjugate_quat_wxyz,
    multiply_quat_wxyz,
    quat_wxyz_between,
    quat_wxyz_to_matrix,
    quat_wxyz_to_rot6d_cols,
    rot6d_cols_to_matrix,
    rotate_by_quat_wxyz,
    rotvec_to_matrix,
)
from hmr4d.utils import lazy_roma as roma
from tests.strategies import rotation_vectors, tensors, unit_quats_wxyz

EXACT = 1e-12  # float64
SINGLE = 1e-6  # of what is stored as float32


def about(axis: int, angle: Tensor) -> Tensor:
    """(3, 3) rotation about a coordinate axis."""
    return roma.rotvec_to_rotmat(torch.eye(3, dtype=torch.float64)[axis] * angle)


def assert_near(got: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    torch.testing.assert_close(got, expected, atol=tolerance, rtol=0.0)


@given(unit_quats_wxyz())
def test_matrix_is_a_rotation_and_gives_the_quaternion_back(q: Tensor) -> None:
    R = quat_wxyz_to_matrix(q)
    assert_near(R @ R.mT, torch.eye(3, dtype=torch.float64))
    assert abs(float(torch.linalg.det(R)) - 1) < EXACT
    again = roma.rotmat_to_unitquat(R)[[3, 0, 1, 2]]
    assert_near((again @ q).abs(), torch.ones((), dtype=torch.float64))


@given(rotation_vectors())
def test_rotation_vector_is_restored_from_its_matrix(rotvec: Tensor) -> None:
    R = roma.rotvec_to_rotmat(rotvec)
    again = roma.rotmat_to_rotvec(R)
    assert_near(roma.rotvec_to_rotmat(again), R, 1e-9)
    stored = torch.from_numpy(axis_angles(R[None, None])).double()
    assert_near(roma.rotvec_to_rotmat(stored[0]), R, SINGLE)


@given(unit_quats_wxyz())
def test_six_numbers_give_the_matrix_of_the_quaternion(q: Tensor) -> None:
    assert_near(rot6d_cols_to_matrix(quat_wxyz_to_rot6d_cols(q)), quat_wxyz_to_matrix(q))


@given(rotation_vectors())
def test_euler_angles_give_the_matrix_back(rotvec: Tensor) -> None:
    R = roma.rotvec_to_rotmat(rotvec)
    z, x, y = euler_zxy(R)
    assert_near(about(2, z) @ about(0, x) @ about(1, y), R, 1e-9)


@given(unit_quats_wxyz(), unit_quats_wxyz(), tensors(3))
def test_product_is_one_rotation_after_the_other(q: Tensor, r: Tensor, v: Tensor) -> None:
    product = multiply_quat_wxyz(q, r)
    assert_near(quat_wxyz_to_matrix(product), quat_wxyz_to_matrix(q) @ quat_wxyz_to_matrix(r))
    assert_near(rotate_by_quat_wxyz(product, v), rotate_by_quat_wxyz(q, rotate_by_quat_wxyz(r, v)), 1e-11)
    assert_near(rotate_by_quat_wxyz(q, v), quat_wxyz_to_matrix(q) @ v, 1e-11)


@given(unit_quats_wxyz(), tensors(3))
def test_conjugate_turns_back(q: Tensor, v: Tensor) -> None:
    assert_near(quat_wxyz_to_matrix(conjugate_quat_wxyz(q)), quat_wxyz_to_matrix(q).mT)
    assert_near(rotate_by_quat_wxyz(conjugate_quat_wxyz(q), rotate_by_quat_wxyz(q, v)), v, 1e-11)


@given(
    tensors(3).filter(lambda v: float(v.norm()) > 0.1),
    tensors(3).filter(lambda v: float(v.norm()) > 0.1),
)
def test_rotation_between_directions_takes_one_to_the_other(u: Tensor, v: Tensor) -> None:
    cosine = float(torch.cosine_similarity(u, v, dim=0))
    q = quat_wxyz_between(u, v, (0.0, 1.0, 0.0))
    assert_near(q.norm(), torch.ones((), dtype=torch.float64))
    if cosine > -0.999999:  # opposite directions leave the axis open
        assert_near(rotate_by_quat_wxyz(q, u / u.norm()), v / v.norm(), 1e-8)
        assert abs(float(2 * q[0] ** 2 - 1) - cosine) < 1e-9, "the angle is that between them"


@given(rotation_vectors())
def test_rotation_vectors_give_the_matrix_of_their_rotation(rotvec: Tensor) -> None:
    assert_near(rotvec_to_matrix(rotvec), roma.rotvec_to_rotmat(rotvec))
    free = rotvec.clone().requires_grad_()
    rotvec_to_matrix(free).sum().backward()
    assert free.grad is not None and free.grad.isfinite().all()


@given(rotation_vectors())
def test_published_conversions_agree_with_the_exact_ones(rotvec: Tensor) -> None:
    """But for the axis, which the published formula shortens by 1e-6 radians."""
    R = roma.rotvec_to_rotmat(rotvec)
    assert_near(published.axis_angle_to_matrix(rotvec), R, 3e-6)
    assert_near(quat_wxyz_to_matrix(published.axis_angle_to_quat_wxyz(rotvec)), R)
    assert_near(quat_wxyz_to_matrix(published.matrix_to_quat_wxyz(R)), R)
    axis_angle = published.matrix_to_axis_angle(R)
    assert_near(roma.rotvec_to_rotmat(axis_angle), R)
    assert float(axis_angle.norm()) < torch.pi + EXACT
    block = published.matrix_to_rot6d_block(R)
    assert torch.equal(block, R[:, :2].flatten())
    assert_near(published.rot6d_block_to_matrix(block * 3), R)
