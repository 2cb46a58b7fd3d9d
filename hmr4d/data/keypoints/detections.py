"""What every layout of keypoint files is read into: an entry per person and frame, and what else the file tells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LAST_DIGITS = re.compile(r"(\d+)(?!.*\d)")
_OTHER_NAMES = {"hip": "pelvis", "mid_hip": "pelvis", "midhip": "pelvis"}


@dataclass(frozen=True)
class Detection:
    """One person in one frame.

    Attributes:
        frame: number of the frame.
        points: (J, 3) float64: u, v as in the file, confidence; a row without confidence in it has NaN.
        person: id that a tracker gave, or None.
    """

    frame: int
    points: NDArray[np.float64]
    person: str | None = None


@dataclass(frozen=True)
class DetectionTable:
    """All of a file.

    Attributes:
        detections: in any order.
        layout: "coco", "openpose", "alphapose", "mmpose", "vitpose" or "npz".
        skeleton: name of the joint set where the file or its layout tells it.
        fps: frames per second where the file tells it.
        joint_names: of the joints in the order of the file where it names them, in the words of `Skeleton`.
    """

    detections: Sequence[Detection]
    layout: str
    skeleton: str | None = None
    fps: float | None = None
    joint_names: tuple[str, ...] | None = None


def frame_number(name: Any, what: str) -> int:
    """Frame of a number, or the last digits of a file name; ValueError when there are none."""
    if isinstance(name, bool) or not isinstance(name, (int, float, str)):
        raise ValueError(f"{what} is {name!r}; expected a frame number or an image name that ends in one.")
    if isinstance(name, str):
        path = PurePosixPath(name.replace("\\", "/"))
        found = _LAST_DIGITS.search(path.name if path.suffix[1:].isdigit() else path.stem)
        if found is None:
            raise ValueError(f"{what} is '{name}', in which there is no frame number. Name images like 000012.jpg.")
        return int(found[1])
    if not float(name).is_integer() or name < 0:
        raise ValueError(f"{what} is {name}, which is no frame number. Frames are counted 0, 1, 2 ...")
    return int(name)


def flat_points(values: Any, what: str) -> NDArray[np.float64]:
    """(J, 3) from u, v, confidence, u, v, confidence ...; ValueError names the entry."""
    array = _numbers(values, what).reshape(-1)
    if len(array) == 0 or len(array) % 3:
        raise ValueError(
            f"{what} has {len(array)} numbers, no multiple of 3; expected u, v, confidence of every joint."
        )
    return array.reshape(-1, 3)


def paired_points(points: Any, scores: Any, what: str) -> NDArray[np.float64]:
    """(J, 3) from [[u, v], ...] or [[u, v, confidence], ...] and, or without, [confidence, ...]."""
    array = _numbers(points, what)
    if array.ndim == 3 and len(array) == 1:  # some versions keep an axis for the instance
        array = array[0]
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise ValueError(f"{what} has shape {array.shape}; expected [u, v] of every joint.")
    if scores is None:
        return array if array.shape[1] == 3 else np.insert(array, 2, np.nan, axis=1)
    conf = _numbers(scores, f"the confidences of {what}").reshape(-1)
    if len(conf) != len(array):
        raise ValueError(f"{what} has {len(array)} joints and {len(conf)} confidences; expected as many of both.")
    return np.concatenate([array[:, :2], conf[:, None]], 1)


def person_name(value: Any) -> str | None:
    """Id of a person as text; None for what trackers write when they do not know: nothing, a list of nothing, -1."""
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, (list, tuple, dict, bool)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value == -1 else str(value)


def joint_names(value: Any) -> tuple[str, ...] | None:
    """Names of joints from a list or {number: name}, in the words of `Skeleton`; None for anything else."""
    if isinstance(value, dict):
        numbers = [str(number) for number in range(len(value))]
        by_number = {str(number): name for number, name in value.items()}
        value = [by_number[n] for n in numbers] if by_number.keys() == set(numbers) else None
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        return None
    words = ["_".join(re.split(r"[\s_-]+", name.strip().lower())) for name in value]
    return tuple(_OTHER_NAMES.get(word, word) for word in words)


def _numbers(values: Any, what: str) -> NDArray[np.float64]:
    try:
        return np.asarray([] if values is None else values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is no table of numbers ({error}).") from error
