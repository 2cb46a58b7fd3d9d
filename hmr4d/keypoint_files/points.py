"""The joints of one entry, in any of their forms, as rows of u, v and confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.joint_names import ORDERS

POINT_KEYS = (
    "keypoints", "pose_keypoints_2d", "pose_keypoints", "keypoints_2d", "keypoints2d", "kpts", "kps", "kp2d",
    "joints2d", "joints_2d", "joints", "landmarks", "pose_landmarks", "poseLandmarks", "landmark", "recognizedPoints",
    "recognized_points", "points", "pose", "skeleton",
)  # fmt: skip
SCORE_KEYS = (
    "keypoint_scores", "keypoints_scores", "keypoints_score", "keypoints_conf", "keypoint_confidence", "confidences",
    "kp2d_conf", "scores", "conf", "confidence", "visibility", "score",
)  # fmt: skip
_WRAPPED = ("landmark", "landmarks", "keypoints", "points", "joints", "data")
_U, _V = ("x", "u", "X"), ("y", "v", "Y")
_CONF = (
    "visibility",
    "visible",
    "score",
    "confidence",
    "conf",
    "likelihood",
    "c",
    "v",
    "presence",
    "inFrameLikelihood",
)
_NAME = ("name", "part", "joint", "type", "bodypart")
_FEWEST = 6  # numbers of a flat list of joints; joints of a named one
_LONGEST = 120  # characters of an error in a message
_DEPTHS = 0.1  # fraction of negative values above which the third column is a depth and not a confidence


_NUMBERS_OR_NONE = {int, float, type(None)}


def is_points(value: Any) -> bool:
    """Whether a value is the joints of one person, by its shape."""
    if isinstance(value, Mapping):
        if _column(value, _U) is not None and _column(value, _V) is not None:
            return True
        if any(is_points(value[key]) for key in _WRAPPED if key in value):
            return True
        return (
            len(value) >= _FEWEST and all(_is_place(v) for v in value.values() if v is not None) and any(value.values())
        )
    if not isinstance(value, (list, tuple)) or not value:
        return False
    if _kinds(value) <= _NUMBERS_OR_NONE:
        return len(value) >= _FEWEST
    return all(v is None or v == [] or _is_place(v) for v in value)


def _is_place(value: Any) -> bool:
    if isinstance(value, Mapping):
        return POINT_KEYS[0] not in value and _place(value) is not None
    return isinstance(value, (list, tuple)) and 2 <= len(value) <= 5 and _kinds(value) <= _NUMBERS_OR_NONE


def _kinds(values: Sequence[Any]) -> set[type]:
    """Types in a list as JSON gives it. A set of them is many times faster than a question for each value."""
    return set(map(type, values))


def _column(value: Mapping[str, Any], keys: tuple[str, ...]) -> list[Any] | None:
    return next((value[k] for k in keys if isinstance(value.get(k), (list, tuple))), None)


def _place(value: Mapping[str, Any]) -> tuple[Any, Any, Any] | None:
    """u, v and confidence of {x, y, score}, or of {position: {x, y}, score}; None for anything else."""
    for key in ("position", "location", "point"):
        if isinstance(value.get(key), (Mapping, list)):
            inner = value[key]
            place = (
                _place(inner) if isinstance(inner, Mapping) else (inner[0], inner[1], None) if len(inner) >= 2 else None
            )
            return None if place is None else (place[0], place[1], _confidence(value, place[2]))
    u, v = (
        next((value[k] for k in keys if k in value and not isinstance(value[k], (list, dict))), value)
        for keys in (_U, _V)
    )
    if u is value or v is value:
        return None
    return u, v, _confidence(value, None)


def _confidence(value: Mapping[str, Any], default: Any) -> Any:
    has_u = "u" in value
    return next((value[k] for k in _CONF if k in value and not (k == "v" and has_u)), default)


def read_points(value: Any, scores: Any, what: str) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    """(J, 3) u, v, confidence of one person, NaN without confidence; and joint names, if given.

    Args:
        value: a flat list, a list of rows, of {x, y, ...}, {name: place}, {x: [...], y: [...]}, or any of these inside
            another list or object.
        scores: separate list of confidences, or None.
        what: the entry, for messages.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, Mapping):
        u, v = _column(value, _U), _column(value, _V)
        if u is not None and v is not None:
            conf = _column(value, tuple(k for k in _CONF if k not in _V))
            if len(u) != len(v):
                raise ValueError(f"{what} has {len(u)} x and {len(v)} y; expected as many of both.")
            return paired_points(np.stack([_numbers(u, what), _numbers(v, what)], -1), scores or conf, what), None
        for key in _WRAPPED:
            if key in value:
                return read_points(value[key], scores, what)
        names, value = tuple(str(name) for name in value), list(value.values())
        return _rows(value, scores, what), names
    if isinstance(value, (list, tuple)) and value:
        kinds = _kinds(value)
        if dict in kinds or any(issubclass(kind, Mapping) for kind in kinds):
            listed = [
                next((v[k] for k in _NAME if isinstance(v.get(k), str)), None) if isinstance(v, Mapping) else None
                for v in value
            ]
            names = tuple(str(name) for name in listed) if all(name is not None for name in listed) else None
            return _rows(value, scores, what), names
        if kinds <= _NUMBERS_OR_NONE | {str}:
            return flat_points(value, scores, what), None
        if any(v is None or v == [] for v in value):
            return _rows(value, scores, what), None
    return paired_points(value, scores, what), None


