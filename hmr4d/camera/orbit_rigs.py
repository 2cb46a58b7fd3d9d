"""Virtual cameras for projecting 3D motion, with the published distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.geometry.cameras import orbit_camera
from hmr4d.utils.randomness import ItemRandom

DISTANCE = 4.5  # meters from the camera to the root
RANDOM_ELEVATION = 30.0  # degrees; random elevations are uniform within plus or minus this
RIG_ELEVATION = 5.0  # degrees


@dataclass(frozen=True)
class SingleCamera:
    """One camera at a random azimuth.

    Attributes:
        elevation: degrees; None: uniform in plus or minus RANDOM_ELEVATION.
        distance: meters.
    """

    elevation: float | None = None
    distance: float = DISTANCE

    num_views = 1

    def draw(self, rng: ItemRandom) -> tuple[Tensor, Tensor]:
        """T_w2c (1, 4, 4) and elevation (1,) in radians."""
        azimuth = rng.uniform(1) * 2 * math.pi
        elevation = _elevation(self.elevation, rng)
        return orbit_camera(azimuth, elevation, torch.tensor([self.distance])), elevation


@dataclass(frozen=True)
class OrbitRig:
    """V cameras around the person at one elevation.

    Attributes:
        num_views: V.
        is_uniform: evenly spaced; otherwise each view is random within the arc.
        max_angle: half the arc that the views share, degrees.
        azimuth: start azimuth in degrees; None: random. elevation: degrees; None: one random value for all views.
        distance: meters.
    """

    num_views: int = 4
    is_uniform: bool = True
    max_angle: float = 180.0
    azimuth: float | None = None
    elevation: float | None = RIG_ELEVATION
    distance: float = DISTANCE

    def draw(self, rng: ItemRandom) -> tuple[Tensor, Tensor]:
        """T_w2c (V, 4, 4) and elevation (1,) in radians."""
        arc = 2 * math.radians(self.max_angle)
        start = rng.uniform(1) * 2 * math.pi if self.azimuth is None else torch.tensor([math.radians(self.azimuth)])
        if self.is_uniform:
            angles = start + torch.arange(self.num_views) * (arc / self.num_views)
        else:
            angles = rng.uniform(self.num_views) * arc + start
        elevation = _elevation(self.elevation, rng)
        return orbit_camera(angles, elevation, torch.tensor([self.distance])), elevation


def _elevation(degrees: float | None, rng: ItemRandom) -> Tensor:
    if degrees is None:
        limit = math.radians(RANDOM_ELEVATION)
        return rng.uniform(1) * (2 * limit) - limit
    return torch.tensor([math.radians(degrees)])
