"""Conversions of rotations with the same numerical results as the library torchgeometry 0.1.2.

The 276 features and their programs use these formulas. They differ from the exact ones by about 1e-6 (an axis that is
slightly too short) and by the sign near half turns. All other code uses roma.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL_SQUARED = 1e-6  # square radians; smaller rotations use the first order
AXIS_EPS = 1e-6  # radians, added to the divisor of a rotation vector
DIAGONAL_EPS = 1e-6  # smaller R22 selects the first two branches of the quaternion
MIN_COLUMN_NORM = 1e-12  # shorter columns are divided by this


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 3, 3): c I + (1 - c) w w^T + s [w]x with w = v / (|v| + 1e-6), or I + [v]x if small."""
    squared = axis_angle.square().sum(-1)[..., None, None]
    angle = squared.sqrt()
    axis = axis_angle / (angle[..., 0] + AXIS_EPS)
    one = torch.eye(3).to(axis_angle)
    cos, sin = angle.cos(), angle.sin()
    turned = cos * one + (1 - cos) * axis[..., :, None] * axis[..., None, :] + sin * _cross_matrix(axis)
    return torch.where(squared > SMALL_SQUARED, turned, one + _cross_matrix(axis_angle))


def matrix_to_quat_wxyz(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 4), of any sign; the matrix is not made orthonormal first."""
    r00, r11, r22 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    x, y, z = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    a, b, c = R[..., 0, 1] + R[..., 1, 0], R[..., 0, 2] + R[..., 2, 0], R[..., 1, 2] + R[..., 2, 1]
    t = (1 + r00 - r11 - r22, 1 - r00 + r11 - r22, 1 - r00 - r11 + r22, 1 + r00 + r11 + r22)
    parts = ((x, t[0], a, b), (y, a, t[1], c), (z, b, c, t[2]), (t[3], x, y, z))
    choices = torch.stack([torch.stack(q, -1) for q in parts]) * (0.5 / torch.stack(t).sqrt())[..., None]
    low = torch.where(r00 > r11, 0, 1)
    high = torch.where(r00 < -r11, 2, 3)
    which = torch.where(r22 < DIAGONAL_EPS, low, high)
    return choices.gather(0, which[None, ..., None].expand(1, *which.shape, 4))[0]


def quat_wxyz_to_axis_angle(q: Tensor) -> Tensor:
    """(..., 4) -> (..., 3) radians, of length up to pi; NaN becomes 0."""
    w, axis = q[..., 0], q[..., 1:]
    sine = axis.norm(dim=-1)
    angle = 2 * torch.where(w < 0, torch.atan2(-sine, -w), torch.atan2(sine, w))
    factor = torch.where(sine > 0, angle / sine, 2.0)
    return (factor[..., None] * axis).nan_to_num(nan=0.0, posinf=float("inf"), neginf=float("-inf"))


def matrix_to_axis_angle(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3) radians."""
    return quat_wxyz_to_axis_angle(matrix_to_quat_wxyz(R))


def axis_angle_to_quat_wxyz(axis_angle: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 4): (cos(t/2), v sin(t/2) / t), and (1, v/2) for no rotation."""
    angle = axis_angle.norm(dim=-1, keepdim=True)
    factor = torch.where(angle > 0, (angle / 2).sin() / angle, 0.5)
    return torch.cat([(angle / 2).cos(), factor * axis_angle], -1)


def matrix_to_rot6d_block(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6): its first two columns as a (3, 2) block, row by row; not made orthonormal.

    The order is R00, R01, R10, R11, R20, R21.
    """
    return R[..., :2].flatten(-2)


def rot6d_block_to_matrix(rot6d_block: Tensor) -> Tensor:
    """(..., 6) in the order of `matrix_to_rot6d_block` -> (..., 3, 3) by Gram-Schmidt; columns of zeros stay zero."""
    a, b = rot6d_block.unflatten(-1, (3, 2)).unbind(-1)
    first = _unit(a)
    second = _unit(b - (first * b).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp(min=MIN_COLUMN_NORM)


def _cross_matrix(v: Tensor) -> Tensor:
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
