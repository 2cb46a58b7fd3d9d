"""How a set of views turns normalized 2D motion into local 3D motion and back."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.cameras import (
    camera_position_spherical,
    project_orthographic,
    project_pinhole,
    remove_intrinsics,
    world_to_camera,
)
from hmr4d.geometry.triangulation import triangulate_orthographic, triangulate_perspective
from hmr4d.representation.bbox import BOX_UNIT, bbox, largest_box, normalize_points
from hmr4d.utils.precision import full_precision

PATCH = 224  # pixels; side of the virtual image that boxes are cut from
FULL_TURN = 2.0 * torch.pi


class OrthographicViews:
    """Parallel projection; lengths in space are normalized box units, one unknown scale for the clip.

    Args:
        T_w2c: (B, V, 4, 4).
    """

    def __init__(self, T_w2c: Tensor) -> None:
        self.T_w2c = T_w2c

    @full_precision
    def lift(self, points2d: Tensor) -> Tensor:
        """(B, V, L, P, 2) box units -> (B, L, P, 3) by least squares over the views."""
        flat = triangulate_orthographic(points2d.flatten(2, 3), self.T_w2c)
        return flat.unflatten(1, points2d.shape[2:4])

    @full_precision
    def reproject(self, local: Tensor) -> Tensor:
        """(B, L, P, 3) -> (B, V, L, P, 2) box units."""
        flat = world_to_camera(local.flatten(1, 2)[:, None], self.T_w2c)[..., :2]
        return flat.unflatten(2, local.shape[1:3])


class PerspectiveViews:
    """Pinhole views of a square patch; a known box size ties image units to space.

    Args:
        T_w2c: (B, V, 4, 4).
        K: (B, V, 3, 3) pixels of the patch.
        box_size: (B,) box size in units of 200 pixels.
        lengths: (B,) valid frames; the root box of a frame beyond is the plain patch.
    """

    def __init__(self, T_w2c: Tensor, K: Tensor, box_size: Tensor, lengths: Tensor) -> None:
        self.T_w2c, self.K, self.box_size, self.lengths = T_w2c, K, box_size, lengths

    @full_precision
    def lift(self, points2d: Tensor) -> Tensor:
        """(B, V, L, P, 2) box units -> (B, L, P, 3) by the direct linear transform."""
        flat = triangulate_perspective(self.image_points(points2d).flatten(2, 3), self.T_w2c)
        return flat.unflatten(1, points2d.shape[2:4])

    def image_points(self, points2d: Tensor) -> Tensor:
        """(B, V, L, P, 2) box units -> points of the same shape on the image planes at unit depth."""
        scaled = points2d.flatten(2, 3) * (self.box_size * BOX_UNIT / PATCH)[:, None, None, None]
        pixels = (scaled + 1.0) * (PATCH / 2)
        return remove_intrinsics(pixels, self.K).unflatten(2, points2d.shape[2:4])

    @full_precision
    def reproject(self, local: Tensor) -> Tensor:
        """(B, L, P, 3) -> (B, V, L, P, 2) box units."""
        pixels = project_pinhole(world_to_camera(local.flatten(1, 2)[:, None], self.T_w2c), self.K)
        pixels = pixels.unflatten(2, local.shape[1:3])
        box = largest_box(bbox(pixels))  # (B, L, 3)
        box[..., 2] = self.box_size[:, None]
        beyond = torch.arange(local.shape[1], device=local.device) >= self.lengths[:, None]
        patch = box.new_tensor([PATCH / 2, PATCH / 2, PATCH / BOX_UNIT])
        return normalize_points(pixels, torch.where(beyond[..., None], patch, box)[:, None])


def project_views(local: Tensor, T_w2c: Tensor, K: Tensor, *, is_perspective: bool) -> Tensor:
    """Pixels (V, L, P, 2) of local points (L, P, 3) in views T_w2c (V, 4, 4), K (V, 3, 3)."""
    points_c = world_to_camera(local.flatten(0, 1)[None], T_w2c)
    pixels = (project_pinhole if is_perspective else project_orthographic)(points_c, K)
    return pixels.unflatten(1, local.shape[:2])


def embed_views(T_w2c: Tensor, scale: Tensor | float, *, relative: bool) -> Tensor:
    """Camera embedding (..., V, 5): polar angle, sin and cos of azimuth, radius, box scale.

    Args:
        T_w2c: (..., V, 4, 4).
        scale: the fifth number, broadcast.
        relative: True gives angle and radius differences to view 0, False absolute values.
    """
    polar, azimuth, radius = camera_position_spherical(T_w2c)
    if relative:
        polar = polar - polar[..., :1]
        azimuth = (azimuth - azimuth[..., :1]) % FULL_TURN
        radius = radius - radius[..., :1]
    scale = torch.as_tensor(scale, dtype=polar.dtype, device=polar.device).expand_as(polar)
    return torch.stack([polar, azimuth.sin(), azimuth.cos(), radius, scale], -1)
