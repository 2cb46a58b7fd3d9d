"""Frames of a video in coded order, and their time stamps.

A folder of images is read like a video, in the order of the numbers in their names.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hmr4d.keypoint_files.detections import frame_numbers
from hmr4d.utils.files import is_shown

logger = logging.getLogger(__name__)

EVEN_TIMES = 0.25  # relative tolerance of the time between frames
EVEN_CLOCK = 1.5  # maximum deviation from even times over the whole video, in frame intervals
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".3gp", ".mts", ".ts", ".wmv", ".gif")
_SAME_RATE = 0.01  # relative tolerance of the rate in the file
_SECONDS_TO_LIST = 120  # timeout of ffmpeg for listing the frames of a long video


def usual_step(times: NDArray[np.float64]) -> float | None:
    """Usual seconds between frames at these times (N,); None for less than two frames."""
    return float(np.median(np.diff(times))) if len(times) > 1 else None


def are_uneven(times: NDArray[np.float64]) -> bool:
    """Whether the times (N,) between frames differ, locally or between parts."""
    step = usual_step(times)
    if step is None or step <= 0:
        return False
    even = np.linspace(times[0], times[-1], len(times))
    if np.abs(times - even).max() > EVEN_CLOCK * step:
        return True
    return bool(np.mean(np.abs(np.diff(times) - step) > EVEN_TIMES * step) >= 0.01)


@dataclass(frozen=True)
class VideoMetadata:
    """Metadata of a video.

    Attributes:
        size: width and height of its frames, rotated as displayed. fps: mean frames per second, or None. times: (N,)
            seconds of each coded frame from the first one, in order; empty if unknown.
    """

    size: tuple[int, int]
    fps: float | None
    times: NDArray[np.float64]

    @property
    def step(self) -> float | None:
        """Usual seconds between frames."""
        return usual_step(self.times)

    @property
    def usual_fps(self) -> float | None:
        """Frames per second: from the file, or from the frame times if they differ.

        For even times it is the mean, since some files round times to milliseconds; for uneven ones, the most common
        rate.
        """
        if self.step is None or self.step <= 0:
            return self.fps
        step = self.step if self.is_uneven else float(self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return self.fps if self.fps and abs(self.fps * step - 1) < _SAME_RATE else 1 / step

    @property
    def is_uneven(self) -> bool:
        """Whether the times between frames differ, see `are_uneven`."""
        return are_uneven(self.times)

    @property
    def uneven(self) -> str | None:
        """A warning if the times between frames differ, as in phone videos, else None."""
        if not self.is_uneven or self.step is None or self.fps is None:
            return None
        steps = np.diff(self.times)
        return (
            f"has uneven frame times: {self.fps:.4g} frames per second on average, but {steps.min():.3f} to "
            f"{steps.max():.3f} s apart, mostly {1 / self.step:.4g} per second. Speeds are wrong where the rate "
            "changes; "
            "convert it to a constant rate before other programs detect keypoints."
        )

    def times_of(self, frame_ids: NDArray[np.generic]) -> NDArray[np.float64] | None:
        """(L,) seconds of the frames with these numbers; None if some are unknown."""
        numbers = frame_ids.astype(np.float64)
        if not len(self.times) or numbers.min() < 0 or numbers.max() > len(self.times) - 1:
            return None
        return np.interp(numbers, np.arange(len(self.times)), self.times)


def is_video(path: Path) -> bool:
    """Whether a path is a video, by its suffix, or a folder with images."""
    if path.is_dir():
        return any(p.suffix.lower() in PICTURES for p in path.iterdir())
    return path.suffix.lower() in VIDEOS


def picture_files(folder: Path) -> list[Path]:
    """The images of a folder in the order of the numbers in their names, or of their names without numbers.

    Raises:
        ValueError: there is no image, or two have the same number.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and is_shown(p, folder))
    if not paths:
        raise ValueError(f"{folder} contains no images; expected files such as 000001.jpg.")
    if not all(any(c.isdigit() for c in p.stem) for p in paths):
        return paths
    numbers = frame_numbers([p.name for p in paths], str(folder))
    return [path for _, path in sorted(zip(numbers, paths, strict=True))]


