"""Draws one pose into an image: shaded limbs, floor with grid, soft shadow, and the path of the root."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmr4d.body.skeleton import Skeleton
from hmr4d.visualization.figure_style import JOINT_COLOR, SIDE_COLORS, figure_style
from hmr4d.visualization.floor_painter import SHADOW_STRENGTH, FloorPainter
from hmr4d.visualization.pixels import FLOOR, INK, LIGHT, OUTLINE, Color, Pixels, covered_words, lit_color, over
from hmr4d.visualization.view_camera import ViewCamera

_PROFILE_STEPS = 160  # table entries per limb radius
_PROFILE_MIDDLE = 3 * _PROFILE_STEPS  # the table covers three radii to each side, including the rim


class StickRenderer:
    """Draws poses of one skeleton from one camera direction. Constant parts are computed once.

    Args:
        skeleton: skeleton of the poses.
        camera: camera, see `fit_camera`.
        size: (width, height) pixels.
        floor_top: first pixel row of the floor; the rows above stay plain for a caption.
        floor_bottom: first plain pixel row below the floor.

    Attributes:
        floor: RGB image of the empty floor without grid, as background for captions.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        camera: ViewCamera,
        *,
        size: tuple[int, int],
        floor_top: int = 0,
        floor_bottom: int | None = None,
    ) -> None:
        self.style = figure_style(skeleton)
        self.camera = camera
        self.size = size
        self._ground = FloorPainter(camera, size=size, floor_top=floor_top, floor_bottom=floor_bottom)
        self.floor = self._ground.picture
        self._columns = np.arange(size[0], dtype=np.float32) + 0.5
        self._rows = np.arange(size[1], dtype=np.float32)[:, None] + 0.5

    def draw(
        self,
        base: Pixels,
        joints3d: NDArray[np.floating],
        followed: NDArray[np.floating],
        path: NDArray[np.floating] | None = None,
        now: int = 0,
    ) -> Pixels:
        """(H, W) packed pixels of one pose.

        Args:
            base: (H, W) packed pixels of the background, usually `floor` with captions; it is not modified.
            joints3d: (J, 3) meters.
            followed: (2,) x and z of the floor point the camera follows.
            path: (L, 2) x and z of the root over the clip, drawn on the floor; None for no path.
            now: current index in `path`; the past path is drawn stronger than the future path.
        """
        pixels = base.copy()
        self._ground.draw(pixels, followed, path, now)
        self._draw_shadow(pixels, joints3d, followed)
        self._draw_figure(pixels, joints3d, followed)
        return pixels

    def _draw_shadow(self, pixels: Pixels, joints3d: NDArray[np.floating], followed: NDArray[np.floating]) -> None:
        style = self.style
        points = joints3d if style.head is None else np.concatenate([joints3d, style.head_center(joints3d)[None]])

        def paint(places: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
            mask = Image.new("L", size)
            drawer, spots, scale = ImageDraw.Draw(mask), places[:, :2].tolist(), places[:, 2].tolist()
            for a, b in style.bones:
                width = max(1, round(1.8 * style.joint_radii[b] * scale[b]))
                drawer.line((*spots[a], *spots[b]), fill=SHADOW_STRENGTH, width=width)
            if style.head is not None:
                (u, v), r = spots[-1], style.head_radius * scale[-1]
                drawer.ellipse((u - r, v - r * 0.6, u + r, v + r * 0.6), fill=SHADOW_STRENGTH)
            return np.asarray(mask)

        self._ground.draw_shadow(pixels, points, followed, paint, style.head_radius)

    def _draw_figure(self, pixels: Pixels, joints3d: NDArray[np.floating], followed: NDArray[np.floating]) -> None:
        """Paints limbs, head and joint balls back to front."""
        style = self.style
        end = len(joints3d)
        head = joints3d[:1] if style.head is None else style.head_center(joints3d)[None]
        projected = self.camera.project(np.concatenate([joints3d, head]), followed)
        visible = self.camera.visible(projected)
        middle = float(np.median(projected[:-1, 2]))
        scale = (self.camera.focal / projected[:, 2]).tolist()
        spots = projected.tolist()
        nearest = [point[2] for point in spots]
        jobs: list[tuple[float, int, int, float, float, Color]] = []
        for (a, b), side in zip(style.bones, style.bone_sides, strict=True):
            depth = (spots[a][2] + spots[b][2]) / 2
            nearest[a], nearest[b] = min(nearest[a], depth), min(nearest[b], depth)
            jobs.append((depth, a, b, style.joint_radii[a], style.joint_radii[b], SIDE_COLORS[side]))
        # A joint ball lies just in front of its own limbs, so only other limbs can hide it.
        jobs += [
            (nearest[j] - 1e-3, j, j, radius, radius, JOINT_COLOR)
            for j, radius in enumerate(style.dot_radii)
            if radius > 0
        ]
        if style.head is not None:
            jobs.append((spots[end][2], end, end, style.head_radius, style.head_radius, SIDE_COLORS["center"]))
        for depth, a, b, radius_a, radius_b, color in sorted(jobs, reverse=True):
            if not (visible[a] and visible[b]):
                continue
            haze = min(max((depth - middle) * 0.55, 0.0), 0.45)
            if a == b:
                self._paint_ball(pixels, spots[a][0], spots[a][1], radius_a * scale[a], color, haze)
            else:
                ends = (*spots[a][:2], *spots[b][:2])
                self._paint_limb(pixels, ends, radius_a * scale[a], radius_b * scale[b], color, haze)

    def _paint_ball(self, pixels: Pixels, u: float, v: float, radius: float, color: Color, haze: float) -> None:
        """Blends a lit ball from a cache of balls at quarter-pixel positions and half-pixel sizes."""
        column, row = math.floor(u), math.floor(v)
        sprite = _ball_sprite(
            round(radius * 2) / 2,
            round((u - column) * 4) / 4,
            round((v - row) * 4) / 4,
            color,
            round(haze * 8) / 8,
            OUTLINE * self.size[1] / 512,
        )
        reach = len(sprite) // 2
        left, top = column - reach, row - reach
        cut_left, cut_top = max(-left, 0), max(-top, 0)
        patch = pixels[top + cut_top : max(top + len(sprite), 0), left + cut_left : max(left + len(sprite), 0)]
        cut = np.s_[cut_top : cut_top + patch.shape[0], cut_left : cut_left + patch.shape[1]]
        patch[...] = over(patch, sprite[cut])

    def _paint_limb(
        self,
        pixels: Pixels,
        ends: tuple[float, float, float, float],
        radius_start: float,
        radius_end: float,
        color: Color,
        haze: float,
    ) -> None:
        """Blends one tapered limb with round ends into the image, lit by its curvature, with a soft dark rim.

        Color and coverage depend only on the distance from the axis relative to the thickness, so a table (the profile
        of the limb) provides them. The coverage of an edge pixel is its part inside the limb, which gives smooth edges
        without supersampling.
        """
        u0, v0, u1, v1 = ends
        length = math.hypot(u1 - u0, v1 - v0)
        thick = max(radius_start, radius_end)
        if length < 0.5:
            self._paint_ball(pixels, u0, v0, thick, color, haze)
            return
        rim = OUTLINE * self.size[1] / 512
        margin = thick + rim + 1
        left, right = max(int(min(u0, u1) - margin), 0), min(int(max(u0, u1) + margin) + 1, self.size[0])
        top, bottom = max(int(min(v0, v1) - margin), 0), min(int(max(v0, v1) + margin) + 1, self.size[1])
        if left >= right or top >= bottom:
            return
        du, dv = (u1 - u0) / length, (v1 - v0) / length
        x, y = self._columns[left:right] - np.float32(u0), self._rows[top:bottom] - np.float32(v0)
        along = x * np.float32(du) + y * np.float32(dv)
        across = y * np.float32(du) - x * np.float32(dv)
        radius = np.minimum(np.maximum(along, np.float32(0)), np.float32(length))
        along -= radius
        radius *= np.float32((radius_end - radius_start) / length)
        radius += np.float32(radius_start)
        along *= along
        along += across * across
        np.sqrt(along, out=along)
        along /= radius
        np.copysign(along, across, out=along)
        along *= np.float32(_PROFILE_STEPS)
        along += np.float32(_PROFILE_MIDDLE + 0.5)
        angle = round(math.atan2(dv, du) / math.tau * 64) % 64
        profile = _limb_profile(round(radius_start + radius_end) / 2, angle, color, round(haze * 16) / 16, rim)
        patch = pixels[top:bottom, left:right]
        patch[...] = over(patch, profile.take(along.astype(np.intp), mode="clip"))


def _lit_surface(
    along: NDArray[np.floating],
    across: NDArray[np.floating],
    radius: float,
    light: tuple[float, float],
    rim: float,
    color: Color,
    haze: float,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Color (..., 3) weighted by coverage, and coverage (...), of a lit round surface with a dark rim.

    Args:
        along: (...) position on the surface, relative to its radius.
        across: (...) the same along the perpendicular axis.
        radius: pixels; determines the width of a pixel at the edge.
        light: direction of the light in the same axes.
        rim: width of the dark outline, pixels.
        color: color of the lit side.
        haze: 0 to 1, fraction of floor color blended in for distant parts.
    """
    square = along * along + across * across
    inside = (1 - np.sqrt(square)) * radius + 0.5
    cover = np.clip(inside, 0, 1)
    edge = (np.clip(inside + rim, 0, 1) - cover) * 0.6
    lit = np.sqrt(np.maximum(1 - square, 0)) * LIGHT[2] + along * light[0] + across * light[1]
    own, shine = lit_color(lit)
    tint = [(1 - haze) * c + haze * f for c, f in zip(color, FLOOR, strict=True)]
    ink = [(1 - haze) * c + haze * f for c, f in zip(INK, FLOOR, strict=True)]
    layer = (own * cover)[..., None] * np.asarray(tint)
    layer += (shine * cover * 255)[..., None] + edge[..., None] * np.asarray(ink)
    return layer, cover + edge


@lru_cache(maxsize=8192)
def _limb_profile(radius: float, angle: int, color: Color, haze: float, rim: float) -> NDArray[np.uint32]:
    """(2 * _PROFILE_MIDDLE + 1,) packed pixels of weighted color and coverage across a limb, from one side to the
    other.

    The table has `_PROFILE_STEPS` entries per radius; `angle` is the direction of the limb in 64ths of a turn.
    """
    across = np.arange(-_PROFILE_MIDDLE, _PROFILE_MIDDLE + 1) / _PROFILE_STEPS
    direction = math.tau * angle / 64
    light = (0.0, LIGHT[1] * math.cos(direction) - LIGHT[0] * math.sin(direction))
    layer, cover = _lit_surface(np.zeros_like(across), across, max(radius, 0.25), light, rim, color, haze)
    layer[[0, -1]], cover[[0, -1]] = 0, 0
    return covered_words(layer, cover)


@lru_cache(maxsize=8192)
def _ball_sprite(radius: float, u: float, v: float, color: Color, haze: float, rim: float) -> Pixels:
    """(n, n) packed pixels of weighted color and coverage of a ball, centered at offset (u, v) in the middle pixel."""
    reach = math.ceil(radius + rim + 1.5)
    radius = max(radius, 0.25)
    offset = np.arange(-reach, reach + 1) + 0.5
    x, y = np.meshgrid((offset - u) / radius, (offset - v) / radius)
    return covered_words(*_lit_surface(x, y, radius, (LIGHT[0], LIGHT[1]), rim, color, haze))
