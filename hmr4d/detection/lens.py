"""The focal length in the metadata of a video or an image."""

from __future__ import annotations

import logging
import re
import subprocess
from pathlib import Path

from PIL import Image

from hmr4d.detection.video_pictures import picture_files

logger = logging.getLogger(__name__)

_FILM_DIAGONAL = 43.267  # millimeters, of 24 x 36
_EQUIVALENT = re.compile(r"^[^=]*focal_?length[^=]*35mm[^=]*=\s*([0-9.]+)", re.IGNORECASE | re.MULTILINE)
_CAMERA = re.compile(r"^[^=\n]*\b(make|model)\b[^=\n]*=\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_IN_35MM, _EXIF = 0xA405, 0x8769  # tags of Exif
_SHORTEST, _LONGEST = 8.0, 600.0  # millimeters that are believed
_SECONDS = 30


def focal_of_metadata(path: Path, size: tuple[int, int]) -> float | None:
    """Focal length in pixels from the 35 mm equivalent in the metadata; None without it.

    Args:
        path: video, or folder of images, of which the first is read. size: width and height of the images.
    """
    millimeters = _of_picture(picture_files(path)[0]) if path.is_dir() else _of_video(path)
    if millimeters is None or not _SHORTEST <= millimeters <= _LONGEST:
        return None
    return millimeters / _FILM_DIAGONAL * float(size[0] ** 2 + size[1] ** 2) ** 0.5


def _of_picture(path: Path) -> float | None:
    with Image.open(path) as picture:
        value = picture.getexif().get_ifd(_EXIF).get(_IN_35MM)
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _of_video(path: Path) -> float | None:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-"]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("%s contains no readable lens metadata (%s).", path, type(error).__name__)
        return None
    output = done.stdout.decode("utf-8", "replace")
    if camera := " ".join(match[1] for match in _CAMERA.findall(output)):
        logger.info("%s was taken with %s.", path, camera)
    found = _EQUIVALENT.search(output)
    return float(found[1]) if found else None
