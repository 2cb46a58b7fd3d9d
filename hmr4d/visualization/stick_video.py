"""An mp4 of one motion: no display, no system ffmpeg, a few hundredths of a second per second of motion."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmr4d.body.skeleton import Skeleton
from hmr4d.export.motion_npz import checked_fps, checked_joints3d
from hmr4d.utils.files import atomic_path
from hmr4d.visualization.figure_style import SIDE_COLOURS, facing_angle, figure_style
from hmr4d.visualization.stick_renderer import (
    INK,
    QUIET_INK,
    Pixels,
    StickRenderer,
    colour_word,
    load_font,
    to_pixels,
)
from hmr4d.visualization.view_camera import ViewCamera, fit_camera, smooth_follow

log = logging.getLogger(__name__)

_AZIMUTH = math.radians(34)  # from straight ahead towards the figure's left: a three-quarter view
_ELEVATION = math.radians(13)
_SMALLEST = 64  # pixels
_CAPTION_LINES = 3
_TRACK = (214, 220, 229)
# These settings take a third off the work of the encoder at the same size of file: little moves in these pictures.
_SEARCH = "rc-lookahead=5:b-adapt=0:weightp=1:me=dia:subme=1"
_ENCODING = ("-preset", "veryfast", "-crf", "22", "-threads", "2", "-x264-params", _SEARCH)


def write_stick_video(
    path: str | os.PathLike[str],
    joints3d: NDArray[Any],
    *,
    fps: float,
    skeleton: Skeleton,
    caption: str = "",
    size: tuple[int, int] = (512, 512),
) -> None:
    """Writes one motion as an H.264 mp4 with one picture per frame.

    Args:
        path: file to write.
        joints3d: (L, J, 3) metres, world, y up; array or tensor.
        fps: frames per second of motion and video.
        skeleton: joint meaning of axis J.
        caption: written on top, wrapped to three lines.
        size: (width, height) pixels, even.

    Raises:
        ValueError: joints that do not fit the skeleton or are not finite, a bad fps or a bad size.
    """
    joints = checked_joints3d(joints3d, skeleton)
    fps = checked_fps(fps)
    width, height = size
    if width % 2 or height % 2 or min(size) < _SMALLEST:
        raise ValueError(f"size is {tuple(size)} but H.264 needs even width and height of at least {_SMALLEST} pixels.")
    with atomic_path(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            (width, height),
            fps=fps,  # type: ignore[arg-type]  # fractions are fine
            codec="libx264",
            pix_fmt_in="rgb0",
            pix_fmt_out="yuv420p",
            quality=None,  # type: ignore[arg-type]  # the encoder's own scale, below
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=[*_ENCODING, "-movflags", "+faststart", "-f", "mp4"],
        )
        writer.send(None)
        try:
            for picture in video_frames(joints, fps=fps, skeleton=skeleton, caption=caption, size=size):
                writer.send(picture)
        finally:
            writer.close()
    log.info("Video of %d frames written to %s", len(joints), path)


def video_frames(
    joints3d: NDArray[np.floating],
    *,
    fps: float,
    skeleton: Skeleton,
    caption: str = "",
    size: tuple[int, int] = (512, 512),
) -> Iterator[Pixels]:
    """Yields the pictures of a video in order, as (H, W) words (see `stick_renderer`), for finite joints (L, J, 3)."""
    width, height = size
    unit = height / 512
    font, small = load_font(17 * unit), load_font(13 * unit)
    lines = wrap_caption(caption, font, width - 40 * unit, _CAPTION_LINES)
    floor_top = round((14 + 22 * len(lines)) * unit)
    floor_bottom = height - round(34 * unit)
    follow = smooth_follow(joints3d[:, 0], fps)
    camera = fit_motion_camera(
        joints3d,
        follow,
        skeleton,
        frame=(16 * unit, floor_top + 12 * unit, width - 16 * unit, floor_bottom - 14 * unit),
    )
    renderer = StickRenderer(skeleton, camera, size=size, floor_top=floor_top, floor_bottom=floor_bottom)
    page = renderer.floor.copy()
    drawer = ImageDraw.Draw(page)
    for i, line in enumerate(lines):
        drawer.text((width / 2, (12 + 22 * i) * unit), line, font=font, fill=INK, anchor="ma")
    _draw_legend(page, small)
    clock = _Clock(small, len(joints3d), fps)
    base = to_pixels(page)
    for frame, joints in enumerate(joints3d):
        pixels = renderer.draw(base, joints, follow[frame], path=joints3d[:, 0, [0, 2]], now=frame)
        clock.draw(pixels, frame)
        yield pixels


def fit_motion_camera(
    joints3d: NDArray[np.floating],
    follow: NDArray[np.floating],
    skeleton: Skeleton,
    *,
    frame: tuple[float, float, float, float],
    azimuth: float = _AZIMUTH,
    elevation: float = _ELEVATION,
) -> ViewCamera:
    """Three-quarter camera in which the whole clip (L, J, 3), seen while following (L, 2), stays inside `frame`."""
    style = figure_style(skeleton)
    points = (
        joints3d if style.head is None else np.concatenate([joints3d, style.head_centre(joints3d)[:, None]], axis=1)
    )
    relative = points - np.insert(follow, 1, 0.0, axis=1)[:, None]
    reach = style.head_radius + 0.02
    low, high = relative - reach, relative + reach
    low[..., 1] = np.minimum(low[..., 1], -0.05)
    around = np.concatenate([low.reshape(-1, 3), high.reshape(-1, 3)])
    return fit_camera(around, azimuth=facing_angle(joints3d, skeleton) + azimuth, elevation=elevation, frame=frame)


def wrap_caption(caption: str, font: Any, width: float, max_lines: int) -> list[str]:
    """Caption broken into lines of at most `width` pixels, at spaces if it can be; a caption cut short ends in `…`."""
    lines: list[str] = []
    line = ""
    for word in "".join(c if c.isprintable() else " " for c in caption).split():
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
    """Says at the bottom right which colour is which side."""
    unit, x = page.height / 512, page.width - 14 * page.height / 512
    drawer = ImageDraw.Draw(page)
    for side in ("right", "left"):
        drawer.text((x, page.height - 20 * unit), side, font=font, fill=QUIET_INK, anchor="rm")
        x -= font.getlength(side) + 13 * unit
        dot = Image.new("L", (64, 64))
        ImageDraw.Draw(dot).ellipse((0, 0, 63, 63), fill=255)
        side_length = max(round(9 * unit), 1)
        dot = dot.resize((side_length, side_length), Image.Resampling.BOX)
        page.paste(SIDE_COLOURS[side], (round(x), round(page.height - 24 * unit)), dot)
        x -= 12 * unit


class _Clock:
    """Time and frame number at the bottom left, and a bar of what has passed along the lower edge.

    Each character is drawn once; all digits are given the same width so that the line does not tremble.
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
            # Anchored on the baseline: characters of different height stay on one line.
            ImageDraw.Draw(picture).text(
                (1, picture.height * 0.7), character, font=self._font, fill=QUIET_INK, anchor="ls"
            )
            width = self._digit_width if character.isdigit() else advance
            self._glyphs[character] = (width, to_pixels(picture).view(np.uint8))
        return self._glyphs[character]

    def draw(self, pixels: Pixels, frame: int) -> None:
        """Writes into the picture (H, W), in place."""
        height, width = pixels.shape
        unit = height / 512
        full, empty = colour_word(SIDE_COLOURS["left"]), colour_word(_TRACK)
        digits = len(str(self.num_frames))
        colours = pixels.view(np.uint8)
        x = 14 * unit
        for character in f"{frame / self.fps:.2f} s    frame {frame + 1:0{digits}d} / {self.num_frames}":
            advance, glyph = self._glyph(character)
            top, left = round(height - 20 * unit - len(glyph) / 2), 4 * (round(x) - 1)
            area = colours[top : top + len(glyph), left : left + glyph.shape[1]]
            np.minimum(area, glyph[: area.shape[0], : area.shape[1]], out=area)
            x += advance
        bar = max(round(4 * unit), 2)
        done = round(width * (frame + 1) / self.num_frames)
        pixels[height - bar :, :done] = full
        pixels[height - bar :, done:] = empty
