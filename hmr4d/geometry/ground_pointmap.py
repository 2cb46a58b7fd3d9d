"""Where on the floor every pixel of a calibrated camera looks (world: y up, floor y = 0, metres)."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.cameras import invert_rigid
from hmr4d.geometry.rigs import Rig

MIN_DESCENT = 1e-6  # metres that a ray must fall per metre of depth to meet the floor
POINTMAP_UNIT = 10.0  # metres; maps tell points to networks in this unit
POINTMAP_CHANNELS = 4  # x, y, z, valid
DEFAULT_GRID = 64
DEFAULT_RANGE = 30.0  # metres


def pixel_grid(size: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., Hp, Wp, 2) pixels in the middle of the cells of a grid over images of `size` (..., 2) = (W, H).

    u = (i + 1/2) W / Wp - 1/2: the image reaches from -1/2 to W - 1/2.
    """
    rows, columns = grid
    u = (torch.arange(columns, dtype=size.dtype, device=size.device) + 0.5) / columns
    v = (torch.arange(rows, dtype=size.dtype, device=size.device) + 0.5) / rows
    unit = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)
    return unit * size[..., None, None, :] - 0.5


def ground_points(
    K4: Tensor, size: Tensor, T_w2c: Tensor, grid: tuple[int, int] = (DEFAULT_GRID, DEFAULT_GRID)
) -> tuple[Tensor, Tensor]:
    """Points of the floor that the cells of a grid over the image look at.

    A pixel's ray r = ((u - cx) / fx, (v - cy) / fy, 1) leaves the centre C in the direction R^T r and meets y = 0 at
    depth -C_y / (R^T r)_y, in front of the camera when it falls.

    Args:
        K4: (..., 4) fx, fy, cx, cy in pixels.
        size: (..., 2) width and height in pixels.
        T_w2c: (..., 4, 4).
        grid: rows Hp and columns Wp.

    Returns:
        points (..., Hp, Wp, 3) in the world, zero where there are none, and valid (..., Hp, Wp) bool.
    """
    rays = (pixel_grid(size, grid) - K4[..., None, None, 2:]) / K4[..., None, None, :2]
    T_c2w = invert_rigid(T_w2c)
    R = T_c2w[..., None, None, :3, :3]
    centre = T_c2w[..., None, None, :3, 3]
    direction = rays[..., :1] * R[..., 0] + rays[..., 1:] * R[..., 1] + R[..., 2]
    fall = -direction[..., 1]
    valid = (fall > MIN_DESCENT) & (centre[..., 1] > 0)
    depth = centre[..., 1] / torch.where(valid, fall, torch.ones_like(fall))
    points = centre + depth[..., None] * direction
    on_floor = points.new_tensor([1.0, 0.0, 1.0])
    return torch.where(valid[..., None], points * on_floor, torch.zeros_like(points)), valid


def ground_pointmap(rig: Rig, grid: int = DEFAULT_GRID, max_range: float = DEFAULT_RANGE) -> Tensor:
    """Pointmaps of all views of a rig: (..., V, 4, grid, grid) with channels x, y, z in tens of metres and valid.

    Points farther than `max_range` metres from the foot of their camera are moved towards it to that distance; their
    direction still says something. Cells at or above the horizon are zero in all channels.
    """
    points, valid = ground_points(rig.K4, rig.size, rig.T_w2c, (grid, grid))
    foot = rig.centres * rig.T_w2c.new_tensor([1.0, 0.0, 1.0])
    away = points - foot[..., None, None, :]
    distance = away.norm(dim=-1, keepdim=True)
    clipped = foot[..., None, None, :] + away * (max_range / distance.clamp(min=max_range))
    channels = torch.cat([clipped / POINTMAP_UNIT, torch.ones_like(distance)], -1) * valid[..., None]
    return channels.movedim(-1, -3)
