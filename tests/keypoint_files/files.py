"""Keypoint files of the tests: written, read and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints

SIZE = (1280, 720)
CORNER = np.array([1279, 719])
Points = NDArray[np.float64]
Instance = Callable[[Points], dict[str, Any]]


def saved(folder: Path, content: Any, name: str = "keypoints.json", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
    return path


def everybody(path: Path, **options: Any) -> list[KeypointTrack]:
    tracks = read_keypoints(path, person="all", size=SIZE, **options)
    assert isinstance(tracks, list)
    return tracks


def one(path: Path, **options: Any) -> KeypointTrack:
    (track,) = everybody(path, **options)
    return track


def check(track: KeypointTrack, points: Points, skeleton: str = "coco17", tolerance: float = 1e-3) -> None:
    assert track.skeleton.name == skeleton
    np.testing.assert_allclose(track.kp2d, points[..., :2] * (points[..., 2:] > 0), atol=tolerance)
    np.testing.assert_allclose(track.kp2d_conf, points[..., 2], atol=1e-6)


def nested(p: Points) -> dict[str, Any]:
    return {"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()}


def flat(p: Points) -> dict[str, Any]:
    return {"keypoints": p.ravel().tolist()}


def rows(p: Points) -> dict[str, Any]:
    return {"keypoints": p.tolist()}


def shares(points: Points) -> Points:
    return np.concatenate([points[..., :2] / CORNER, points[..., 2:]], -1)
