"""Projection from the camera frame to pixels (eq. 3) with fixed focal length and centered principal point."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.utils.precision import full_precision

FOCAL_LENGTH = 5000.0  # pixels, for all cameras
EPSILON = 1e-6
MIN_DEPTH = 0.5  # meters; limit in training, because closer points would dominate a batch
MAX_SIDES = 10.0  # longer image sides; in training, points farther from the image center are ignored


@full_precision
def project(
    points: Tensor, size: Tensor, *, focal: float = FOCAL_LENGTH, min_depth: float = 0.0, max_sides: float | None = None
) -> tuple[Tensor, Tensor]:
    """Projects points in the camera frame to pixels.

    Args:
        points: (B, F, J, 3) meters, x right, y down, z forward.
        size: (B, 2) width and height of the image.
        focal: focal length, pixels.
        min_depth: smallest valid depth, meters.
        max_sides: largest valid distance from the image center, in longer image sides; None: no limit.

    Returns:
        Pixels (B, F, J, 2), 0 where invalid, and valid (B, F, J) bool. Invalid points have no gradient.
    """
    depth = points[..., 2]
    valid = depth > min_depth
    safe = torch.where(valid, depth, 1.0)  # before the division; otherwise gradients of invalid points would be NaN
    center = size[:, None, None] / 2
    pixels = focal * points[..., :2] / (safe[..., None] + EPSILON) + center
    if max_sides is not None:
        far = (pixels - center).abs().amax(-1) > max_sides * size.amax(-1)[:, None, None]
        valid = valid & ~far
    return torch.where(valid[..., None], pixels, 0.0), valid
