"""Videos of clips with the person in a red box, for captioners and viewers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from hmr4d.curation.filters import FPS
from hmr4d.curation.video_frames import nearest_pictures
from hmr4d.visualization.pixels import Pixels, to_pixels
from hmr4d.visualization.video_file import write_mp4

RED = (230, 20, 20)
LONGEST = 960  # pixels of the longer side
ROOM = 0.05  # margin around the box, relative to the box


def render_red_box(
    video: Path, times: NDArray[np.float64], start_s: float, boxes: NDArray[np.floating], out: Path
) -> None:
    """Writes an mp4 of a clip at 30 frames per second with the person in a red box.

    Args:
        video: source video.
        times: (N,) seconds of its frames.
        start_s: start of the clip in the video, seconds.
        boxes: (F, 4) left, top, right, bottom of the person in each frame of the clip, pixels of the video.
        out: file to write; the write is atomic.
    """
    at = start_s + np.arange(len(boxes)) / FPS
    pictures = nearest_pictures(video, times, at)
    first = next(pictures)
    scale = min(1.0, LONGEST / max(first.size))
    size = (max(2 * round(first.width * scale / 2), 64), max(2 * round(first.height * scale / 2), 64))
    factors = np.tile(np.array(size) / first.size, 2)

    def boxed() -> Iterator[Pixels]:
        for number, picture in enumerate(itertools.chain([first], pictures)):
            frame = picture.convert("RGB").resize(size)
            box = boxes[number] * factors
            room = ROOM * (box[2:] - box[:2])
            corners = [*(box[:2] - room), *(box[2:] + room)]
            ImageDraw.Draw(frame).rectangle(corners, outline=RED, width=max(size[1] // 180, 2))
            yield to_pixels(frame)

    write_mp4(out, boxed(), fps=FPS, size=size)
