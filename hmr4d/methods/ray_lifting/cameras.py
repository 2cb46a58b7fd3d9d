"""Random training cameras for a whole batch, with varied lens, height and roll, that see the person."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.camera.rig_samplers import SIZES
from hmr4d.geometry.rigs import Rig, camera_pose

STATURE, TALLEST = 1.7, 1.9  # meters; assumed mean and largest body height
LEAST_DEPTH = 0.6  # meters; smallest horizontal distance between camera and person in all frames


@dataclass(frozen=True)
class CameraVariety:
    """Distribution of the cameras.

    Attributes:
        sizes: image sizes, pixels.
        lens: field of view along the longer side of the image, degrees.
        height: height above the floor, meters, log-uniform.
        roll: bound of the roll in half of the cameras, degrees; the others have a roll of about 2 degrees or less.
        distance: distance, meters, log-uniform, limited so that the person is at least `least_pixels` tall and, in most
            cameras, fits into the image.
        least_pixels: smallest height of the person, pixels of an image with a shorter side of 1080.
        close_share: fraction of the cameras that may be too close for the whole person.
        aim: height above the floor of the optical axis at the position of the person, meters.
        pitch_error: standard deviation of the pitch around this aim, degrees.
    """

    sizes: tuple[tuple[int, int], ...] = SIZES
    lens: tuple[float, float] = (40.0, 120.0)
    height: tuple[float, float] = (0.4, 6.0)
    roll: float = 20.0
    distance: tuple[float, float] = (1.5, 14.0)
    least_pixels: float = 90.0
    close_share: float = 0.12
    aim: tuple[float, float] = (0.4, 1.3)
    pitch_error: float = 3.0


def _log_uniform(low: Tensor, high: Tensor, u: Tensor) -> Tensor:
    return low * (high / low).clamp(min=1.0) ** u


def place_before_cameras(joints3d: Tensor, variety: CameraVariety, generator: torch.Generator) -> tuple[Rig, Tensor]:
    """Draws cameras for motions (B, L, 22, 3), meters, around x = z = 0, and moves the motions in front of them.

    Returns:
        A rig (B, 1, ...), and joints3d (B, L, 22, 3), meters, in its world.
    """
    count = len(joints3d)
    u = torch.rand(10, count, generator=generator)
    normal = torch.randn(3, count, generator=generator)
    size = torch.tensor(variety.sizes, dtype=torch.float32)[(u[0] * len(variety.sizes)).long()]
    lens = torch.deg2rad(variety.lens[0] + (variety.lens[1] - variety.lens[0]) * u[1])
    focal = size.amax(-1) / 2 / (lens / 2).tan()
    bounds = torch.tensor(variety.height)
    height = _log_uniform(bounds[0], bounds[1], u[2])
    least = variety.least_pixels * size.amin(-1) / 1080
    nearest = (TALLEST * focal / size[:, 1]).clamp(min=variety.distance[0])
    nearest = torch.where(u[3] < variety.close_share, 0.6 * nearest, nearest).clamp(min=1.0)
    farthest = torch.maximum((STATURE * focal / least).clamp(max=variety.distance[1]), 1.1 * nearest)
    sight = _log_uniform(nearest, farthest, u[4])  # distance from the optical center
    aim = variety.aim[0] + (variety.aim[1] - variety.aim[0]) * u[5]
    reach = (sight.square() - (height - aim).square()).clamp(min=0.0).sqrt()
    reach = torch.maximum(reach, 0.45 * (height - aim).abs()).clamp(min=LEAST_DEPTH)
    half = torch.atan2(size[:, 0] / 2, focal)
    azimuth = half * 0.7 * (2 * u[6] - 1)
    ahead = torch.stack([azimuth.sin(), torch.zeros_like(azimuth), -azimuth.cos()], -1)
    nearness = -(joints3d * ahead[:, None, None]).sum(-1).amin((1, 2))
    reach = torch.maximum(reach, nearness + LEAST_DEPTH)
    joints3d = joints3d + (reach[:, None] * ahead)[:, None, None]
    pitch = torch.atan2(height - aim, reach * azimuth.cos()) + math.radians(variety.pitch_error) * normal[0]
    roll = torch.where(u[7] < 0.5, math.radians(variety.roll) * (2 * u[8] - 1), math.radians(1.5) * normal[1])
    zero = torch.zeros_like(height)
    T_w2c = camera_pose(pitch, roll, zero, torch.stack([zero, height, zero], -1))
    center = size * 0.5 + 0.02 * size * torch.stack([normal[2], 2 * u[9] - 1], -1)
    K4 = torch.cat([focal[:, None].expand(-1, 2), center], -1)
    return Rig(size[:, None], K4[:, None], T_w2c[:, None]), joints3d
