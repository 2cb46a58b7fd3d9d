"""Floor points seen by the pixels of a calibrated camera (world: y up, floor y = 0, meters).

These are the ground pointmaps of Mocap-2-to-3 (arXiv 2503.03222, eq. 1: the floor as a plane in the camera). The paper
stores x, y and z at every pixel. Here a map is a coarse grid, a fourth channel marks the visible floor, and far points
are moved to `max_range`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.cameras import invert_rigid
from hmr4d.geometry.rigs import Rig, normalize

MIN_DESCENT = 1e-6  # meters that a ray must fall per meter of depth to intersect the floor
POINTMAP_UNIT = 10.0  # meters; unit of the points in network input
POINTMAP_CHANNELS = 4  # x, y, z, valid
TINY = 1e-9  # meters per meter of depth; keeps rays straight down finite
DEFAULT_GRID = 64
DEFAULT_RANGE = 30.0  # meters


def ground_pointmap(rig: Rig, grid: int | tuple[int, int] = DEFAULT_GRID, max_range: float = DEFAULT_RANGE) -> Tensor:
    """Pointmaps of all views of a rig: (..., V, 4, Hp, Wp) with channels x, y, z in tens of meters and valid; world.

    `grid` is the number of rows Hp and columns Wp, one number for both if they are equal. The pixels are the centers of
    the cells: u = (i + 1/2) W / Wp - 1/2, because the image reaches from -1/2 to W - 1/2. The ray of a pixel, r =
    ((u - cx) / fx, (v - cy) / fy, 1), leaves the center C of the camera in the direction R^T r and meets y = 0 at the
    depth -C_y / (R^T r)_y, in front of the camera if it falls.

    Points farther than `max_range` meters from the foot of their camera are moved toward it to that distance, so their
    direction is kept. Cells at or above the horizon are zero in all channels.
    """
    cells = (grid, grid) if isinstance(grid, int) else grid
    center, direction, depth, valid = _floor_rays(rig.K4, rig.size, rig.T_w2c, cells)
    x, _, z = direction.unbind(-1)
    depth = torch.minimum(depth, max_range / torch.hypot(x, z).clamp(min=TINY)) * valid
    x, z = (center[..., 0] * valid + depth * x, center[..., 2] * valid + depth * z)
    return torch.stack([x / POINTMAP_UNIT, torch.zeros_like(x), z / POINTMAP_UNIT, valid.to(depth.dtype)], -3)


def meet_floor(rig: Rig, pixels: Tensor, height: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Intersections of pixel rays with the plane y = height, for feet near the floor.

    Args:
        rig: (..., V, ...) cameras.
        pixels: (..., V, L, J, 2).
        height: meters over the floor, broadcast to (..., V, L, J).

    Returns:
        points (..., V, L, J, 3) in the world (the camera center if a ray does not reach the plane) and valid
        (..., V, L, J) bool.
    """
    rays = normalize(rig, pixels)
    T_c2w = invert_rigid(rig.T_w2c)[..., None, None, :, :]
    direction = rays[..., :1] * T_c2w[..., :3, 0] + rays[..., 1:] * T_c2w[..., :3, 1] + T_c2w[..., :3, 2]
    center = T_c2w[..., :3, 3]
    depth, valid = _meeting_depth(direction, center[..., 1] - height)
    return center + (depth * valid)[..., None] * direction, valid


def _floor_rays(
    K4: Tensor, size: Tensor, T_w2c: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rays of the cells of a grid: center (..., 1, 1, 3), direction (..., Hp, Wp, 3), depth and valid (..., Hp, Wp)."""
    u, v = ((p - K4[..., None, 2 + i]) / K4[..., None, i] for i, p in enumerate(_cells(size, grid)))
    T_c2w = invert_rigid(T_w2c)
    right, down, ahead, center = (T_c2w[..., None, None, :3, i] for i in range(4))
    direction = u[..., None, :, None] * right + (v[..., :, None, None] * down + ahead)
    depth, valid = _meeting_depth(direction, center[..., 1])
    return center, direction, depth, valid


def _meeting_depth(direction: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (...) at which rays (..., 3) have fallen by `height` (...) meters, and whether they ever have."""
    fall = -direction[..., 1]
    valid = (fall > MIN_DESCENT) & (height > 0)
    return height / torch.where(valid, fall, 1.0), valid


def _cells(size: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixels u (..., Wp) of the columns and v (..., Hp) of the rows of a grid."""
    rows, columns = (torch.arange(n, dtype=size.dtype, device=size.device) for n in grid)
    return (columns + 0.5) / grid[1] * size[..., :1] - 0.5, (rows + 0.5) / grid[0] * size[..., 1:] - 0.5
