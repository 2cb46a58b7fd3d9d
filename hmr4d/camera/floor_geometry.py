"""Geometry of a camera over a flat floor, in NumPy, for fits of its tilt and height.

The camera has x right, y down and z forward; `up` (3,) is the direction of the vertical in it. Pixels are those of a
pinhole camera; K4 is (4,) fx, fy, cx, cy. All arrays are float64, lengths are meters.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.geometry.rigs import camera_angles

Array = NDArray[np.float64]

BELOW_HORIZON = 1e-6  # meters that a ray must fall per meter to meet the floor


def up_in_camera(pitch: float, roll: float) -> Array:
    """(3,) up in the camera."""
    return np.array([math.sin(roll) * math.cos(pitch), -math.cos(roll) * math.cos(pitch), -math.sin(pitch)])


def angles_of_up(up: Array) -> tuple[float, float]:
    """Pitch and roll, radians; the inverse of `up_in_camera`."""
    return math.asin(float(np.clip(-up[2], -1, 1))), math.atan2(up[0], -up[1])


def rays_of(pixels: Array, K4: Array) -> Array:
    """(..., 3) directions at unit depth of pixels (..., 2)."""
    return np.concatenate([(pixels - K4[2:]) / K4[:2], np.ones((*pixels.shape[:-1], 1))], -1)


def pixels_of(points: Array, K4: Array) -> Array:
    """(..., 2) pixels of points (..., 3) in the camera; NaN behind it."""
    depth = np.where(points[..., 2:] > BELOW_HORIZON, points[..., 2:], np.nan)
    return points[..., :2] / depth * K4[:2] + K4[2:]


def at_height(rays: Array, up: Array, height: Array | float) -> Array:
    """(..., 3) points on rays `height` (...) meters below the camera; NaN for rays that do not fall."""
    fall = -(rays @ up)
    return rays * (height / np.where(fall > BELOW_HORIZON, fall, np.nan))[..., None]


def points_above(rays: Array, up: Array, height: float, heights: Array) -> Array:
    """(N, 3) points vertically above those on rays; heights (N, 2) of the lower and upper points."""
    return at_height(rays, up, height - heights[:, 0]) + (heights[:, 1:] - heights[:, :1]) * up


def height_of_uprights(low: Array, high: Array, heights: Array, up: Array) -> float:
    """Median camera height from upright objects between two rays, each solved separately; NaN without any.

    With a the lower ray cut at one meter below the camera and g the gap to the upper point, high x (m a + g up) = 0.
    """
    a = at_height(low, up, 1.0)
    across_a, across_up = np.cross(high, a), np.cross(high, np.broadcast_to(up, high.shape))
    gap = heights[:, 1] - heights[:, 0]
    below = -gap * (across_a * across_up).sum(-1) / (across_a**2).sum(-1)
    found = (below + heights[:, 0])[np.isfinite(below)]
    return float(np.median(found)) if len(found) else math.nan


def off_line_pixels(lines: Array, direction: Array, K4: Array) -> Array:
    """(N,) pixels between the ends of lines (N, 2, 2) and the lines from their middles to a vanishing point."""
    vanishing = np.array(
        [K4[0] * direction[0] + K4[2] * direction[2], K4[1] * direction[1] + K4[3] * direction[2], direction[2]]
    )
    middle = np.concatenate([lines.mean(1), np.ones((len(lines), 1))], 1)
    through = np.cross(middle, vanishing)
    end = np.concatenate([lines[:, 0], np.ones((len(lines), 1))], 1)
    return (through * end).sum(-1) / np.maximum(np.linalg.norm(through[:, :2], axis=1), 1e-12)


def planes_of(lines: Array, K4: Array) -> Array:
    """(N, 3) unit normals of the planes through the camera and lines (N, 2, 2)."""
    rays = rays_of(lines, K4)
    normals = np.cross(rays[:, 0], rays[:, 1])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def level_axes(up: Array) -> tuple[Array, Array]:
    """Two level unit directions at a right angle, the first one ahead."""
    ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
    if np.linalg.norm(ahead) < 1e-6:
        ahead = np.array([0.0, -1.0, 0.0]) + up[1] * up
    ahead = ahead / np.linalg.norm(ahead)
    return ahead, np.asarray(np.cross(ahead, up), np.float64)


def level_direction(up: Array, bearing: float) -> Array:
    """(3,) unit horizontal direction at a bearing, radians to the right of ahead."""
    ahead, right = level_axes(up)
    return math.cos(bearing) * ahead + math.sin(bearing) * right


def bearing(lines: Array, up: Array, K4: Array) -> float:
    """Best common horizontal direction of parallel lines (M, 2, 2), in radians from ahead."""
    axes = np.stack(level_axes(up))
    direction = np.linalg.svd(planes_of(lines, K4) @ axes.T)[2][-1]
    return math.atan2(direction[1], direction[0])


def pose_of_homography(pixels: Array, floor: Array, K4: Array) -> tuple[Array, bool]:
    """Pitch, roll, height, yaw, x and z of the camera, and whether the axes of the floor are mirrored."""
    center, scale = floor.mean(0), float(np.abs(floor - floor.mean(0)).max())
    a, b = ((floor - center) / scale).T
    x, y, _ = rays_of(pixels, K4).T
    zero, one = np.zeros_like(a), np.ones_like(a)
    rows = [[a, b, one, zero, zero, zero, -x * a, -x * b, -x], [zero, zero, zero, a, b, one, -y * a, -y * b, -y]]
    H = np.linalg.svd(np.concatenate([np.stack(r, -1) for r in rows]))[2][-1].reshape(3, 3)
    H = H * (np.sign((H[2] @ np.stack([a, b, one])).sum()) / np.sqrt(np.linalg.norm(H[:, 0]) * np.linalg.norm(H[:, 1])))
    U, _, Vh = np.linalg.svd(np.stack([H[:, 0], H[:, 1], np.cross(H[:, 0], H[:, 1])], -1))
    R = U @ np.diag([1, 1, np.linalg.det(U @ Vh)]) @ Vh
    position = -R.T @ H[:, 2] * scale  # of the camera along the axes of the floor and their normal
    mirrored = bool(position[2] < 0)
    if mirrored:
        R, position = R * (1, -1, -1), position * (1, -1, -1)
        center = center * (1, -1)
    R_w2c = torch.from_numpy(np.stack([R[:, 0], R[:, 2], -R[:, 1]], -1))
    pitch, roll, yaw = (float(angle) for angle in camera_angles(R_w2c))
    return np.array([pitch, roll, position[2], yaw, position[0] + center[0], -(position[1] + center[1])]), mirrored
