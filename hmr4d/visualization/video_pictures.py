"""Pictures of a video as they are coded, one after the other, and the times that the file gives them."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

logger = logging.getLogger(__name__)

EVEN_TIMES = 0.25  # share of the usual time between two pictures by which others may differ
_SECONDS_TO_LIST = 120  # that ffmpeg may take to list the pictures of a long video


@dataclass(frozen=True)
class VideoMetadata:
    """What a video says of itself.

    Attributes:
        size: width and height of its pictures, turned as they are shown.
        fps: pictures per second in the mean; None where it does not tell.
        times: (N,) seconds of each coded picture from the first one, in order; empty where the file does not tell.
    """

    size: tuple[int, int]
    fps: float | None
    times: NDArray[np.float64]

    @property
    def step(self) -> float | None:
        """Usual seconds from one picture to the next."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else None

    @property
    def uneven(self) -> str | None:
        """A sentence where the times between pictures differ, as in videos of phones; None where they do not."""
        if self.step is None or self.step <= 0 or self.fps is None:
            return None
        steps = np.diff(self.times)
        if np.mean(np.abs(steps - self.step) > EVEN_TIMES * self.step) < 0.01:
            return None
        return (
            f"has pictures at uneven times: {self.fps:.4g} a second in the mean, but {steps.min():.3f} to "
            f"{steps.max():.3f} s apart, mostly {1 / self.step:.4g} a second. Speeds are wrong where the rate changes; "
            "convert it to a constant rate before detecting keypoints."
        )

    def times_of(self, frame_ids: NDArray[np.generic]) -> NDArray[np.float64] | None:
        """(L,) seconds of the pictures with these numbers; None where the video does not tell them all."""
        numbers = frame_ids.astype(np.float64)
        if not len(self.times) or numbers.min() < 0 or numbers.max() > len(self.times) - 1:
            return None
        return np.interp(numbers, np.arange(len(self.times)), self.times)


def read_video_metadata(path: Path) -> VideoMetadata:
    """What a video says of itself.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be decoded.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Video not found: {path}. Check the path, or leave --video out.")
    facts, frames = _opened(path)
    frames.close()
    return VideoMetadata(tuple(facts["size"]), float(facts["fps"]) if facts.get("fps") else None, _picture_times(path))


def video_pictures(path: Path, first: int) -> Iterator[Image.Image]:
    """Coded pictures of a video from number `first` on, none left out and none twice.

    Raises:
        ValueError: it cannot be decoded.
    """
    facts, frames = _opened(path)
    for number, frame in enumerate(frames):
        if number >= first:
            yield Image.frombytes("RGB", facts["size"], frame)


def _opened(path: Path) -> tuple[dict[str, Any], Generator[bytes, None, None]]:
    """What a video says of itself, and its frames.

    Raises:
        ValueError: it cannot be decoded.
    """
    import imageio_ffmpeg

    library = logging.getLogger("imageio_ffmpeg")
    level = library.level
    library.setLevel(logging.ERROR)  # it warns of every video that was turned
    frames = imageio_ffmpeg.read_frames(str(path), output_params=["-fps_mode", "passthrough"])
    try:
        return next(frames), frames  # type: ignore[return-value]
    except (OSError, RuntimeError, StopIteration) as error:
        reason = (str(error).splitlines() or ["no picture in it"])[0]
        raise ValueError(f"{path} cannot be read as a video ({reason}).") from error
    finally:
        library.setLevel(level)


def _picture_times(path: Path) -> NDArray[np.float64]:
    """(N,) seconds of the coded pictures from the first one; empty where the file does not tell. Nothing is decoded."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:v:0", "-c", "copy"]
    try:
        done = subprocess.run(
            [*command, "-f", "framecrc", "-"],
            capture_output=True,
            check=True,
            timeout=_SECONDS_TO_LIST,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("%s does not tell when its pictures were taken (%s).", path, type(error).__name__)
        return np.empty(0)
    base, stamps = 0.0, []
    for line in done.stdout.decode("ascii", "replace").splitlines():
        if line.startswith("#tb 0:"):
            over, under = line.partition(":")[2].split("/")
            base = int(over) / int(under)
        elif line and not line.startswith("#"):
            stamps.append(int(line.split(",")[2]))  # presentation; packets come in the order of decoding
    times = np.sort(np.array(stamps, dtype=np.float64)) * base
    return times - times[0] if len(times) else times
