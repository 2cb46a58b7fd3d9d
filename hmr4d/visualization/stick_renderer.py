"""Draws one pose into one picture: shaded limbs over a floor with grid, soft shadow and the path of the root.

Pictures are (H, W) 32-bit words while they are drawn: red, green, blue and one unused byte. A word is mixed in two
multiplications, comes out of a look-up table in one step, and the video encoder takes the bytes as they are.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from hmr4d.body.skeleton import Skeleton
from hmr4d.visualization.figure_style import JOINT_COLOUR, SIDE_COLOURS, figure_style
from hmr4d.visualization.view_camera import ViewCamera

Pixels = NDArray[np.uint32]
Colour = tuple[int, int, int]

_OUTER, _INNER = np.uint32(0x00FF00FF), np.uint32(0x0000FF00)  # first and third colour; second colour
_WHOLE, _BYTE, _COVERAGE = np.uint32(256), np.uint32(8), np.uint32(24)

INK = (44, 52, 66)
QUIET_INK = (122, 132, 148)
_PAPER = (247, 248, 250)
_FLOOR = (226, 231, 238)
_LINE = (172, 182, 198)
_SHADOW = (58, 68, 88)
_PATH = (120, 96, 200)
_GRID_HALF_WIDTH = 0.006  # metres; one line per metre
_TURN = 65536  # steps of fixed-point position per grid cell: positions wrap at every line by themselves
_FADE_RADIUS = 3.2  # metres from the followed point to where the floor has mostly faded
_LIGHT = np.array([-0.45, -0.65, 0.61])  # towards the light: right, down, towards the viewer
_SHADOW_SHIFT = (0.26, 0.10)  # metres of shadow shift per metre of height: to the right, away from the viewer
_SHADOW_CELLS = 128  # cells of the coarse shadow along the height of the picture; the blur hides them
_SHADOW_STRENGTH = 150
_OUTLINE = 1.5  # pixels at a height of 512
_PATH_POINTS = 80
_PROFILE_STEPS = 160  # table entries per limb radius
_PROFILE_MIDDLE = 3 * _PROFILE_STEPS  # the table reaches three radii to each side: rim and all


def load_font(size: float) -> Any:
    """The font that ships with Pillow, so that no font on the system is needed."""
    return ImageFont.load_default(size)


def to_pixels(picture: Image.Image) -> Pixels:
    """(H, W) words of an RGB picture."""
    return np.insert(np.asarray(picture), 3, 0, axis=-1).view(np.uint32)[..., 0]


def to_image(pixels: Pixels) -> Image.Image:
    """RGB picture of words (H, W)."""
    return Image.fromarray(np.ascontiguousarray(pixels.view(np.uint8).reshape(*pixels.shape, 4)[..., :3]))


def colour_word(colour: Colour) -> np.uint32:
    """The word of one colour."""
    return np.array([*colour, 0], np.uint8).view(np.uint32)[0]


def mix(pixels: Pixels, word: np.uint32, strength: NDArray[np.uint32]) -> Pixels:
    """Words with `strength` 256ths of one colour mixed in; two colours at a time, eight free bits above each."""
    rest = _WHOLE - strength
    outer = (pixels & _OUTER) * rest + (word & _OUTER) * strength
    inner = (pixels & _INNER) * rest + (word & _INNER) * strength
    return (outer >> _BYTE & _OUTER) | (inner >> _BYTE & _INNER)


def _over(pixels: Pixels, layer: Pixels) -> Pixels:
    """Words under a layer whose colours are weighted by its coverage, which is its fourth byte (in 255ths)."""
    rest = _WHOLE - (layer >> _COVERAGE)
    return layer + (((pixels & _OUTER) * rest >> _BYTE & _OUTER) | ((pixels & _INNER) * rest >> _BYTE & _INNER))


_LINE_WORD = colour_word(_LINE)


class StickRenderer:
    """Draws poses of one skeleton with one camera direction; what does not change is computed once.

    Args:
        skeleton: joint meaning of the poses.
        camera: where from; see `fit_camera`.
        size: (width, height) pixels.
        floor_top: first pixel row where the floor may show; rows above stay plain for a caption.
        floor_bottom: first pixel row below the floor that stays plain again.

    Attributes:
        floor: the empty floor without its grid, an RGB picture to write on.
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
        self.floor = self._prepare_floor(floor_top, size[1] if floor_bottom is None else floor_bottom)
        self._columns = np.arange(size[0], dtype=np.float32) + 0.5
        self._rows = np.arange(size[1], dtype=np.float32)[:, None] + 0.5
        away = camera.R_w2c[2, [0, 2]] / np.linalg.norm(camera.R_w2c[2, [0, 2]])
        self._shadow_shear = _SHADOW_SHIFT[0] * camera.R_w2c[0, [0, 2]] + _SHADOW_SHIFT[1] * away

    def _prepare_floor(self, floor_top: int, floor_bottom: int) -> Image.Image:
        """Plain floor picture; keeps the per-pixel floor positions and fading that the grid needs."""
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
            # A line thinner than a pixel is drawn one pixel wide and paler; lines closer than pixels vanish.
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
        return Image.fromarray(np.round(np.asarray(_PAPER) * (1 - mix) + np.asarray(_FLOOR) * mix).astype(np.uint8))

    def draw(
        self,
        base: Pixels,
        joints3d: NDArray[np.floating],
        followed: NDArray[np.floating],
        path: NDArray[np.floating] | None = None,
        now: int = 0,
    ) -> Pixels:
        """(H, W) words of one pose.

        Args:
            base: (H, W) words of the picture to draw on, usually `floor` with writing on it; it is not changed.
            joints3d: (J, 3) metres.
            followed: (2,) x and z of the floor point the camera follows.
            path: (L, 2) x and z of the root over the clip, drawn on the floor; None for no path.
            now: index into `path`; what is behind is drawn stronger than what is to come.
        """
        pixels = base.copy()
        self._draw_grid(pixels, followed)
        if path is not None:
            self._draw_path(pixels, path, now, followed)
        self._draw_shadow(pixels, joints3d, followed)
        self._draw_figure(pixels, joints3d, followed)
        return pixels

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

    def _draw_shadow(self, pixels: Pixels, joints3d: NDArray[np.floating], followed: NDArray[np.floating]) -> None:
        style = self.style
        points = joints3d if style.head is None else np.concatenate([joints3d, style.head_centre(joints3d)[None]])
        height = np.maximum(points[:, 1:2], 0.0)
        floor = np.insert(points[:, [0, 2]] + height * self._shadow_shear, 1, 0.0, axis=1)
        projected = self.camera.project(floor, followed)
        cell = max(self.size[1] // _SHADOW_CELLS, 1)
        blur = self.size[1] / cell / 110
        thickest = style.head_radius * self.camera.focal / float(projected[:, 2].min())
        region = self._region(projected[:, :2], thickest + (3 * blur + 2) * cell)
        if region is None or not self.camera.visible(projected).all():
            return
        left, top = region[0] // cell * cell, region[1] // cell * cell
        columns, rows = -(-(region[2] - left) // cell), -(-(region[3] - top) // cell)
        mask = Image.new("L", (columns, rows))
        drawer = ImageDraw.Draw(mask)
        spots = ((projected[:, :2] - (left, top)) / cell).tolist()
        scale = (self.camera.focal / projected[:, 2] / cell).tolist()
        for a, b in style.bones:
            width = max(1, round(1.8 * style.joint_radii[b] * scale[b]))
            drawer.line((*spots[a], *spots[b]), fill=_SHADOW_STRENGTH, width=width)
        if style.head is not None:
            (u, v), r = spots[-1], style.head_radius * scale[-1]
            drawer.ellipse((u - r, v - r * 0.6, u + r, v + r * 0.6), fill=_SHADOW_STRENGTH)
        soft = mask.filter(ImageFilter.GaussianBlur(blur)).resize(
            (columns * cell, rows * cell), Image.Resampling.BILINEAR
        )
        right, bottom = min(left + columns * cell, self.size[0]), min(top + rows * cell, self.size[1])
        self._blend(pixels, (left, top), np.asarray(soft)[: bottom - top, : right - left], _SHADOW)

    def _region(self, points: NDArray[np.floating], margin: float) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom of the pixels around points (N, 2), cut to the picture; None if none are inside."""
        if len(points) == 0:
            return None
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        left, top = max(math.floor(low[0]), 0), max(math.floor(low[1]), 0)
        right, bottom = min(math.ceil(high[0]), self.size[0]), min(math.ceil(high[1]), self.size[1])
        return None if left >= right or top >= bottom else (left, top, right, bottom)

    def _blend(self, pixels: Pixels, corner: tuple[int, int], mask: NDArray[np.uint8], colour: Colour) -> None:
        """Mixes a colour into the floor where `mask` (h, w) says, less where the floor fades."""
        area = np.s_[corner[1] : corner[1] + mask.shape[0], corner[0] : corner[0] + mask.shape[1]]
        patch, hit = pixels[area], mask > 0
        patch[hit] = mix(patch[hit], colour_word(colour), mask[hit] * self._fade[area][hit] >> _BYTE)

    def _draw_figure(self, pixels: Pixels, joints3d: NDArray[np.floating], followed: NDArray[np.floating]) -> None:
        """Paints limbs, head and joint balls back to front."""
        style = self.style
        end = len(joints3d)
        head = joints3d[:1] if style.head is None else style.head_centre(joints3d)[None]
        projected = self.camera.project(np.concatenate([joints3d, head]), followed)
        visible = self.camera.visible(projected)
        middle = float(np.median(projected[:-1, 2]))
        scale = (self.camera.focal / projected[:, 2]).tolist()
        spots = projected.tolist()
        nearest = [point[2] for point in spots]
        jobs: list[tuple[float, int, int, float, float, Colour]] = []
        for (a, b), side in zip(style.bones, style.bone_sides, strict=True):
            depth = (spots[a][2] + spots[b][2]) / 2
            nearest[a], nearest[b] = min(nearest[a], depth), min(nearest[b], depth)
            jobs.append((depth, a, b, style.joint_radii[a], style.joint_radii[b], SIDE_COLOURS[side]))
        # A joint ball lies just in front of every limb that meets there: only other limbs can hide it.
        jobs += [
            (nearest[j] - 1e-3, j, j, radius, radius, JOINT_COLOUR)
            for j, radius in enumerate(style.dot_radii)
            if radius > 0
        ]
        if style.head is not None:
            jobs.append((spots[end][2], end, end, style.head_radius, style.head_radius, SIDE_COLOURS["centre"]))
        for depth, a, b, radius_a, radius_b, colour in sorted(jobs, reverse=True):
            if not (visible[a] and visible[b]):
                continue
            haze = min(max((depth - middle) * 0.55, 0.0), 0.45)
            if a == b:
                self._paint_ball(pixels, spots[a][0], spots[a][1], radius_a * scale[a], colour, haze)
            else:
                ends = (*spots[a][:2], *spots[b][:2])
                self._paint_limb(pixels, ends, radius_a * scale[a], radius_b * scale[b], colour, haze)

    def _paint_ball(self, pixels: Pixels, u: float, v: float, radius: float, colour: Colour, haze: float) -> None:
        """Blends a lit ball, taken from a store of balls at quarter-pixel positions and half-pixel sizes."""
        column, row = math.floor(u), math.floor(v)
        sprite = _ball_sprite(
            round(radius * 2) / 2, round((u - column) * 4) / 4, round((v - row) * 4) / 4, colour, round(haze * 8) / 8,
            _OUTLINE * self.size[1] / 512,
        )  # fmt: skip
        reach = len(sprite) // 2
        left, top = column - reach, row - reach
        cut_left, cut_top = max(-left, 0), max(-top, 0)
        patch = pixels[top + cut_top : max(top + len(sprite), 0), left + cut_left : max(left + len(sprite), 0)]
        cut = np.s_[cut_top : cut_top + patch.shape[0], cut_left : cut_left + patch.shape[1]]
        patch[...] = _over(patch, sprite[cut])

    def _paint_limb(
        self,
        pixels: Pixels,
        ends: tuple[float, float, float, float],
        radius_start: float,
        radius_end: float,
        colour: Colour,
        haze: float,
    ) -> None:
        """Blends one round-ended tapered limb into the picture, lit by its own curvature, with a soft dark rim.

        Colour and coverage depend on the distance from the axis as a share of the thickness, so they are looked up in
        the profile of the limb. An edge pixel is covered by the part that lies inside: smooth without drawing larger.
        """
        u0, v0, u1, v1 = ends
        length = math.hypot(u1 - u0, v1 - v0)
        thick = max(radius_start, radius_end)
        if length < 0.5:
            self._paint_ball(pixels, u0, v0, thick, colour, haze)
            return
        rim = _OUTLINE * self.size[1] / 512
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
        profile = _limb_profile(round(radius_start + radius_end) / 2, angle, colour, round(haze * 16) / 16, rim)
        patch = pixels[top:bottom, left:right]
        patch[...] = _over(patch, profile.take(along.astype(np.intp), mode="clip"))


def _lit_surface(
    along: NDArray[np.floating],
    across: NDArray[np.floating],
    radius: float,
    light: tuple[float, float],
    rim: float,
    colour: Colour,
    haze: float,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """(..., 3) colour already weighted by coverage, and (...) coverage of a lit round surface with a dark rim.

    Args:
        along: (...) place on the surface as a share of its radius.
        across: (...) the same, at a right angle.
        radius: pixels; tells how wide a pixel is on the edge.
        light: direction of the light in the same axes.
        rim: pixels, width of the dark outline.
        colour: of the lit side.
        haze: 0 to 1, share of floor colour mixed in for what is far away.
    """
    square = along * along + across * across
    inside = (1 - np.sqrt(square)) * radius + 0.5
    cover = np.clip(inside, 0, 1)
    edge = (np.clip(inside + rim, 0, 1) - cover) * 0.6
    lit = np.sqrt(np.maximum(1 - square, 0)) * _LIGHT[2] + along * light[0] + across * light[1]
    shine = np.maximum(lit - 0.72, 0)
    tint = [(1 - haze) * c + haze * f for c, f in zip(colour, _FLOOR, strict=True)]
    ink = [(1 - haze) * c + haze * f for c, f in zip(INK, _FLOOR, strict=True)]
    layer = (np.maximum(0.66 + 0.34 * lit - shine, 0) * cover)[..., None] * np.asarray(tint)
    layer += (shine * cover * 255)[..., None] + edge[..., None] * np.asarray(ink)
    return layer, cover + edge


@lru_cache(maxsize=8192)
def _limb_profile(radius: float, angle: int, colour: Colour, haze: float, rim: float) -> NDArray[np.uint32]:
    """(2 * _PROFILE_MIDDLE + 1,) words of weighted colour and coverage, across a limb from one side to the other.

    The table has `_PROFILE_STEPS` entries per radius; `angle` is the direction of the limb in 64ths of a turn.
    """
    across = np.arange(-_PROFILE_MIDDLE, _PROFILE_MIDDLE + 1) / _PROFILE_STEPS
    direction = math.tau * angle / 64
    light = (0.0, _LIGHT[1] * math.cos(direction) - _LIGHT[0] * math.sin(direction))
    layer, cover = _lit_surface(np.zeros_like(across), across, max(radius, 0.25), light, rim, colour, haze)
    layer[[0, -1]], cover[[0, -1]] = 0, 0
    return _covered_words(layer, cover)


@lru_cache(maxsize=8192)
def _ball_sprite(radius: float, u: float, v: float, colour: Colour, haze: float, rim: float) -> Pixels:
    """(n, n) words of weighted colour and coverage of a ball centred (u, v) into the middle pixel."""
    reach = math.ceil(radius + rim + 1.5)
    radius = max(radius, 0.25)
    offset = np.arange(-reach, reach + 1) + 0.5
    x, y = np.meshgrid((offset - u) / radius, (offset - v) / radius)
    return _covered_words(*_lit_surface(x, y, radius, (_LIGHT[0], _LIGHT[1]), rim, colour, haze))


def _covered_words(layer: NDArray[np.floating], cover: NDArray[np.floating]) -> Pixels:
    """(...) words of weighted colour (..., 3) and coverage (...); no colour exceeds its coverage, so sums fit."""
    alpha = np.floor(cover * 255)[..., None]
    words = np.concatenate([np.minimum(layer, alpha), alpha], axis=-1).astype(np.uint8)
    return words.view(np.uint32)[..., 0]