def read_video_metadata(path: Path) -> VideoMetadata:
    """Metadata of a video; for a folder of images, the size of the first one without times.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: it cannot be decoded.
    """
    if path.is_dir():
        return VideoMetadata(_open_picture(picture_files(path)[0]).size, None, np.empty(0))
    if not path.is_file():
        raise FileNotFoundError(f"Video not found: {path}. Check the path, or omit --video.")
    metadata, frames = _opened(path)
    frames.close()
    return VideoMetadata(
        tuple(metadata["size"]), float(metadata["fps"]) if metadata.get("fps") else None, _picture_times(path)
    )


def video_pictures(path: Path, numbers: Iterable[int] | None = None) -> Iterator[Image.Image]:
    """Frames of a video in coded order.

    Args:
        path: video, or folder of images. numbers: frame numbers, not decreasing; a repeated number returns the same
            frame. None: all.

    Raises:
        ValueError: it cannot be decoded, or images of a folder differ in size.
    """
    pictures = _folder_pictures(path) if path.is_dir() else _decoded(path)
    if numbers is None:
        yield from pictures
        return
    here, picture = -1, None
    for number in numbers:
        while here < number:
            picture = next(pictures, None)
            if picture is None:
                return
            here += 1
        assert picture is not None
        yield picture


def _decoded(path: Path) -> Iterator[Image.Image]:
    metadata, frames = _opened(path)
    for frame in frames:
        yield Image.frombytes("RGB", metadata["size"], frame)


def _folder_pictures(folder: Path) -> Iterator[Image.Image]:
    size: tuple[int, int] | None = None
    for path in picture_files(folder):
        picture = _open_picture(path)
        size = size or picture.size
        if picture.size != size:
            raise ValueError(
                f"{path} is {picture.size[0]} x {picture.size[1]} pixels, the previous ones are {size[0]} x "
                f"{size[1]}. Put only images of one camera into a folder."
            )
        yield picture


def _open_picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            turned = ImageOps.exif_transpose(picture)
            if turned.mode.startswith("I;16"):  # 65536 gray values; a plain conversion makes nearly all of them white
                turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
            return turned.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}).") from error


def _opened(path: Path) -> tuple[dict[str, Any], Generator[bytes, None, None]]:
    """Metadata of a video, and its frames.

    Raises:
        ValueError: it cannot be decoded.
    """
    import imageio_ffmpeg

    logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)  # it warns of every video that is turned
    frames = imageio_ffmpeg.read_frames(str(path), output_params=["-fps_mode", "passthrough"])
    try:
        return next(frames), frames  # type: ignore[return-value]
    except (OSError, RuntimeError, StopIteration) as error:
        reason = (str(error).splitlines() or ["no picture in it"])[0]
        raise ValueError(f"{path} cannot be read as a video ({reason}).") from error


def _picture_times(path: Path) -> NDArray[np.float64]:
    """(N,) seconds of the coded frames from the first one; empty if unknown. No frame is decoded."""
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
        logger.info("%s contains no readable frame times (%s).", path, type(error).__name__)
        return np.empty(0)
    if b"partial file" in done.stderr:
        logger.warning("%s is truncated, for example by an interrupted copy. The available part is read.", path)
    base, stamps = 0.0, []
    for line in done.stdout.decode("ascii", "replace").splitlines():
        if line.startswith("#tb 0:"):
            over, under = line.partition(":")[2].split("/")
            base = int(over) / int(under)
        elif line and not line.startswith("#"):
            stamps.append(int(line.split(",")[2]))  # presentation; packets come in the order of decoding
    times = np.sort(np.array(stamps, dtype=np.float64)) * base
    return times - times[0] if len(times) else times
