"""Lifted motion drawn over the detected keypoints in the camera image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmr4d.body.skeleton import Skeleton
from hmr4d.utils.files import atomic_path
from hmr4d.visualization.figure_style import SIDE_COLORS, figure_style
from hmr4d.visualization.floor_grid import floor_grid
from hmr4d.visualization.pixels import FLOOR, INK, PAPER, load_font, to_pixels
from hmr4d.visualization.video_file import write_mp4
from hmr4d.visualization.view_camera import PinholeView

_LONGEST = 960  # pixels; longer side of the drawn image
_SHORTEST = 64
_SHEET_FRAMES = 6
_ROOM = 1.15  # size of the shown region relative to the extent of the people
_SMALLEST_SHARE = 0.2  # smallest shown region relative to the image


@dataclass(frozen=True)
class Overlay:
    """One person in a camera image.

    Attributes:
        joints2d: (L, J, 2) pixels, projected lifted joints.
        kp2d: (L, J, 2) pixels, observed keypoints.
        kp2d_conf: (L, J) confidence, 0 for missing.
        skeleton: skeleton of the joints.
        first_frame: frame number of frame 0 in the video.
    """

    joints2d: NDArray[np.floating]
    kp2d: NDArray[np.floating]
    kp2d_conf: NDArray[np.floating]
    skeleton: Skeleton
    first_frame: int = 0

    @property
    def errors(self) -> NDArray[np.float64]:
        """(L,) mean distance between projected and observed joints, pixels; NaN in frames without observed joints."""
        off = np.linalg.norm(self.joints2d - self.kp2d, axis=-1) * (self.kp2d_conf > 0)
        count = (self.kp2d_conf > 0).sum(-1)
        return np.where(count > 0, off.sum(-1) / np.maximum(count, 1), np.nan)


class OverlayPainter:
    """Draws overlays in the images of one camera.

    Args:
        size: width and height of the camera's images, pixels.
        K4: (4,) fx, fy, cx, cy.
        T_w2c: (4, 4).
    """

    def __init__(self, size: tuple[int, int], K4: NDArray[np.float64], T_w2c: NDArray[np.float64]) -> None:
        self.scale = min(1.0, _LONGEST / max(size))
        width, height = (max(2 * round(side * self.scale / 2), _SHORTEST) for side in size)
        self.size = width, height
        self._font = load_font(max(height // 36, 11))
        K = np.array([[K4[0], 0.0, K4[2]], [0.0, K4[1], K4[3]], [0.0, 0.0, 1 / self.scale]]) * self.scale
        self._floor = floor_grid(PinholeView(K, T_w2c, self.size))

    def draw(self, people: Sequence[Overlay], frame: int, picture: Image.Image | None = None) -> Image.Image:
        """The image of a frame: lifted limbs, rings at observed joints, and lines that connect both."""
        image = self._floor.copy() if picture is None else picture.convert("RGB").resize(self.size)
        drawer = ImageDraw.Draw(image)
        width = max(round(self.size[1] / 150), 2)
        for person in people:
            self._person(drawer, person, frame, width)
        return image

    def label(self, image: Image.Image, people: Sequence[Overlay], frame: int) -> None:
        """Writes the frame number and the mean error, pixels, into the corner of an image."""
        errors = [float(person.errors[frame]) for person in people]
        words = ", ".join("not observed" if np.isnan(e) else f"{e:.1f} px off" for e in errors)
        place, text = (8, 6), f"frame {people[0].first_frame + frame}: {words}"
        ImageDraw.Draw(image).text(place, text, font=self._font, fill=INK, stroke_width=2, stroke_fill=PAPER)

    def surroundings(self, people: Sequence[Overlay]) -> NDArray[np.int64]:
        """(L, 4) left, top, right, bottom of the region of all people, with the aspect ratio of the image."""
        seen = [np.where(person.kp2d_conf[..., None] > 0, person.kp2d, np.nan) for person in people]
        points = np.concatenate([*(person.joints2d for person in people), *seen], 1) * self.scale  # (L, N, 2)
        size = np.array(self.size)
        is_inside: NDArray[np.bool_] = np.all((points >= 0) & (points <= size), axis=-1)  # (L, N)
        if not is_inside.any():
            return np.tile([0, 0, *self.size], (len(points), 1))
        empty: NDArray[np.bool_] = np.all(~is_inside, axis=1)
        low = np.where(is_inside[..., None], points, np.inf).min(1)
        high = np.where(is_inside[..., None], points, -np.inf).max(1)
        low[empty], high[empty] = 0, 0
        share = min(max(float((_ROOM * (high - low) / size).max()), _SMALLEST_SHARE), 1.0)
        middle = np.where(empty[:, None], size / 2, (low + high) / 2)
        corner = np.clip(middle - share * size / 2, 0, size * (1 - share)).round().astype(int)
        return np.concatenate([corner, np.minimum(corner + np.ceil(share * size).astype(int), size)], 1)

    def _person(self, drawer: ImageDraw.ImageDraw, person: Overlay, frame: int, width: int) -> None:
        lifted, observed = person.joints2d[frame] * self.scale, person.kp2d[frame] * self.scale
        sides = figure_style(person.skeleton).joint_sides
        inside = np.isfinite(lifted).all(-1) & (np.abs(lifted) < 4 * max(self.size)).all(-1)
        for a, b in person.skeleton.limbs:
            if inside[a] and inside[b]:
                side = sides[b] if sides[a] == "center" else sides[a]
                drawer.line([*lifted[a], *lifted[b]], fill=SIDE_COLORS[side], width=width)
        radius = 1.2 * width
        for joint in np.flatnonzero(person.kp2d_conf[frame] > 0):
            (u, v), color = observed[joint], SIDE_COLORS[sides[joint]]
            if inside[joint]:
                drawer.line([u, v, *lifted[joint]], fill=(205, 62, 84), width=1)
            box = (u - radius, v - radius, u + radius, v + radius)
            drawer.ellipse(box, fill=PAPER, outline=color, width=max(width // 2, 1))


def write_overlay_video(
    path: str | os.PathLike[str],
    painter: OverlayPainter,
    people: Sequence[Overlay],
    *,
    fps: float,
    pictures: Iterator[Image.Image] | None = None,
) -> None:
    """Writes an mp4 of all frames, drawn over the frames of `video` if given."""
    count = len(people[0].joints2d)

    def frames() -> Iterator[NDArray[np.uint32]]:
        for frame in range(count):
            picture = painter.draw(people, frame, None if pictures is None else next(pictures, None))
            painter.label(picture, people, frame)
            yield to_pixels(picture)

    write_mp4(path, frames(), fps=fps, size=painter.size)


def write_overlay_sheet(path: str | os.PathLike[str], painter: OverlayPainter, people: Sequence[Overlay]) -> None:
    """Writes a PNG of evenly spaced frames from the first to the last, cropped around all people."""
    count = len(people[0].joints2d)
    frames = np.unique(np.round(np.linspace(0, count - 1, _SHEET_FRAMES)).astype(int))
    (width, height), boxes = (side // 2 for side in painter.size), painter.surroundings(people)
    columns = min(len(frames), 3)
    rows = -(-len(frames) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), PAPER)
    for place, frame in enumerate(frames):
        whole = painter.draw(people, int(frame))
        cell = whole.resize((width, height), Image.Resampling.LANCZOS, box=tuple(boxes[frame].tolist()))
        painter.label(cell, people, int(frame))
        ImageDraw.Draw(cell).rectangle((0, 0, width - 1, height - 1), outline=FLOOR)
        sheet.paste(cell, (place % columns * width, place // columns * height))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
