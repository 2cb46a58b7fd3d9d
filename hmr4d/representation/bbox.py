"""Image points relative to the root, in units of a bounding box of the body.

A box is (cx, cy, s): center in pixels and size in units of 200 pixels, so that normalized = 2 (p - c) / (200 s).
"""

from __future__ import annotations

import torch
from torch import Tensor

BOX_MARGIN = 1.2  # box side over twice the half extent; the largest normalized value is 1 / 1.2
BOX_UNIT = 200.0  # pixels per unit of box size


def bbox(points2d: Tensor, *, per_frame: bool = False) -> Tensor:
    """Boxes (..., L, 3) of tracks (..., L, J, 2) whose point 0 is the root, pixels.

    The half extent is the largest |p - root| over points and axes, and over the whole track unless `per_frame`.
    """
    center = points2d[..., :1, :]
    extent = (points2d - center).abs().amax((-1, -2))  # (..., L)
    if not per_frame:
        extent = extent.amax(-1, keepdim=True).expand_as(extent)
    return torch.cat([center[..., 0, :], (BOX_MARGIN * 2.0 / BOX_UNIT * extent)[..., None]], -1)


def fixed_box(points2d: Tensor, size: float) -> Tensor:
    """Boxes (..., L, 3) centered at the root of tracks (..., L, J, 2) with one given size."""
    center = points2d[..., 0, :]
    return torch.cat([center, torch.full_like(center[..., :1], size)], -1)


def largest_box(boxes: Tensor) -> Tensor:
    """Element-wise maximum (..., L, 3) over the views of boxes (..., V, L, 3)."""
    return boxes.amax(-3)


def normalize_points(points2d: Tensor, box: Tensor) -> Tensor:
    """Tracks (..., L, J, 2) in pixels to box units; boxes (..., L, 3) broadcast over leading axes."""
    return 2.0 * (points2d - box[..., None, :2]) / (BOX_UNIT * box[..., None, 2:])
