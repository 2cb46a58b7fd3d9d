"""A contact sheet: one image of a batch of motions, one row each, with poses from left to right over time."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmr4d.body.skeleton import Skeleton
from hmr4d.motion.motion import Motion
from hmr4d.utils.files import atomic_path
from hmr4d.visualization.pixels import INK, PAPER, QUIET_INK, load_font, to_image, to_pixels
from hmr4d.visualization.stick_renderer import StickRenderer
from hmr4d.visualization.stick_video import fit_motion_camera
from hmr4d.visualization.video_page import wrap_caption

log = logging.getLogger(__name__)

_CELL = (170, 220)  # pixels
_HEADER = 34


def write_contact_sheet(
    path: str | os.PathLike[str],
    motions: Sequence[Motion],
    *,
    frames_per_motion: int = 8,
) -> None:
    """Writes a PNG with one row per motion: caption, then poses at equal time steps from the first to the last frame.

    All cells of a row share view direction and distance. Each shows the figure in the center and its path on the floor.

    Args:
        path: file to write.
        motions: motions to draw; lengths, rates and skeletons may differ. Their texts are the captions, with the seed
            where several motions have the same text.
        frames_per_motion: poses per row; a shorter motion shows each frame once.

    Raises:
        ValueError: there is no motion, or joints are not finite; the message names the motion.
    """
    if not motions:
        raise ValueError("motions is empty but a contact sheet needs at least one motion.")
    if frames_per_motion < 1:
        raise ValueError(f"frames_per_motion is {frames_per_motion} but a row needs at least one pose.")
    row_height = _HEADER + _CELL[1]
    sheet = Image.new("RGB", (_CELL[0] * frames_per_motion, row_height * len(motions)), PAPER)
    drawer, font = ImageDraw.Draw(sheet), load_font(15)
    texts = Counter(motion.text for motion in motions)
    for row, motion in enumerate(motions):
        try:
            joints = motion.array()
        except ValueError as error:
            raise ValueError(f"Motion {row} ({motion.text!r}): {error}") from error
        top = row * row_height
        seed = motion.provenance.seed
        which = f"seed {seed}: " if seed is not None and texts[motion.text] > 1 else ""
        line = wrap_caption(f"{row + 1}.  {which}{motion.text}", font, sheet.width - 24, 1)[0]
        drawer.text((12, top + 20), line, font=font, fill=INK, anchor="lm")
        for column, cell in enumerate(_cells(joints, motion.fps, motion.skeleton, frames_per_motion)):
            sheet.paste(cell, (column * _CELL[0], top + _HEADER))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    log.info("Contact sheet of %d motion(s) written to %s", len(motions), path)


def _cells(joints3d: NDArray[np.float32], fps: float, skeleton: Skeleton, count: int) -> list[Image.Image]:
    """Images of poses at equal intervals, each with its time below."""
    frames = np.unique(np.round(np.linspace(0, len(joints3d) - 1, count)).astype(int))
    path = joints3d[:, 0, [0, 2]]
    camera = fit_motion_camera(joints3d, path, skeleton, frame=(6, 8, _CELL[0] - 6, _CELL[1] - 28))
    renderer = StickRenderer(skeleton, camera, size=_CELL, floor_bottom=_CELL[1] - 12)
    base, font = to_pixels(renderer.floor), load_font(12)
    cells = []
    for frame in frames:
        cell = to_image(renderer.draw(base, joints3d[frame], path[frame], path=path, now=int(frame)))
        place = (_CELL[0] / 2, _CELL[1] - 9)
        ImageDraw.Draw(cell).text(place, f"{frame / fps:.2f} s", font=font, fill=QUIET_INK, anchor="mm")
        cells.append(cell)
    return cells
