"""Frames of a video at 30 frames per second, the nearest one for each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hmr4d.curation.edge_measures import WIDTH
from hmr4d.curation.records import Rejected
from hmr4d.detection.video_pictures import VideoMetadata, read_video_metadata, video_pictures
from hmr4d.keypoint_files.rates import even_times

MOST_SECONDS = 4 * 3600.0


def probe(path: Path) -> tuple[VideoMetadata, NDArray[np.float64]]:
    """Metadata of a video, and the (N,) seconds of its frames.

    Raises:
        Rejected: the video cannot be decoded, has no time stamps, or is longer than MOST_SECONDS.
    """
    try:
        metadata = read_video_metadata(path)
    except (ValueError, OSError) as error:
        raise Rejected("unreadable", str(error)) from error
    times = metadata.times
    if not len(times) or (np.diff(times) <= 0).any():
        times = np.unique(times)
    if not len(times):
        raise Rejected("no_frame_rate", "the video has no time stamps of its frames.")
    if times[-1] > MOST_SECONDS:
        raise Rejected("too_long", f"it lasts {times[-1] / 3600:.1f} hours; the limit is {MOST_SECONDS / 3600:g}.")
    return metadata, times


def nearest_pictures(path: Path, times: NDArray[np.float64], at: NDArray[np.float64]) -> Iterator[Image.Image]:
    """The frame nearest to each of the increasing times `at` (M,); fewer if the video ends before.

    Args:
        path: path of the video.
        times: (N,) seconds of its frames.
        at: (M,) seconds.
    """
    edges = (times[1:] + times[:-1]) / 2
    return video_pictures(path, np.searchsorted(edges, at).tolist())


def gray(picture: Image.Image) -> NDArray[np.uint8]:
    """(h, WIDTH) gray image for `edge_measures`."""
    height = max(round(picture.height * WIDTH / picture.width), 1)
    return np.asarray(picture.convert("L").resize((WIDTH, height), Image.Resampling.BILINEAR))


def grid_of(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,) times at 30 frames per second over a video."""
    return even_times(times, 30.0)
