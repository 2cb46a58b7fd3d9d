"""The common form of all keypoint layouts: one entry per person and frame, and the metadata of the file."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.image_sizes import ImageSizes
from hmr4d.utils.text_files import printable

logger = logging.getLogger(__name__)

_DIGITS = re.compile(r"\d+")
_RATE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(?:/\s*(\d{1,9}))?\s*", re.ASCII)  # 30000/1001, too
_LONGEST = 60  # characters of a value in a message
_HIGHEST = 2**53  # numbers above are no frames
SLOWEST_RATE, FASTEST_RATE = 1.0, 1000.0  # frames per second of cameras


class SeveralVideosError(ValueError):
    """Image names of which two would be the same frame."""


@dataclass(frozen=True)
class Detection:
    """One person in one frame.

    Attributes:
        frame: number of the frame.
        points: (J, 3) float64: u, v as in the file, confidence; a row without confidence in it has NaN.
        person: id that a tracker gave, or None.
        place: index among the entries of its frame, placeholders counted.
        depth: (J,) depth of joints relative to the midpoint of the hips, meters, NaN where unknown; None: the detector
            estimates no depth.
    """

    frame: int
    points: NDArray[np.float64]
    person: str | None = None
    place: int = 0
    depth: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class DetectionTable:
    """All of a file.

    Attributes:
        detections: in any order.
        layout: "coco", "openpose", "alphapose", "mmpose", "vitpose", "ultralytics", "mediapipe", "apple",
            "deeplabcut" or "npz".
        skeleton: name of the joint set, if the file or its layout defines it. fps: frames per second, if the file
            contains it. joint_names: joint names in the order of the file, in the terms of `Skeleton`, if it names
            them. has_placeholders: absent people keep their position in the list of a frame. image_sizes: widths and
            heights in pixels in the file; several if the size changes. times: seconds by frame, if the file contains
            them in addition to the rate.
    """

    detections: Sequence[Detection]
    layout: str
    skeleton: str | None = None
    fps: float | None = None
    joint_names: tuple[str, ...] | None = None
    has_placeholders: bool = False
    image_sizes: ImageSizes = ()
    times: Mapping[int, float] = field(default_factory=dict)


@dataclass
class LeftOut:
    """Unreadable entries: some are skipped and reported, more than half are an error.

    Attributes:
        what: the entries, in the plural.
        good: number of readable ones.
    """

    what: str
    good: int = 0
    errors: list[ValueError] = field(default_factory=lambda: [])

    def tell(self) -> None:
        """Warns about skipped entries; raises the first error if as many are bad as good."""
        if not self.errors:
            return
        if len(self.errors) >= self.good:
            raise self.errors[0]
        total = self.good + len(self.errors)
        logger.warning(
            "%d of %d %s are skipped: %s", len(self.errors), total, self.what, printable(str(self.errors[0]))
        )


def shown(value: Any) -> str:
    """A value for a message: short, and without control characters."""
    text = printable(str(value) if isinstance(value, str) else repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def frame_number(name: Any, what: str) -> int:
    """Frame from a number, or from the last digits of a file name; ValueError if there are none."""
    while isinstance(name, (list, tuple)) and len(name) == 1:
        name = name[0]
    if isinstance(name, bool) or not isinstance(name, (int, float, str)):
        raise ValueError(f"{what} is {shown(name)}; expected a frame number or an image name that ends in one.")
    if isinstance(name, str):
        if re.fullmatch(r"\s*[+-]?\d{1,18}(\.0*)?\s*", name):
            return frame_number(float(name), what)
        found = _runs(name)
        if not found:
            raise ValueError(f"{what} is '{shown(name)}', which contains no frame number. Name images like 000012.jpg.")
        return _in_reach(found[-1], what)
    if not 0 <= name < _HIGHEST or name != int(name):
        raise ValueError(f"{what} is {shown(name)}, which is not a frame number. Frames are numbered 0, 1, 2 ...")
    return int(name)


def frame_numbers(names: Sequence[Any], what: str, *, tell: bool = True) -> list[int]:
    """Frames from image names of one video: the last number that changes and that counts, such as 12 in
    000012_1080p.jpg or in 000012_0.400.jpg.

    Args:
        names: image names or frame numbers.
        what: how messages call them.
        tell: warn about names of several series.

    Raises:
        ValueError: a name has no number, or none of several numbers counts. SeveralVideosError: two names have the same
            frame because they belong to several videos.
    """
    runs = [_runs(name) if isinstance(name, str) else [] for name in names]
    changing = [i for i in range(len(runs[0])) if len({r[i] for r in runs if len(r) > i}) > 1] if runs else []
    if changing and all(runs) and len({len(r) for r in runs}) == 1 and len({_template(str(n)) for n in names}) == 1:
        frames = _counting([[_in_reach(r[i], what) for r in runs] for i in changing], names, what)
    else:
        frames = [frame_number(name, what) for name in names]
        if tell:
            _tell_series([name for name in names if isinstance(name, str)])
    known: dict[int, Any] = {}
    for frame, name in zip(frames, names, strict=True):
        first = known.setdefault(frame, name)
        if str(first) != str(name) and not isinstance(name, (int, float)):
            raise SeveralVideosError(
                f"'{shown(first)}' and '{shown(name)}' would both be frame {frame}. Keep one video in a file, and name "
                "images by frame number, such as 000012.jpg."
            )
    return frames


def _counting(runs: Sequence[list[int]], names: Sequence[Any], what: str) -> list[int]:
    """Of the numbers in names that change, the last that differ between all names and grow with them, or in the order
    of the file; the last one, if it occurs twice.

    Raises:
        ValueError: there is none, since the numbers are clock times, for example.
    """
    count, table = len(set(map(str, names))), np.array(runs)
    by_name = np.lexsort(table[::-1])
    for row in table[::-1]:
        if len(set(row.tolist())) == count and any((np.diff(r) >= 0).all() for r in (row, row[by_name])):
            return row.tolist()
    if len(set(runs[-1])) == count:
        raise ValueError(
            f"{what}, such as '{shown(names[0])}', has several numbers that change, and none counts frames. Name "
            "images by frame number, such as 000012.jpg."
        )
    return runs[-1]


def _tell_series(names: Sequence[str]) -> None:
    """Warns about names of images of several series."""
    series = {re.sub(r"\d+", "#", PurePosixPath(name.replace("\\", "/")).stem): name for name in names}
    named = [name for pattern, name in series.items() if pattern.strip("#")]
    if len(named) > 1:
        logger.warning(
            "Images have names of %d series, such as '%s' and '%s'; they are read as one video.",
            len(named),
            *map(shown, named[:2]),
        )


def _runs(name: str) -> list[str]:
    path = PurePosixPath(name.replace("\\", "/"))
    return _DIGITS.findall(path.name if path.suffix[1:].isdigit() else path.stem)


def _template(name: str) -> str:
    return _DIGITS.sub("#", name)


def _in_reach(digits: str, what: str) -> int:
    if len(digits) > 18:
        raise ValueError(f"{what} has the number {shown(digits)}, which is no frame number.")
    return int(digits)


def frame_rate_of(value: Any) -> float | None:
    """Frame rate in a file, a number or text ("29.97", "30000/1001"); None, with a warning, if no camera has it."""
    if value is None:
        return None
    rate: Any = value
    if isinstance(value, str) and (written := _RATE.fullmatch(value)):
        rate = float(written[1]) / max(float(written[2] or 1), 1e-9)
    if not isinstance(rate, (bool, str)) and isinstance(rate, (int, float)) and 0 < rate <= FASTEST_RATE:
        return float(rate)
    logger.warning("The file's frame rate is %s, which no camera has; it is not used. --fps sets it.", shown(value))
    return None


def person_name(value: Any) -> str | None:
    """Id of a person as text; None for the values of trackers without an id: null, an empty list, -1."""
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, (list, tuple, dict, bool)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = shown(value)
    return None if text.lower() in ("-1", "", "nan", "none", "null") else text
