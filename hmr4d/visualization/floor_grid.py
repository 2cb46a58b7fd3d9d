"""The floor y = 0 as a grid of meters with soft shadows, in any camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from hmr4d.visualization.mesh_renderer import MeshRenderer
from hmr4d.visualization.pixels import FLOOR, PAPER, QUIET_INK, Color, Pixels, color_word, mix
from hmr4d.visualization.view_camera import PinholeView

REACH = 12  # meters of floor in front and to the sides
_NEAREST = 0.3  # meters; points at a smaller depth are not drawn
_PIECES = 4  # line segments per meter
_SHADOW = (58, 68, 88)
_SHADOW_CELL = 4  # pixels; the blur hides the cells
_SHADOW_BLUR = 0.012  # fraction of the image height


def floor_grid(
    view: PinholeView, *, center: NDArray[np.floating] | None = None, reach: int = REACH, paper: Color = PAPER
) -> Image.Image:
    """An image of the floor with a line at every meter.

    Args:
        view: the camera.
        center: (2,) x and z around which the floor is drawn; None: under the camera.
        reach: meters to each side of the center.
        paper: background color.
    """
    image = Image.new("RGB", view.size, paper)
    drawer = ImageDraw.Draw(image)
    camera = -view.T_w2c[:3, :3].T @ view.T_w2c[:3, 3]
    middle = np.round(camera[[0, 2]] if center is None else center)
    steps = np.arange(-reach, reach + 1)
    for axis in range(2):
        for step in steps:
            line = np.zeros((len(steps) * _PIECES, 3))
            line[:, 2 if axis == 0 else 0] = np.linspace(-reach, reach, len(line))
            line[:, 0 if axis == 0 else 2] = step
            line[:, [0, 2]] += middle
            _polyline(drawer, view, line, QUIET_INK if step == 0 else FLOOR)
    return image


def draw_ground_shadow(
    pixels: Pixels,
    mesh: MeshRenderer,
    vertices: NDArray[np.floating],
    view: PinholeView,
    *,
    ground: float = 0.0,
    strength: int = 90,
) -> None:
    """Darkens the floor below a mesh with a soft shadow, in place. Draws nothing if a part of it is behind the camera.

    Args:
        pixels: (H, W) packed pixels of the image.
        mesh: mesh that casts the shadow.
        vertices: (V, 3) meters, its vertices.
        view: the camera.
        ground: height of the floor, meters.
        strength: darkness of the shadow, 0 to 255.
    """
    flat = np.array(vertices, np.float64)
    flat[:, 1] = ground
    camera = flat @ view.T_w2c[:3, :3].T + view.T_w2c[:3, 3]
    if camera[:, 2].min() < _NEAREST:
        return
    places = (camera[:, :2] / camera[:, 2:] * view.K[[0, 1], [0, 1]] + view.K[:2, 2]) / _SHADOW_CELL
    width, height = view.size
    size = -(-width // _SHADOW_CELL), -(-height // _SHADOW_CELL)
    mask = Image.fromarray(mesh.shadow(places, size, strength))
    mask = mask.filter(ImageFilter.GaussianBlur(_SHADOW_BLUR * height / _SHADOW_CELL))
    box = mask.getbbox()
    if box is None:
        return
    left, top, right, bottom = (side * _SHADOW_CELL for side in box)
    soft = mask.crop(box).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    right, bottom = min(right, width), min(bottom, height)
    patch = pixels[top:bottom, left:right]
    cover = np.asarray(soft)[: bottom - top, : right - left].astype(np.uint32) * 256 // 255
    patch[...] = mix(patch, color_word(_SHADOW), cover)


def _polyline(drawer: ImageDraw.ImageDraw, view: PinholeView, points: NDArray[np.float64], color: Color) -> None:
    camera = points @ view.T_w2c[:3, :3].T + view.T_w2c[:3, 3]
    ahead = camera[:, 2] > _NEAREST
    depth = np.where(ahead, camera[:, 2], 1.0)[:, None]
    pixels = camera[:, :2] / depth * view.K[[0, 1], [0, 1]] + view.K[:2, 2]
    for start in range(len(points) - 1):
        if ahead[start] and ahead[start + 1]:
            drawer.line([*pixels[start], *pixels[start + 1]], fill=color, width=1)
