"""Rotated square regions of an image: input of a network, and the mapping back to image pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

_MOST_REDUCED = 16  # maximum downscaling before the rotation


@dataclass(frozen=True)
class Region:
    """A square in an image.

    Attributes:
        u, v: center in image pixels; the first pixel reaches from 0 to 1.
        size: side, pixels.
        angle: rotation relative to the image in radians, clockwise as displayed.
    """

    u: float
    v: float
    size: float
    angle: float = 0.0

    @classmethod
    def around(cls, middle: Array, rim: Array, scale: float) -> Region:
        """The square around a person.

        Args:
            middle: (2,) pixels between the hips.
            rim: (2,) pixels of a point on the circle around the whole person, above the head.
            scale: side of the square over the diameter of that circle.
        """
        across, down = rim - middle
        angle = math.remainder(math.pi / 2 - math.atan2(-down, across), 2 * math.pi)
        return cls(float(middle[0]), float(middle[1]), 2 * scale * math.hypot(across, down), angle)

    @property
    def axes(self) -> Array:
        """(2, 2) vectors of the square's right and down in image pixels, with the length of its side."""
        across, down = self.size * math.cos(self.angle), self.size * math.sin(self.angle)
        return np.array([[across, down], [-down, across]])

    def to_picture(self, shares: Array) -> Array:
        """(..., 2) pixels of positions (..., 2) given as fractions of the side, from the upper left corner."""
        return (shares - 0.5) @ self.axes + (self.u, self.v)

    def overlap(self, other: Region) -> float:
        """Intersection over union, ignoring rotations."""
        sides = [
            min(a + self.size / 2, b + other.size / 2) - max(a - self.size / 2, b - other.size / 2)
            for a, b in ((self.u, other.u), (self.v, other.v))
        ]
        shared = max(sides[0], 0.0) * max(sides[1], 0.0)
        return shared / (self.size**2 + other.size**2 - shared)


def cut_out(picture: Image.Image, region: Region, side: int) -> NDArray[np.uint8]:
    """(side, side, 3) content of a region; black outside the image.

    A larger image is first downscaled by averaging to avoid aliasing.
    """
    corners = region.to_picture(np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float64))
    low = np.maximum(np.floor(corners.min(0)) - 1, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)) + 1, picture.size).astype(int)
    if (high - low < 1).any():
        return np.zeros((side, side, 3), np.uint8)
    factor = int(np.clip(region.size / side, 1, _MOST_REDUCED))
    part = picture.crop((*low.tolist(), *high.tolist()))
    if factor > 1:
        part = part.reduce(factor)
    right, down = region.axes / side / factor
    start = (region.to_picture(np.zeros(2)) - low) / factor
    coefficients = (right[0], down[0], start[0], right[1], down[1], start[1])
    turned = part.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(turned)
