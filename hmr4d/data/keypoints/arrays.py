"""Keypoints as NumPy arrays: .npy of (L, J, 2 or 3), or .npz with names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.data.keypoints.detections import Detection, DetectionTable, frame_number, person_name

_POINT_KEYS = ("kp2d", "keypoints", "joints2d")
_CONF_KEYS = ("kp2d_conf", "conf", "keypoint_scores", "scores")


def read_arrays(path: Path) -> DetectionTable:
    """Detections of a file of arrays: one person, one entry per frame.

    An .npz has `kp2d`, `keypoints` or `joints2d`, and may have `kp2d_conf` (or `conf`, `keypoint_scores`, `scores`),
    `skeleton`, `fps`, `frame_ids` and `person`; any other file is one array. Pickled content is refused.

    Raises:
        ValueError: it is no such file, or its arrays do not fit together.
    """
    arrays = _load(path)
    points = _first(arrays, _POINT_KEYS)
    if points is None:
        raise ValueError(
            f"it has {', '.join(sorted(arrays)) or 'nothing'}; expected an array {' or '.join(_POINT_KEYS)}."
        )
    points = np.asarray(points)
    if points.dtype.kind not in "fiu" or points.ndim != 3 or points.shape[-1] not in (2, 3):
        raise ValueError(
            f"its keypoints have shape {points.shape} and type {points.dtype}; expected numbers (L, J, 2) or (L, J, 3)."
        )
    points = points.astype(np.float64)
    conf = _first(arrays, _CONF_KEYS)
    if conf is not None:
        if conf.shape != points.shape[:2]:
            raise ValueError(
                f"its confidences have shape {conf.shape}; expected {points.shape[:2]}, like the keypoints."
            )
        points = np.concatenate([points[..., :2], conf.astype(np.float64)[..., None]], -1)
    elif points.shape[-1] == 2:
        points = np.insert(points, 2, np.nan, axis=-1)
    frames = _frames(arrays, len(points))
    person = person_name(_scalar(arrays, "person"))
    fps, skeleton = _scalar(arrays, "fps"), _scalar(arrays, "skeleton")
    if fps is not None and not isinstance(fps, (int, float)):
        raise ValueError(f"its fps is {fps!r}; expected a number.")
    return DetectionTable(
        [Detection(frame, row, person) for frame, row in zip(frames, points, strict=True)], "npz",
        None if skeleton is None else str(skeleton), None if fps is None else float(fps),
    )  # fmt: skip


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {_POINT_KEYS[0]: content}
        with content as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # damaged content makes NumPy, zipfile and even tokenize raise kinds of their own
        raise ValueError(f"it is no NumPy file of plain arrays ({error}).") from error


def _first(arrays: dict[str, NDArray[Any]], keys: tuple[str, ...]) -> NDArray[Any] | None:
    return next((arrays[key] for key in keys if key in arrays), None)


def _scalar(arrays: dict[str, NDArray[Any]], key: str) -> Any:
    return arrays[key].reshape(-1)[0].item() if key in arrays and arrays[key].size else None


def _frames(arrays: dict[str, NDArray[Any]], count: int) -> list[int]:
    if "frame_ids" not in arrays:
        return list(range(count))
    frames = [frame_number(value, "a frame id") for value in arrays["frame_ids"].reshape(-1).tolist()]
    if len(frames) != count or len(set(frames)) != count:
        raise ValueError(
            f"its frame_ids are {len(set(frames))} different ones; expected one for each of {count} frames."
        )
    return frames
