"""Quaternions and 6D columns against SciPy, and where they have no answer."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hmr4d.geometry.rotations import (
    component_planes,
    conjugate_quat_wxyz,
    multiply_quat_wxyz,
    quat_wxyz_between,
    quat_wxyz_to_matrix,
    quat_wxyz_to_rot6d_cols,
    rot6d_cols_to_matrix,
    rotate_by_quat_wxyz,
)

UP = (0.0, 1.0, 0.0)


def unit_quats(*leading: int, seed: int = 0) -> Tensor:
    q = torch.randn(*leading, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return q / q.norm(dim=-1, keepdim=True)


def vectors(*leading: int, seed: int = 1) -> Tensor:
    return torch.randn(*leading, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scipy_rotation(q: Tensor) -> Rotation:
    return Rotation.from_quat(q.reshape(-1, 4)[:, [1, 2, 3, 0]].numpy())


def test_product_rotation_and_matrix_are_those_of_scipy() -> None:
    q, r, v = unit_quats(40), unit_quats(40, seed=2), vectors(40)
    product = (scipy_rotation(q) * scipy_rotation(r)).as_matrix()
    assert torch.allclose(quat_wxyz_to_matrix(multiply_quat_wxyz(q, r)), torch.from_numpy(product))
    assert torch.allclose(rotate_by_quat_wxyz(q, v), torch.from_numpy(scipy_rotation(q).apply(v.numpy())))
    inverse = torch.from_numpy(scipy_rotation(q).inv().as_matrix())
    assert torch.allclose(quat_wxyz_to_matrix(conjugate_quat_wxyz(q)), inverse)


def test_matrix_and_rot6d_do_not_mind_the_norm() -> None:
    q = unit_quats(5, 3)
    matrix = quat_wxyz_to_matrix(q)
    assert torch.allclose(quat_wxyz_to_matrix(3 * q), matrix)
    assert torch.allclose(quat_wxyz_to_rot6d_cols(3 * q), quat_wxyz_to_rot6d_cols(q))
    columns = torch.cat([matrix[..., :, 0], matrix[..., :, 1]], -1)
    assert torch.allclose(quat_wxyz_to_rot6d_cols(q), columns)


def test_rot6d_round_trip_and_gram_schmidt() -> None:
    matrix = quat_wxyz_to_matrix(unit_quats(7))
    a, b = matrix[..., 0], matrix[..., 1]
    assert torch.allclose(rot6d_cols_to_matrix(torch.cat([a, b], -1)), matrix)
    assert torch.allclose(rot6d_cols_to_matrix(torch.cat([2 * a, 0.5 * b - 3 * a], -1)), matrix)
    assert torch.equal(rot6d_cols_to_matrix(torch.zeros(2, 6)), torch.zeros(2, 3, 3)), "padding stays finite"


def test_between_takes_one_direction_to_the_other_by_the_smallest_angle() -> None:
    u, v = vectors(50), vectors(50, seed=3)
    q = quat_wxyz_between(u, v)
    turned = rotate_by_quat_wxyz(q, u)
    assert torch.allclose(turned / turned.norm(dim=-1, keepdim=True), v / v.norm(dim=-1, keepdim=True))
    assert torch.allclose(2 * q[:, 0].acos(), torch.cosine_similarity(u, v).acos()), "the angle between u and v"
    assert torch.allclose(quat_wxyz_between(5 * u, 0.1 * v), q)


def test_opposite_directions() -> None:
    u = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -2.0], [1.0, 0.0, 0.0]])
    v = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    q, guarded = quat_wxyz_between(u, v), quat_wxyz_between(u, v, UP)
    assert q[:2].isnan().all() and torch.equal(q[2], guarded[2])
    assert torch.equal(guarded[:2], torch.tensor([0.0, 0.0, 1.0, 0.0]).expand(2, 4))
    assert torch.equal(quat_wxyz_between(u, torch.zeros_like(v), UP)[0], torch.tensor([0.0, 0.0, 1.0, 0.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_leading_axes_any_layout_any_precision(dtype: torch.dtype) -> None:
    q, v = unit_quats(2, 3, 5).to(dtype), vectors(5).to(dtype)
    plain = rotate_by_quat_wxyz(q, v)
    assert plain.shape == (2, 3, 5, 3) and plain.dtype == dtype
    planes = component_planes(q)
    assert torch.equal(planes, q) and planes[..., 0].is_contiguous()
    assert torch.equal(rotate_by_quat_wxyz(planes, component_planes(v)), plain)
    assert quat_wxyz_between(v, v[:1]).dtype == quat_wxyz_to_rot6d_cols(q).dtype == dtype


@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_gradients_are_finite_without_rotation_and_at_half_a_turn(angle: float) -> None:
    q = torch.tensor([math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0], requires_grad=True)
    v = torch.tensor([0.3, -0.2, 0.9], requires_grad=True)
    total = rotate_by_quat_wxyz(q, v).sum() + rot6d_cols_to_matrix(quat_wxyz_to_rot6d_cols(q)).sum()
    total = total + quat_wxyz_to_matrix(q).sum() + quat_wxyz_between(v, torch.tensor([0.3, -0.2, 0.9])).sum()
    total.backward()
    assert q.grad is not None and v.grad is not None and q.grad.isfinite().all() and v.grad.isfinite().all()
