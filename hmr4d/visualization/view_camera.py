"""The rendering camera: a NumPy pinhole with a fixed direction that follows the figure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

THREE_QUARTER = math.radians(34)  # azimuth from straight in front of a figure towards its left, radians
ELEVATION = math.radians(13)
_NEAREST = 0.2  # meters; points closer than this are not drawn


@dataclass(frozen=True)
class PinholeView:
    """A calibrated camera.

    Attributes:
        K: (3, 3) intrinsics, pixels.
        T_w2c: (4, 4) world to camera.
        size: (width, height) of its images, pixels.
    """

    K: NDArray[np.float64]
    T_w2c: NDArray[np.float64]
    size: tuple[int, int]

    @staticmethod
    def of(K: ArrayLike | torch.Tensor, T_w2c: ArrayLike | torch.Tensor, size: tuple[int, int]) -> PinholeView:
        """A camera from arrays or tensors.

        Raises:
            ValueError: a shape is wrong, a value is not finite, or the size is not positive.
        """
        arrays = [np.asarray(torch.as_tensor(x).detach().cpu(), np.float64) for x in (K, T_w2c)]
        for name, array, shape in zip(("K", "T_w2c"), arrays, ((3, 3), (4, 4)), strict=True):
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(
                    f"{name} must be {shape} finite numbers but has shape {array.shape}: {array.tolist()}."
                )
        if min(size) < 1:
            raise ValueError(f"size is {tuple(size)} but an image needs at least one pixel in width and height.")
        return PinholeView(arrays[0], arrays[1], size)

    def finer(self, samples: int) -> PinholeView:
        """The same camera with `samples` times the resolution in both directions."""
        scale = np.diag([samples, samples, 1.0])
        return PinholeView(scale @ self.K, self.T_w2c, (self.size[0] * samples, self.size[1] * samples))


@dataclass(frozen=True)
class ViewCamera:
    """Pinhole camera with a fixed direction and a fixed offset from a followed point on the floor.

    Camera axes are x right, y down, z forward; the pixel origin is the top left corner.

    Attributes:
        R_w2c: (3, 3) world to camera rotation.
        position: (3,) meters, camera center minus the followed floor point.
        focal: focal length, pixels.
        center: (2,) principal point, pixels.
    """

    R_w2c: NDArray[np.float64]
    position: NDArray[np.float64]
    focal: float
    center: tuple[float, float]

    def project(self, points3d: NDArray[np.floating], followed: NDArray[np.floating]) -> NDArray[np.float64]:
        """Projects world points (..., 3) while the camera follows (x, z): (..., 3) u, v in pixels and depth in meters.

        Points behind the camera get the smallest depth and meaningless u and v; check `visible` before use.
        """
        offset = np.array([followed[0], 0.0, followed[1]]) + self.position
        camera = (points3d - offset) @ self.R_w2c.T
        depth = np.maximum(camera[..., 2], _NEAREST)
        u = self.center[0] + self.focal * camera[..., 0] / depth
        v = self.center[1] + self.focal * camera[..., 1] / depth
        return np.stack([u, v, depth], axis=-1)

    @staticmethod
    def visible(projected: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether projected points (..., 3) are in front of the camera: (...) bool."""
        return projected[..., 2] > _NEAREST

    def pinhole(self, followed: NDArray[np.floating], size: tuple[int, int]) -> PinholeView:
        """The calibrated camera at the followed point (x, z), for images of (width, height) pixels."""
        K = np.array([[self.focal, 0.0, self.center[0]], [0.0, self.focal, self.center[1]], [0.0, 0.0, 1.0]])
        T_w2c = np.eye(4)
        T_w2c[:3, :3] = self.R_w2c
        T_w2c[:3, 3] = -self.R_w2c @ (np.array([followed[0], 0.0, followed[1]]) + self.position)
        return PinholeView(K, T_w2c, size)

    def floor_map(self, size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Floor x and z (H, W) of each pixel, meters, relative to the followed point; inf above the horizon."""
        width, height = size
        u, v = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
        rays = np.stack(
            [(u - self.center[0]) / self.focal, (v - self.center[1]) / self.focal, np.ones_like(u)], axis=-1
        )
        rays = rays @ self.R_w2c.astype(np.float32)
        down = np.where(rays[..., 1] < -1e-6, -rays[..., 1], np.nan)
        reach = float(self.position[1]) / down
        x, z = float(self.position[0]) + reach * rays[..., 0], float(self.position[2]) + reach * rays[..., 2]
        return np.nan_to_num(x, nan=np.inf), np.nan_to_num(z, nan=np.inf)


def smooth_follow(root: NDArray[np.floating], fps: float, seconds: float = 0.6) -> NDArray[np.float64]:
    """Smoothed x and z (L, 2) of a root path (L, 3), meters, for a smooth camera motion."""
    floor = np.asarray(root, dtype=np.float64)[:, [0, 2]]
    return gaussian_filter1d(floor, sigma=max(seconds * fps, 0.1), axis=0, mode="nearest")


def fit_camera(
    points3d: NDArray[np.floating],
    *,
    azimuth: float,
    elevation: float,
    frame: tuple[float, float, float, float],
    fov: float = math.radians(30),
) -> ViewCamera:
    """The closest camera in a given direction that keeps all points inside a rectangle of the image.

    Args:
        points3d: (N, 3) meters, relative to the followed floor point, over the whole clip.
        azimuth: direction of the camera position, angle about +y from +z, radians.
        elevation: angle of the camera above the horizon, radians; positive.
        frame: left, top, right, bottom of the rectangle, pixels.
        fov: vertical field of view of the rectangle, radians.
    """
    left, top, right, bottom = frame
    half = np.array([(right - left) / 2, (bottom - top) / 2])
    focal = float(half[1] / math.tan(fov / 2))
    towards = np.array(
        [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
    )
    forward = -towards
    x_axis = np.cross(forward, [0.0, 1.0, 0.0])
    x_axis /= np.linalg.norm(x_axis)
    rotation = np.stack([x_axis, np.cross(forward, x_axis), forward])
    camera = points3d @ rotation.T
    # The rectangle is centered on the root horizontally and on the extent of the figure vertically.
    middle_down = (camera[:, 1].min() + camera[:, 1].max()) / 2
    camera = camera - [0.0, middle_down, 0.0]
    needed = np.abs(camera[:, :2]) * focal / half - camera[:, 2:]
    distance = max(float(needed.max()), 1.0)
    position = rotation.T @ np.array([0.0, middle_down, -distance])
    position[1] = max(position[1], 0.1)
    return ViewCamera(R_w2c=rotation, position=position, focal=focal, center=((left + right) / 2, (top + bottom) / 2))
