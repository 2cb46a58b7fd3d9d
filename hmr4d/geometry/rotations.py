"""Rotations in the forms that published features use: quaternions (w, x, y, z) and 6D columns.

A quaternion acts as v -> q v conj(q). `rot6d_cols` is the first column of the matrix, then its second. All functions
take any leading axes and broadcast. Results keep components in separate planes of memory: chained calls then run over
contiguous numbers, several times as fast as over interleaved ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.utils import lazy_roma as roma

ANTIPARALLEL_W = 1e-4  # with an exactly zero cross product: no axis of rotation is defined
MIN_QUAT_NORM = 1e-8  # keeps the division finite if an axis was inserted
SMALL_ANGLE = 1e-4  # radians, below which sine and cosine use the first terms of their series
MIN_COLUMN_NORM = 1e-8  # likewise for columns of zeros


def component_planes(x: Tensor) -> Tensor:
    """The same (..., C) values, each component contiguous in memory."""
    return x.movedim(-1, 0).contiguous().movedim(0, -1)


def multiply_quat_wxyz(q: Tensor, r: Tensor) -> Tensor:
    """Hamilton product q r of (..., 4): the rotation r, then q."""
    qw, qx, qy, qz = q.unbind(-1)
    rw, rx, ry, rz = r.unbind(-1)
    return _join(
        qw * rw - qx * rx - qy * ry - qz * rz,
        qw * rx + qx * rw + qy * rz - qz * ry,
        qw * ry - qx * rz + qy * rw + qz * rx,
        qw * rz + qx * ry - qy * rx + qz * rw,
    )


def conjugate_quat_wxyz(q: Tensor) -> Tensor:
    """Inverse of unit quaternions (..., 4); not divided by the norm."""
    w, x, y, z = q.unbind(-1)
    return _join(w, -x, -y, -z)


def rotate_by_quat_wxyz(q: Tensor, v: Tensor) -> Tensor:
    """Points v (..., 3) rotated by unit quaternions q (..., 4): v + 2 (w (u x v) + u x (u x v)), u = (x, y, z)."""
    w, u = q[..., :1], q[..., 1:]
    uv = _cross(u, v)
    return v + 2 * (w * uv + _cross(u, uv))


def quat_wxyz_between(u: Tensor, v: Tensor, antiparallel_axis: tuple[float, float, float] | None = None) -> Tensor:
    """Smallest rotation that takes the direction of u (..., 3) to that of v: (|u||v| + u.v, u x v), normalized.

    Args:
        u, v: vectors of any length except zero.
        antiparallel_axis: axis of the half turn for opposite directions, which do not determine it. None: NaN there.

    Returns:
        (..., 4) unit quaternions with w >= 0.
    """
    ux, uy, uz = u.unbind(-1)
    vx, vy, vz = v.unbind(-1)
    w = ((ux * ux + uy * uy + uz * uz) * (vx * vx + vy * vy + vz * vz)).sqrt() + (ux * vx + uy * vy + uz * vz)
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    if antiparallel_axis is None:
        norm = (w * w + x * x + y * y + z * z).sqrt()
    else:
        open_axis = (x == 0) & (y == 0) & (z == 0) & (w.abs() <= ANTIPARALLEL_W)
        x, y, z = (torch.where(open_axis, a, c) for a, c in zip(antiparallel_axis, (x, y, z), strict=True))
        norm = (w * w + x * x + y * y + z * z).sqrt().clamp(min=MIN_QUAT_NORM)
    return _join(w / norm, x / norm, y / norm, z / norm)


def quat_wxyz_to_matrix(q: Tensor) -> Tensor:
    """(..., 4), of any norm but zero, -> rotation matrices (..., 3, 3)."""
    return roma.unitquat_to_rotmat(roma.quat_wxyz_to_xyzw(q / q.norm(dim=-1, keepdim=True)))


def quat_wxyz_to_rot6d_cols(q: Tensor) -> Tensor:
    """(..., 4), of any norm but zero, -> (..., 6) = (R00, R10, R20, R01, R11, R21)."""
    w, x, y, z = q.unbind(-1)
    s = 2 / (w * w + x * x + y * y + z * z)
    xx, yy, zz = s * x * x, s * y * y, s * z * z
    xy, xz, yz = s * x * y, s * x * z, s * y * z
    wx, wy, wz = s * w * x, s * w * y, s * w * z
    return _join(1 - (yy + zz), xy + wz, xz - wy, xy - wz, 1 - (xx + zz), yz + wx)


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Axis times angle (..., 3) -> rotation matrices (..., 3, 3); values and gradients are finite at zero angle."""
    x, y, z = rotvec.unbind(-1)
    squared = x * x + y * y + z * z
    is_small = squared < SMALL_ANGLE**2
    safe = torch.where(is_small, 1.0, squared)
    angle = safe.sqrt()
    s = torch.where(is_small, 1 - squared / 6, angle.sin() / angle)
    c = torch.where(is_small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    xy, xz, yz = c * x * y, c * x * z, c * y * z
    sx, sy, sz = s * x, s * y, s * z
    xx, yy, zz = c * x * x, c * y * y, c * z * z
    planes = (1 - yy - zz, xy - sz, xz + sy, xy + sz, 1 - xx - zz, yz - sx, xz - sy, yz + sx, 1 - xx - yy)
    return torch.stack(planes, -1).unflatten(-1, (3, 3))


def rot6d_cols_to_matrix(rot6d_cols: Tensor) -> Tensor:
    """(..., 6), not necessarily orthonormal, -> rotation matrices (..., 3, 3) by Gram-Schmidt.

    Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019, arXiv 1812.07035.
    Rows of zeros, as padding has them, give zero matrices.
    """
    columns = rot6d_cols.unflatten(-1, (2, 3)).mT
    return roma.special_gramschmidt(columns, epsilon=MIN_COLUMN_NORM)  # pyright: ignore[reportArgumentType]


def _cross(u: Tensor, v: Tensor) -> Tensor:
    ux, uy, uz = u.unbind(-1)
    vx, vy, vz = v.unbind(-1)
    return _join(uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)


def _join(*planes: Tensor) -> Tensor:
    return torch.stack(planes).movedim(0, -1)
