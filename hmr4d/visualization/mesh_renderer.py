"""Mesh rendering in NumPy: shaded anti-aliased images on any background, and depth maps.

Cameras follow OpenCV: x right, y down, z forward, `T_w2c` from world to camera, pixels from the top left corner. The
center of the pixel in row i and column j is (j + 0.5, i + 0.5), as in `geometry.cameras`; if a calibration has the
center of the first pixel at (0, 0), add 0.5 to its principal point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from hmr4d.geometry.cameras import project_pinhole, world_to_camera
from hmr4d.visualization.figure_style import SIDE_COLORS
from hmr4d.visualization.pixels import (
    INK,
    LIGHT,
    OUTLINE,
    Pixels,
    covered_words,
    lit_color,
    over,
    to_image,
    to_pixels,
)
from hmr4d.visualization.rasterizer import Visible, face_planes, rasterize
from hmr4d.visualization.view_camera import PinholeView

NEAREST = 0.02  # meters; default near plane
SAMPLES = 2  # samples per pixel and direction
_RIM_STRENGTH = 0.5
_RIM_GAP = 0.05  # meters; smallest depth step between neighbors with a dark rim on the farther one
_TOWARDS_LIGHT = LIGHT * (1.0, 1.0, -1.0)  # camera coordinates


class MeshRenderer:
    """Renders a mesh with fixed faces.

    Args:
        faces: (F, 3) vertex indices, counter-clockwise when seen from outside; back faces are not drawn.
        colors: red, green, blue from 0 to 255, (V, 3) per vertex or (3,) for all.
    """

    def __init__(self, faces: ArrayLike | torch.Tensor, colors: ArrayLike = SIDE_COLORS["center"]) -> None:
        self.faces = np.asarray(torch.as_tensor(faces).cpu(), np.int64)
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise ValueError(f"faces has shape {self.faces.shape} but must be (F, 3) vertex indices.")
        self.colors = np.asarray(colors, np.float32)
        self._sum_faces: csr_array | None = None

    def depth(
        self,
        vertices: ArrayLike | torch.Tensor,
        view: PinholeView,
        *,
        both_sides: bool = False,
        nearest: float = NEAREST,
        linear_in_picture: bool = False,
    ) -> NDArray[np.float32]:
        """Depth map (H, W): meters along the camera's z axis to the nearest face at each pixel center; inf without a
        face.

        Args:
            vertices: (V, 3) meters, world.
            view: the camera.
            both_sides: also render back faces.
            nearest: near plane, meters.
            linear_in_picture: interpolate depth linearly in the image, as some published renderers do, instead of
                linearly on the face.

        Raises:
            ValueError: the vertices have the wrong shape, are too few for the faces, or are not finite.
        """
        points_c = self._camera_points(vertices, view)
        points_c, faces, _ = clip_near(points_c, self.faces, np.zeros((len(points_c), 0), np.float32), nearest)
        points = _project(points_c, view)
        seen = rasterize(points, faces, view.size, both_sides=both_sides)
        left, top, right, bottom = seen.box
        depth = 1.0 / seen.inverse_depth
        if linear_in_picture:
            corners = points[faces[seen.faces]]
            u, v = seen.centers()
            a, b, c = face_planes(corners, corners[..., 2:])[..., 0].T
            depth = (a * u + b * v + c).astype(np.float32)
        picture = np.full((view.size[1], view.size[0]), np.inf, np.float32)
        picture[top:bottom, left:right] = _image(seen, depth, np.inf)
        return picture

    def draw(
        self, pixels: Pixels, vertices: ArrayLike | torch.Tensor, view: PinholeView, *, opacity: float = 1.0
    ) -> None:
        """Draws the mesh onto (H, W) packed pixels, in place; the light is behind the viewer's left shoulder.

        Args:
            pixels: packed pixels (module `pixels`) of the size of the view.
            vertices: (V, 3) meters, world.
            view: the camera.
            opacity: 0 to 1; below 1 the background shows through.

        Raises:
            ValueError: vertices or image have the wrong shape, or values are not finite.
        """
        check_picture(pixels, view)
        fine = view.finer(SAMPLES)
        points_c = self._camera_points(vertices, fine)
        shades = self._shades(points_c)
        points_c, faces, shades = clip_near(points_c, self.faces, shades)
        points = _project(points_c, fine)
        seen = rasterize(points, faces, fine.size)
        if len(seen.pixels) == 0:
            return
        layer = _layer(seen, _interpolate(seen, points, faces, shades), view)
        patch = pixels[layer.top : layer.top + layer.cover.shape[0], layer.left : layer.left + layer.cover.shape[1]]
        patch[...] = over(patch, covered_words(layer.colors * opacity, layer.cover * opacity))

    def overlay(
        self,
        picture: NDArray[np.uint8],
        vertices: ArrayLike | torch.Tensor,
        view: PinholeView,
        *,
        opacity: float = 0.85,
    ) -> NDArray[np.uint8]:
        """A copy of an image (H, W, 3) from 0 to 255 with the mesh drawn on it; for the other arguments see `draw`."""
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"picture is {picture.shape} of {picture.dtype} but must be (H, W, 3) of uint8.")
        from PIL import Image

        pixels = to_pixels(Image.fromarray(picture))
        self.draw(pixels, vertices, view, opacity=opacity)
        return np.asarray(to_image(pixels))

    def shadow(self, places: NDArray[np.floating], size: tuple[int, int], strength: int) -> NDArray[np.uint8]:
        """Shadow mask (h, w) in an image of `size` (width, height): `strength` where the mesh with vertices at
        `places` (V, 2 or more: u, v) covers it."""
        points = np.insert(places[:, :2], 2, 1.0, axis=1)
        seen = rasterize(points, self.faces, size, both_sides=True)
        mask = np.zeros((size[1], size[0]), np.uint8)
        left, top, right, bottom = seen.box
        mask[top:bottom, left:right] = _image(seen, np.full(len(seen.pixels), strength, np.uint8), 0)
        return mask

    # ------------------------------------------------------------------------------------------------------------------

    def _camera_points(self, vertices: ArrayLike | torch.Tensor, view: PinholeView) -> NDArray[np.float32]:
        """Validated vertices (V, 3) in camera coordinates."""
        points = torch.as_tensor(vertices).detach().to("cpu", torch.float32)
        needed = int(self.faces.max()) + 1 if self.faces.size else 0
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < needed:
            raise ValueError(f"vertices has shape {tuple(points.shape)}, the faces need at least ({needed}, 3).")
        if not points.isfinite().all():
            bad = int(torch.nonzero(~points.isfinite())[0, 0])
            raise ValueError(f"Vertex {bad} is {points[bad].tolist()} but all must be finite. Repair the motion first.")
        return world_to_camera(points, torch.from_numpy(view.T_w2c).float()).numpy()

    def _shades(self, points_c: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lit colors (V, 3) of vertices (V, 3) in camera coordinates, with smooth normals."""
        lit = self._normals(points_c) @ _TOWARDS_LIGHT.astype(np.float32)
        own, shine = lit_color(lit)
        return (own[:, None] * self.colors + shine[:, None] * 255).astype(np.float32)

    def _normals(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Unit normals (V, 3) of vertices (V, 3), mean of the adjacent faces weighted by area; zero without a face."""
        a, b, c = (points[self.faces[:, i]] for i in range(3))
        if self._sum_faces is None:
            place = self.faces.ravel(), np.repeat(np.arange(len(self.faces)), 3)
            ones = np.ones(self.faces.size, np.float32)
            self._sum_faces = csr_array((ones, place), shape=(len(points), len(self.faces)))
        one, two = b - a, c - a
        across = one[:, [1, 2, 0]] * two[:, [2, 0, 1]] - one[:, [2, 0, 1]] * two[:, [1, 2, 0]]
        normals = np.asarray(self._sum_faces @ across)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.float32(1e-20))


def check_picture(pixels: Pixels, view: PinholeView) -> None:
    """Raises ValueError if the packed pixels have another size than the view."""
    if pixels.shape != (view.size[1], view.size[0]):
        raise ValueError(f"The picture has shape {pixels.shape}, the view needs {(view.size[1], view.size[0])}.")


@dataclass(frozen=True)
class _Layer:
    """Part of an image: top left pixel, coverage (h, w) from 0 to 1, and colors (h, w, 3) weighted by coverage."""

    left: int
    top: int
    colors: NDArray[np.float32]
    cover: NDArray[np.float32]


def clip_near(
    points_c: NDArray[np.float32], faces: NDArray[np.int64], values: NDArray[np.float32], nearest: float = NEAREST
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Clips a mesh at the near plane.

    Args:
        points_c: (V, 3) meters, camera coordinates.
        faces: (F, 3).
        values: (V, C) vertex attributes, for example colors.
        nearest: near plane, meters.

    Returns: Points, faces and values. New vertices follow the old ones. A face across the near plane becomes one or two
        faces.
    """
    ahead = points_c[:, 2] >= nearest
    if ahead.all():
        return points_c, faces, values
    points_c, old = np.where(ahead[:, None], points_c, (0, 0, 1)).astype(np.float32), points_c
    count = ahead[faces].sum(axis=1)
    parts, points, colors, total = [faces[count == 3]], [points_c], [values], len(points_c)
    for number in (
        1,
        2,
    ):  # number of corners in front; faces are rotated so that the corner that differs from the others comes first
        cut = faces[count == number]
        lone = (ahead[cut] == (number == 1)).argmax(axis=1)
        cut = cut[np.arange(len(cut))[:, None], (lone[:, None] + np.arange(3)) % 3]
        for other in (1, 2):
            near, far = old[cut[:, 0]], old[cut[:, other]]
            share = ((nearest - near[:, 2]) / (far[:, 2] - near[:, 2]))[:, None]
            points.append((near + share * (far - near)).astype(np.float32))
            colors.append((values[cut[:, 0]] + share * (values[cut[:, other]] - values[cut[:, 0]])).astype(np.float32))
        one = total + np.arange(len(cut))
        two = one + len(cut)
        total += 2 * len(cut)
        if number == 1:
            parts.append(np.stack([cut[:, 0], one, two], axis=1))
        else:
            parts += [np.stack([one, cut[:, 1], cut[:, 2]], axis=1), np.stack([one, cut[:, 2], two], axis=1)]
    return np.concatenate(points), np.concatenate(parts), np.concatenate(colors)


def _project(points_c: NDArray[np.float32], view: PinholeView) -> NDArray[np.float64]:
    """Projected points (V, 3): u and v in pixels, depth in meters."""
    points = torch.from_numpy(points_c).double()
    return torch.cat([project_pinhole(points, torch.from_numpy(view.K)), points[:, 2:]], dim=1).numpy()


def _image(seen: Visible, values: NDArray[Any], empty: float) -> NDArray[Any]:
    """Image (h, w) or (h, w, C) of the box of `seen`, with `values` at visible pixels and `empty` elsewhere."""
    picture = np.full((seen.shape[0] * seen.shape[1], *values.shape[1:]), empty, values.dtype)
    picture[seen.pixels] = values
    return picture.reshape(*seen.shape, *values.shape[1:])


def _interpolate(
    seen: Visible, points: NDArray[np.float64], faces: NDArray[np.int64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Vertex attributes `values` (V, C) interpolated at the visible pixels, perspective-correct: (C, N)."""
    is_seen = np.zeros(len(faces), bool)
    is_seen[seen.faces] = True
    used = np.flatnonzero(is_seen)
    row = np.cumsum(is_seen) - 1
    corners = points[faces[used]]
    # Values divided by depth are linear in the image. Relative to the image center, float32 is sufficient.
    middle = np.array([seen.box[0] + seen.box[2], seen.box[1] + seen.box[3]]) / 2
    planes = face_planes(corners[..., :2] - middle, values[faces[used]] / corners[..., 2:])
    slopes = np.ascontiguousarray(planes.transpose(2, 1, 0), np.float32)  # (C, 3, K)
    u, v = ((x - at).astype(np.float32) for x, at in zip(seen.centers(), middle, strict=True))
    place = row[seen.faces]
    depth = 1 / seen.inverse_depth
    return np.stack([(a[place] * u + b[place] * v + c[place]) * depth for a, b, c in slopes])


def _layer(seen: Visible, colors: NDArray[np.float32], view: PinholeView) -> _Layer:
    """The visible pixels with colors (3, N) as a layer with a dark rim. `seen` has SAMPLES times the resolution of
    the view."""
    reach = max(round(OUTLINE * SAMPLES * view.size[1] / 512 / 2), 1)
    left, top = ((x - reach) // SAMPLES * SAMPLES for x in seen.box[:2])
    right, bottom = (-(-(x + reach) // SAMPLES) * SAMPLES for x in seen.box[2:])
    fine = np.zeros((4, bottom - top, right - left), np.float32)
    depth = np.full(fine.shape[1:], np.inf, np.float32)
    u, v = seen.centers()
    pixels = (v.astype(np.int64) - top) * fine.shape[2] + u.astype(np.int64) - left
    depth.reshape(-1)[pixels] = 1.0 / seen.inverse_depth
    flat = fine.reshape(4, -1)
    flat[:3, pixels] = np.clip(colors, 0, 255)
    flat[3, pixels] = 1.0
    rim = np.flatnonzero(depth > _nearest_around(depth, reach) + np.float32(_RIM_GAP))
    ink = np.asarray([*INK, 1.0], np.float32)[:, None]
    flat[:, rim] += (ink - flat[:, rim]) * np.float32(_RIM_STRENGTH)
    steps = range(SAMPLES)
    coarse = sum((fine[:, i::SAMPLES, j::SAMPLES] for i in steps for j in steps), np.float32(0)) / SAMPLES**2
    left, top = left // SAMPLES, top // SAMPLES
    cut_left, cut_top = max(-left, 0), max(-top, 0)
    coarse = coarse[:, cut_top : view.size[1] - top, cut_left : view.size[0] - left]
    return _Layer(left + cut_left, top + cut_top, np.ascontiguousarray(coarse[:3].transpose(1, 2, 0)), coarse[3])


def _nearest_around(depth: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Smallest depth (h, w) among the eight neighbors at a distance of `reach` pixels."""
    nearest = depth.copy()
    diagonal = round(reach * 0.7)
    for down, across in ((0, reach), (reach, 0), (diagonal, diagonal), (diagonal, -diagonal)):
        here = np.s_[down:, max(across, 0) : depth.shape[1] + min(across, 0)]
        there = np.s_[: depth.shape[0] - down, max(-across, 0) : depth.shape[1] - max(across, 0)]
        np.minimum(nearest[here], depth[there], out=nearest[here])
        np.minimum(nearest[there], depth[here], out=nearest[there])
    return nearest
