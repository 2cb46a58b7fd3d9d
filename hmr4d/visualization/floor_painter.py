"""The floor under every figure: a fading grid, the path of the root and soft shadows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from hmr4d.visualization.pixels import BYTE, FLOOR, PAPER, Color, Pixels, color_word, mix
from hmr4d.visualization.view_camera import ViewCamera

SHADOW_STRENGTH = 150

_LINE_WORD = color_word((172, 182, 198))
_SHADOW = (58, 68, 88)
_PATH = (120, 96, 200)
_GRID_HALF_WIDTH = 0.006  # meters; one line per meter
_TURN = 65536  # fixed-point steps per grid cell; 16-bit positions wrap at every line
_FADE_RADIUS = 3.2  # meters; distance from the followed point at which the floor has mostly faded
_SHADOW_SHIFT = (0.26, 0.10)  # shadow shift per meter of height: to the right and away from the viewer
_SHADOW_CELLS = 128  # cells of the coarse shadow along the image height; the blur hides the cells
_PATH_POINTS = 80


class FloorPainter:
    """Draws the floor for one camera direction. Constant parts are computed once.

    Args:
        camera: camera, see `fit_camera`.
        size: (width, height) pixels.
        floor_top: first pixel row of the floor; the rows above stay plain for a caption.
        floor_bottom: first plain pixel row below the floor.

    Attributes:
        picture: RGB image of the empty floor without grid, as background for captions.
    """

    def __init__(
        self, camera: ViewCamera, *, size: tuple[int, int], floor_top: int = 0, floor_bottom: int | None = None
    ) -> None:
        self.camera, self.size = camera, size
        self.picture = self._prepare(floor_top, size[1] if floor_bottom is None else floor_bottom)
        away = camera.R_w2c[2, [0, 2]] / np.linalg.norm(camera.R_w2c[2, [0, 2]])
        self._shadow_shear = _SHADOW_SHIFT[0] * camera.R_w2c[0, [0, 2]] + _SHADOW_SHIFT[1] * away

    def draw(
        self, pixels: Pixels, followed: NDArray[np.floating], path: NDArray[np.floating] | None = None, now: int = 0
    ) -> None:
        """Adds the grid and the path to (H, W) packed pixels, in place.

        Args:
            pixels: packed pixels of `picture`, usually with captions.
            followed: (2,) x and z of the floor point the camera follows.
            path: (L, 2) x and z of the root over the clip; None for no path.
            now: current index in `path`; the past path is drawn stronger than the future path.
        """
        self._draw_grid(pixels, followed)
        if path is not None:
            self._draw_path(pixels, path, now, followed)

    def draw_shadow(
        self,
        pixels: Pixels,
        points3d: NDArray[np.floating],
        followed: NDArray[np.floating],
        paint: Callable[[NDArray[np.float64], tuple[int, int]], NDArray[np.uint8]],
        margin: float = 0.0,
    ) -> None:
        """Adds a soft shadow to (H, W) packed pixels, in place. Draws nothing if a part would be behind the camera.

        Args:
            pixels: packed pixels of the drawn floor.
            points3d: (N, 3) meters, points of the figure.
            followed: (2,) x and z of the floor point the camera follows.
            paint: function that computes the shadow strength (h, w) in a coarse image from the shadow positions of the
                points (N, 3: u, v, pixels per meter) and the (width, height) of the coarse image.
            margin: largest distance of the surface of the figure from its points, meters.
        """
        height = np.maximum(points3d[:, 1:2], 0.0)
        floor = np.insert(points3d[:, [0, 2]] + height * self._shadow_shear, 1, 0.0, axis=1)
        projected = self.camera.project(floor, followed)
        cell = max(self.size[1] // _SHADOW_CELLS, 1)
        blur = self.size[1] / cell / 110
        reach = margin * self.camera.focal / float(projected[:, 2].min())
        region = self._region(projected[:, :2], reach + (3 * blur + 2) * cell)
        if region is None or not self.camera.visible(projected).all():
            return
        left, top = region[0] // cell * cell, region[1] // cell * cell
        columns, rows = -(-(region[2] - left) // cell), -(-(region[3] - top) // cell)
        spots = (projected[:, :2] - (left, top)) / cell
        scale = self.camera.focal / projected[:, 2:] / cell
        mask = Image.fromarray(paint(np.concatenate([spots, scale], axis=1), (columns, rows)))
        soft = mask.filter(ImageFilter.GaussianBlur(blur)).resize(
            (columns * cell, rows * cell), Image.Resampling.BILINEAR
        )
        right, bottom = min(left + columns * cell, self.size[0]), min(top + rows * cell, self.size[1])
        self._blend(pixels, (left, top), np.asarray(soft)[: bottom - top, : right - left], _SHADOW)

    def _prepare(self, floor_top: int, floor_bottom: int) -> Image.Image:
        """Computes the plain floor image and stores the floor position and fading of each pixel."""
        x, z = self.camera.floor_map(self.size)
        fade = np.exp(-((np.hypot(x, z) / _FADE_RADIUS) ** 2))
        rows = np.arange(self.size[1])
        ramp = np.minimum(rows - floor_top, floor_bottom - 1 - rows) / (0.06 * self.size[1])
        fade *= np.clip(ramp, 0.0, 1.0)[:, None]
        seen = np.flatnonzero((fade > 0.03).any(axis=1))
        self._band = slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0, 0)
        self._grid: list[tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.float32], NDArray[np.float32]]] = []
        for axis in (x, z):
            finite = np.where(np.isfinite(axis), axis, 0.0)
            pixel = np.maximum(np.abs(np.gradient(finite, axis=0)) + np.abs(np.gradient(finite, axis=1)), 1e-6)
            # A line thinner than a pixel is drawn one pixel wide and paler; lines closer than a pixel vanish.
            weight = fade * np.clip(2 * _GRID_HALF_WIDTH / pixel, 0.35, 1.0) * np.clip(1.5 - 3 * pixel, 0.0, 1.0)
            reach = np.maximum(_GRID_HALF_WIDTH, 0.5 * pixel) + 0.5 * pixel
            reach = np.where(weight > 0.02, np.minimum(reach, 0.49), 0.0)
            position = np.round(np.mod(finite, 1.0) * _TURN).astype(np.int64) % _TURN
            parts = (
                position.astype(np.uint16),
                (reach * _TURN).astype(np.uint16),
                pixel.astype(np.float32),
                weight.astype(np.float32),
            )
            first, second, third, fourth = (np.ascontiguousarray(part[self._band]) for part in parts)
            self._grid.append((first, second, third, fourth))  # type: ignore[arg-type]
        self._fade = (fade * 256).astype(np.uint32)
        mix = fade[..., None]
        return Image.fromarray(np.round(np.asarray(PAPER) * (1 - mix) + np.asarray(FLOOR) * mix).astype(np.uint8))

    def _draw_grid(self, pixels: Pixels, followed: NDArray[np.floating]) -> None:
        for (position, reach, pixel, weight), shift in zip(self._grid, followed, strict=True):
            to_line = position + np.uint16(int(float(shift) % 1.0 * _TURN) % _TURN)
            distance = np.abs(to_line.view(np.int16)).view(np.uint16)
            near = np.flatnonzero(distance < reach)
            cover = (reach.ravel()[near] - distance.ravel()[near]) * np.float32(1 / _TURN)
            cover /= pixel.ravel()[near]
            cover = np.minimum(cover, np.float32(1.0)) * weight.ravel()[near]
            words = pixels[self._band].reshape(-1)
            words[near] = mix(words[near], _LINE_WORD, (cover * np.float32(256)).astype(np.uint32))

    def _draw_path(self, pixels: Pixels, path: NDArray[np.floating], now: int, followed: NDArray[np.floating]) -> None:
        step = max(len(path) // _PATH_POINTS, 1)
        past, future = path[: now + 1][::-step][::-1], path[now::step]
        both = np.concatenate([past, future])
        points = self.camera.project(np.insert(both, 1, 0.0, axis=1), followed)
        seen = self.camera.visible(points)
        width = max(self.size[1] / 220, 1.0)
        region = self._region(points[seen, :2], width + 1)
        if region is None:
            return
        left, top, right, bottom = region
        mask = Image.new("L", ((right - left) * 2, (bottom - top) * 2))
        drawer = ImageDraw.Draw(mask)
        corners = (points[:, :2] - (left, top)) * 2
        split = len(past)
        for part, strength in ((slice(split, None), 70), (slice(0, split), 190)):
            line = corners[part][seen[part]].ravel().tolist()
            if len(line) > 2:
                drawer.line(line, fill=strength, width=round(2 * width))
        self._blend(pixels, (left, top), np.asarray(mask.reduce(2)), _PATH)

    def _region(self, points: NDArray[np.floating], margin: float) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom of the pixels around points (N, 2), clipped to the image; None if none is inside."""
        if len(points) == 0:
            return None
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        left, top = max(math.floor(low[0]), 0), max(math.floor(low[1]), 0)
        right, bottom = min(math.ceil(high[0]), self.size[0]), min(math.ceil(high[1]), self.size[1])
        return None if left >= right or top >= bottom else (left, top, right, bottom)

    def _blend(self, pixels: Pixels, corner: tuple[int, int], mask: NDArray[np.uint8], color: Color) -> None:
        """Blends a color into the floor by `mask` (h, w), reduced by the fading of the floor."""
        area = np.s_[corner[1] : corner[1] + mask.shape[0], corner[0] : corner[0] + mask.shape[1]]
        patch, hit = pixels[area], mask > 0
        patch[hit] = mix(patch[hit], color_word(color), mask[hit] * self._fade[area][hit] >> BYTE)
