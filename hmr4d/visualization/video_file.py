"""Video files: H.264 by a packaged ffmpeg, and animated WebP."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

import imageio_ffmpeg

from hmr4d.utils.files import atomic_path
from hmr4d.visualization.pixels import Pixels, to_image

log = logging.getLogger(__name__)

_SMALLEST = 64  # pixels; smallest width and height
# These settings save a third of the encoding time at the same file size, because little moves in these images.
_SEARCH = "rc-lookahead=5:b-adapt=0:weightp=1:me=dia:subme=1"
_WEBP_QUALITY = 60  # of 100; a figure on a plain floor has no visible blocks at this quality
_ENCODING = ("-preset", "veryfast", "-crf", "22", "-threads", "2", "-x264-params", _SEARCH)


def check_video_size(size: tuple[int, int]) -> None:
    """Raises ValueError if images of (width, height) pixels cannot be encoded."""
    if size[0] % 2 or size[1] % 2 or min(size) < _SMALLEST:
        raise ValueError(f"size is {tuple(size)} but H.264 needs even width and height of at least {_SMALLEST} pixels.")


def write_mp4(path: str | os.PathLike[str], pictures: Iterable[Pixels], *, fps: float, size: tuple[int, int]) -> None:
    """Writes images as an H.264 mp4, atomically.

    Args:
        path: file to write.
        pictures: (H, W) packed pixels each, see `pixels`.
        fps: images per second.
        size: (width, height) pixels, even.

    Raises:
        ValueError: the size is invalid.
    """
    check_video_size(size)
    count = 0
    with atomic_path(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            size,
            fps=fps,  # type: ignore[arg-type]  # fractions are supported
            codec="libx264",
            pix_fmt_in="rgb0",
            pix_fmt_out="yuv420p",
            quality=None,  # type: ignore[arg-type]  # the encoder's own quality scale is set below
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=[*_ENCODING, "-movflags", "+faststart", "-f", "mp4"],
        )
        writer.send(None)
        try:
            for picture in pictures:
                writer.send(picture)
                count += 1
        finally:
            writer.close()
    log.info("Video of %d frames written to %s", count, path)


def write_webp(path: str | os.PathLike[str], pictures: Iterable[Pixels], *, fps: float) -> None:
    """Writes images as an animated WebP in an endless loop, for web pages.

    Args:
        path: file to write; the write is atomic.
        pictures: (H, W) packed pixels each, see `pixels`; all are kept in memory.
        fps: images per second; durations are rounded to milliseconds.

    Raises:
        ValueError: there is no image.
    """
    images = [to_image(picture) for picture in pictures]
    if not images:
        raise ValueError(f"There is no image to write to {path}; give at least one.")
    with atomic_path(path) as temporary:
        images[0].save(
            temporary,
            "WEBP",
            save_all=True,
            append_images=images[1:],
            duration=round(1000 / fps),
            loop=0,
            quality=_WEBP_QUALITY,
            method=4,
        )
    log.info("Animated WebP of %d frames written to %s", len(images), path)
