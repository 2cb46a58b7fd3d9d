"""Layout of video frames: caption above, legend and time below."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmr4d.visualization.figure_style import SIDE_COLORS
from hmr4d.visualization.pixels import INK, QUIET_INK, Pixels, color_word, drawable, load_font, to_pixels

_CAPTION_LINES = 3
_TRACK = (214, 220, 229)


class VideoPage:
    """Layout and captions of one video.

    Args:
        caption: caption, wrapped to three lines.
        size: (width, height) pixels.
        num_frames, fps: length and frame rate of the video, for the clock.

    Attributes:
        floor_top, floor_bottom: pixel rows between which the floor is drawn.
        frame: left, top, right, bottom of the region for the figure, pixels.
    """

    def __init__(self, caption: str, size: tuple[int, int], num_frames: int, fps: float) -> None:
        width, height = size
        self._unit = unit = height / 512
        self._font, self._small = load_font(17 * unit), load_font(13 * unit)
        self._lines = wrap_caption(caption, self._font, width - 40 * unit, _CAPTION_LINES)
        self.floor_top = round((14 + 22 * len(self._lines)) * unit)
        self.floor_bottom = height - round(34 * unit)
        self.frame = (16 * unit, self.floor_top + 12 * unit, width - 16 * unit, self.floor_bottom - 14 * unit)
        self._clock = _Clock(self._small, num_frames, fps)

    def base(self, floor: Image.Image) -> Pixels:
        """(H, W) packed pixels of a copy of the floor with caption and legend."""
        page = floor.copy()
        drawer = ImageDraw.Draw(page)
        for i, line in enumerate(self._lines):
            drawer.text((page.width / 2, (12 + 22 * i) * self._unit), line, font=self._font, fill=INK, anchor="ma")
        _draw_legend(page, self._small)
        return to_pixels(page)

    def draw_clock(self, pixels: Pixels, frame: int) -> None:
        """Draws the time and the progress of a frame into (H, W) packed pixels, in place."""
        self._clock.draw(pixels, frame)


def wrap_caption(caption: str, font: Any, width: float, max_lines: int) -> list[str]:
    """Caption wrapped to lines of at most `width` pixels, at spaces if possible; a truncated caption ends with `…`.

    Characters that the font lacks are replaced, see `drawable`.
    """
    lines: list[str] = []
    line = ""
    for word in drawable("".join(c if c.isprintable() else " " for c in caption)).split():
        candidate = f"{line} {word}".strip()
        if font.getlength(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        while font.getlength(word) > width and len(word) > 1:
            cut = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
            lines.append(word[:cut])
            word = word[cut:]  # noqa: PLW2901
        line = word
    lines += [line] if line else []
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: max_lines - 1], last.rstrip() + "…"]
    return lines


def _draw_legend(page: Image.Image, font: Any) -> None:
    """Draws the legend of side colors at the bottom right."""
    unit, x = page.height / 512, page.width - 14 * page.height / 512
    drawer = ImageDraw.Draw(page)
    for side in ("right", "left"):
        drawer.text((x, page.height - 20 * unit), side, font=font, fill=QUIET_INK, anchor="rm")
        x -= font.getlength(side) + 13 * unit
        dot = Image.new("L", (64, 64))
        ImageDraw.Draw(dot).ellipse((0, 0, 63, 63), fill=255)
        side_length = max(round(9 * unit), 1)
        dot = dot.resize((side_length, side_length), Image.Resampling.BOX)
        page.paste(SIDE_COLORS[side], (round(x), round(page.height - 24 * unit)), dot)
        x -= 12 * unit


class _Clock:
    """Time and frame number at the bottom left, and a progress bar at the lower edge.

    Each character is rendered once. All digits have the same width, so the text does not jitter.
    """

    def __init__(self, font: Any, num_frames: int, fps: float) -> None:
        self.num_frames, self.fps = num_frames, fps
        self._digit_width = max(font.getlength(c) for c in "0123456789")
        self._glyphs: dict[str, tuple[float, NDArray[np.uint8]]] = {}
        self._font = font

    def _glyph(self, character: str) -> tuple[float, NDArray[np.uint8]]:
        """Advance in pixels and (h, 4 w) bytes of the character in dark ink on white."""
        if character not in self._glyphs:
            advance = self._font.getlength(character)
            picture = Image.new("RGB", (math.ceil(advance) + 2, round(self._font.size * 1.6)), "white")
            # Anchored at the baseline, so characters of different height align.
            ImageDraw.Draw(picture).text(
                (1, picture.height * 0.7), character, font=self._font, fill=QUIET_INK, anchor="ls"
            )
            width = self._digit_width if character.isdigit() else advance
            self._glyphs[character] = (width, to_pixels(picture).view(np.uint8))
        return self._glyphs[character]

    def draw(self, pixels: Pixels, frame: int) -> None:
        """Draws into packed pixels (H, W), in place."""
        height, width = pixels.shape
        unit = height / 512
        full, empty = color_word(SIDE_COLORS["left"]), color_word(_TRACK)
        digits = len(str(self.num_frames))
        colors = pixels.view(np.uint8)
        x = 14 * unit
        for character in f"{frame / self.fps:.2f} s    frame {frame + 1:0{digits}d} / {self.num_frames}":
            advance, glyph = self._glyph(character)
            top, left = round(height - 20 * unit - len(glyph) / 2), 4 * (round(x) - 1)
            area = colors[top : top + len(glyph), left : left + glyph.shape[1]]
            np.minimum(area, glyph[: area.shape[0], : area.shape[1]], out=area)
            x += advance
        bar = max(round(4 * unit), 2)
        done = round(width * (frame + 1) / self.num_frames)
        pixels[height - bar :, :done] = full
        pixels[height - bar :, done:] = empty
