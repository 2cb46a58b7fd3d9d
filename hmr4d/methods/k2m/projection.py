"""The body in the frame of the camera to pixels (eq. 3): fixed focal length, principal point in the middle."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.utils.precision import full_precision

FOCAL_LENGTH = 5000.0  # pixels, whatever camera it was
EPSILON = 1e-6
MIN_DEPTH = 0.5  # metres, in training: nearer points would outweigh a whole batch
MAX_SIDES = 10.0  # points further from the middle than so many sides of the image do not count, in training


@full_precision
def project(
    points: Tensor, size: Tensor, *, focal: float = FOCAL_LENGTH, min_depth: float = 0.0, max_sides: float | None = None
) -> tuple[Tensor, Tensor]:
    """Pixels of points in the frame of the camera.

    Args:
        points: (B, F, J, 3) metres, x right, y down, z away from the camera.
        size: (B, 2) width and height of the image.
        focal: pixels.
        min_depth: points must be further away, metres.
        max_sides: points must be nearer to the middle of the image, in longer sides; None: anywhere.

    Returns:
        (B, F, J, 2) pixels, 0 where not valid, and valid (B, F, J) bool. Points that are not valid have no gradient.
    """
    depth = points[..., 2]
    valid = depth > min_depth
    safe = torch.where(valid, depth, 1.0)  # before the division, or gradients of bad points are NaN
    center = size[:, None, None] / 2
    pixels = focal * points[..., :2] / (safe[..., None] + EPSILON) + center
    if max_sides is not None:
        far = (pixels - center).abs().amax(-1) > max_sides * size.amax(-1)[:, None, None]
        valid = valid & ~far
    return torch.where(valid[..., None], pixels, 0.0), valid
