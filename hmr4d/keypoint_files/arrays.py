"""Keypoints as NumPy arrays: .npy, or .npz with names."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.cleaning import FARTHEST
from hmr4d.keypoint_files.detections import Detection, DetectionTable, frame_number, frame_rate_of, person_name, shown
from hmr4d.keypoint_files.image_sizes import image_sizes
from hmr4d.keypoint_files.joint_names import ORDERS
from hmr4d.keypoint_files.points import with_confidence

_POINT_KEYS = ("kp2d", "keypoints", "joints2d", "keypoints_2d", "joints_2d", "kpts", "landmarks", "pose_landmarks")
_CONF_KEYS = ("kp2d_conf", "conf", "keypoint_scores", "scores", "confidence", "visibility")
_WIDTHS = (2, 3, 4, 5)  # columns of a joint
_MOST_PEOPLE = 10  # in one frame; more may be frames
_SAME_PERSON = 0.4  # of the median distance of joints from their middle that the middles of two entries differ

logger = logging.getLogger(__name__)


def read_arrays(path: Path) -> DetectionTable:
    """Detections from a file of arrays: one entry per frame, or per frame and person.

    An .npz has `kp2d`, `keypoints` or `joints2d` (or one array only), and may have `kp2d_conf` (or `conf`,
    `keypoint_scores`, `scores`), `skeleton`, `fps`, `frame_ids`, `person`, `width` and `height` (or `image_size`); any
    other file is one array. Shapes are (L, J, 2 or 3), (L, P, J, 2 or 3) or (P, L, J, 2 or 3) of P people without ids,
    and (L, J x columns). MediaPipe's landmarks have four or five columns. Pickled content is refused.

    Raises:
        ValueError: it is not such a file, or its arrays are inconsistent.
    """
    arrays = _load(path)
    points = _first(arrays, _POINT_KEYS)
    if points is None and len(arrays) == 1:
        points = next(iter(arrays.values()))
    if points is None:
        raise ValueError(
            f"it has {', '.join(map(shown, sorted(arrays))) or 'nothing'}; expected an array "
            f"{' or '.join(_POINT_KEYS[:3])}."
        )
    points, conf = _people(points), _first(arrays, _CONF_KEYS)
    if _is_people_first(points):
        logger.info("The first axis of %s is taken for people, the second for frames.", points.shape)
        conf = conf.swapaxes(0, 1) if conf is not None and conf.shape[:2] == points.shape[:2] else conf
        points = points.swapaxes(0, 1)
    if conf is not None:
        wanted = points.shape[:3]
        per_point = conf.reshape(wanted) if conf.dtype.kind in "fiub" and conf.size == int(np.prod(wanted)) else None
        if per_point is None or conf.shape[0] != wanted[0]:
            shape = wanted if wanted[1] > 1 else (wanted[0], wanted[2])
            raise ValueError(f"its confidences have shape {conf.shape}; expected {shape}, like the keypoints.")
        points = np.concatenate([points[..., :2], per_point.astype(np.float64)[..., None]], -1)
    else:
        points = with_confidence(points)
    frames = _frames(arrays, len(points))
    person = person_name(_scalar(arrays, "person"))
    skeleton = _scalar(arrays, "skeleton")
    detections = [
        Detection(frame, row, person, place)
        for frame, people in zip(frames, points, strict=True)
        for place, row in enumerate(people)
    ]
    return DetectionTable(
        detections,
        "mediapipe" if points.shape[2] == 33 else "npz",
        None if skeleton is None else str(skeleton),
        frame_rate_of(_scalar(arrays, "fps")),
        image_sizes=image_sizes({key: value.tolist() for key, value in arrays.items() if value.size <= 3}),
    )


def _people(points: NDArray[np.generic]) -> NDArray[np.float64]:
    """(L, P, J, C) of an array of any shape that is read."""
    shape = points.shape
    width = next((w for w in (3, 2, 4) if len(shape) == 2 and shape[1] % w == 0 and shape[1] // w in ORDERS), None)
    if width is not None:
        points = points.reshape(len(points), 1, -1, width)
    elif points.ndim == 3:
        points = points[:, None]
    if points.dtype.kind not in "fiu" or points.ndim != 4 or points.shape[-1] not in _WIDTHS or not points.size:
        raise ValueError(
            f"its keypoints have shape {shape} and type {points.dtype}; expected numbers (L, J, 2) or (L, J, 3)."
        )
    return points.astype(np.float64)


def _is_people_first(points: NDArray[np.float64]) -> bool:
    """Whether an array (A, B, J, C) has people before frames: the many entries of its second axis are one person."""
    if points.shape[1] <= max(_MOST_PEOPLE, points.shape[0]):
        return False
    places = np.clip(points[..., :2], -FARTHEST, FARTHEST)
    middles = np.median(places, axis=2)
    sizes = np.linalg.norm(np.median(np.abs(places - middles[:, :, None]), axis=2), axis=-1)
    steps = np.linalg.norm(np.diff(middles, axis=1), axis=-1) / np.maximum(sizes[:, 1:], 1e-9)
    return bool(np.nanmedian(steps) < _SAME_PERSON) if np.isfinite(steps).any() else False


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {_POINT_KEYS[0]: content}
        with content as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # damaged content makes NumPy, zipfile and tokenize raise various errors
        raise ValueError(f"it is no NumPy file of plain arrays ({shown(str(error))}).") from error


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
