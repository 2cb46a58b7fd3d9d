"""Orbiting cameras, projection and its inverse.

World: right-handed, y up, meters. Camera: x right, y down, z forward (OpenCV). Angles are radians.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_DEPTH = 1e-6  # camera units; smaller depths are clamped before the perspective division


def orbit_camera(azimuth: Tensor, elevation: Tensor, distance: Tensor) -> Tensor:
    """World-to-camera transforms of cameras that look at the origin from a sphere around it.

    R_c2w = Ry(azimuth) Rx(elevation) diag(-1, -1, 1), with the camera placed at
    distance * (-sin az * |cos el|, sin el, -cos az * |cos el|).

    Args:
        azimuth, elevation: (...,) radians; elevation above the horizon is positive.
        distance: (...,) meters.

    Returns:
        T_w2c (..., 4, 4).
    """
    azimuth, elevation, distance = torch.broadcast_tensors(azimuth, elevation, distance)
    sa, ca, se, ce = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    zero = torch.zeros_like(sa)
    R_c2w = torch.stack(
        [
            torch.stack([-ca, -sa * se, sa * ce], -1),
            torch.stack([zero, -ce, -se], -1),
            torch.stack([sa, -ca * se, ca * ce], -1),
        ],
        -2,
    )
    position = distance[..., None] * torch.stack([-sa * ce.abs(), se, -ca * ce.abs()], -1)
    R_w2c = R_c2w.transpose(-1, -2)
    return rigid(R_w2c, -(R_w2c @ position[..., None])[..., 0])


def rigid(R: Tensor, t: Tensor) -> Tensor:
    """(..., 4, 4) transform from a rotation (..., 3, 3) and a translation (..., 3)."""
    T = R.new_zeros(*R.shape[:-2], 4, 4)
    T[..., :3, :3] = R
    T[..., :3, 3] = t
    T[..., 3, 3] = 1.0
    return T


def invert_rigid(T: Tensor) -> Tensor:
    """Inverse of rigid transforms (..., 4, 4), by transposition."""
    R = T[..., :3, :3].transpose(-1, -2)
    return rigid(R, -(R @ T[..., :3, 3:])[..., 0])


def camera_position_spherical(T_w2c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Polar angle from +y, azimuth atan2(z, x) and radius of the camera centers of T_w2c (..., 4, 4)."""
    x, y, z = invert_rigid(T_w2c)[..., :3, 3].unbind(-1)
    return torch.atan2((x * x + z * z).sqrt(), y), torch.atan2(z, x), (x * x + y * y + z * z).sqrt()


def square_intrinsics(size: int, *, like: Tensor | None = None) -> Tensor:
    """(3, 3) intrinsics of a square patch: focal length sqrt(2) * size, center in the middle, pixels."""
    reference = torch.empty(()) if like is None else like
    focal = math.sqrt(2.0 * size * size)
    return reference.new_tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])


def world_to_camera(points: Tensor, T_w2c: Tensor) -> Tensor:
    """Points (..., N, 3) in the frames of cameras (..., 4, 4); leading axes broadcast."""
    return points @ T_w2c[..., :3, :3].transpose(-1, -2) + T_w2c[..., None, :3, 3]


def project_pinhole(points_c: Tensor, K: Tensor) -> Tensor:
    """Pixels (..., N, 2) of camera-frame points (..., N, 3); depths under MIN_DEPTH in size are clamped to it."""
    depth = points_c[..., 2:]
    depth = torch.where(depth.abs() < MIN_DEPTH, torch.full_like(depth, MIN_DEPTH), depth)
    return apply_intrinsics(points_c[..., :2] / depth, K)


def project_orthographic(points_c: Tensor, K: Tensor) -> Tensor:
    """Pixels (..., N, 2) of camera-frame points (..., N, 3) when every depth counts as one."""
    return apply_intrinsics(points_c[..., :2], K)


def apply_intrinsics(points: Tensor, K: Tensor) -> Tensor:
    """Pixels (..., N, 2) of image-plane points (..., N, 2) at unit depth, K (..., 3, 3)."""
    return points @ K[..., :2, :2].transpose(-1, -2) + K[..., None, :2, 2]


def remove_intrinsics(pixels: Tensor, K: Tensor) -> Tensor:
    """Image-plane points (..., N, 2) at unit depth of pixels (..., N, 2), K (..., 3, 3) without skew."""
    focal = torch.stack([K[..., 0, 0], K[..., 1, 1]], -1)
    return (pixels - K[..., None, :2, 2]) / focal[..., None, :]