def _rows(values: Sequence[Any], scores: Any, what: str) -> NDArray[np.float64]:
    width = max((len(v) for v in values if isinstance(v, (list, tuple))), default=3)
    rows: list[Any] = []
    for value in values:
        place: Any = _place(value) if isinstance(value, Mapping) and value else value
        if value and (place is None or isinstance(place, (str, int, float))):
            raise ValueError(f"{what} has a joint without position; expected u, v or {{x, y}} of every joint.")
        rows.append(place if value else [None] * (width - 1) + [0.0] if width > 2 else [None] * width)
    return paired_points(_numbers(rows, what), scores, what)


def flat_points(values: Any, scores: Any, what: str) -> NDArray[np.float64]:
    """(J, 3) from u, v, confidence, u, v, confidence ...; also of pairs, or of x, y, z, visibility, by the count."""
    array = _numbers(values, what).reshape(-1)
    count = None if scores is None else np.size(scores)
    for width in (3, 2, 4):
        joints, rest = divmod(len(array), width)
        if not rest and joints and (joints == count if count else joints in ORDERS):
            return paired_points(array.reshape(-1, width), scores, what)
    if len(array) == 0 or len(array) % 3:
        raise ValueError(
            f"{what} has {len(array)} numbers, no multiple of 3; expected u, v, confidence of every joint."
        )
    return paired_points(array.reshape(-1, 3), scores, what)


def paired_points(points: Any, scores: Any, what: str) -> NDArray[np.float64]:
    """(J, 3) from rows of u, v, or u, v, confidence, or x, y, z, visibility, and, or without, [confidence, ...]."""
    array = _numbers(points, what)
    if array.ndim == 3 and len(array) == 1:  # some versions keep an axis for the instance
        array = array[0]
    if array.ndim != 2 or not 2 <= array.shape[1] <= 5 or not len(array):
        raise ValueError(f"{what} has shape {array.shape}; expected [u, v] of every joint.")
    if scores is None:
        return with_confidence(array)
    conf = _numbers(scores, f"the confidences of {what}").reshape(-1)
    if len(conf) != len(array):
        raise ValueError(f"{what} has {len(array)} joints and {len(conf)} confidences; expected as many of both.")
    return np.concatenate([array[:, :2], conf[:, None]], 1)


def with_confidence(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., J, 3) u, v, confidence from (..., J, 2 to 5): the third column, or the fourth of x, y, z, visibility.

    For MediaPipe landmarks, a third column with negative values is a depth. Missing confidences are NaN.
    """
    width = points.shape[-1]
    if width == 2:
        return np.insert(points, 2, np.nan, axis=-1)
    third = points[..., 2 if width == 3 else 3]
    if width == 3 and points.shape[-2] == 33 and ((third < 0) & (third != -1)).mean() > _DEPTHS:
        third = np.full_like(third, np.nan)
    return np.concatenate([points[..., :2], third[..., None]], -1)


def _numbers(values: Any, what: str) -> NDArray[np.float64]:
    try:
        return np.asarray([] if values is None else values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} is no table of numbers ({str(error)[:_LONGEST]}).") from error
