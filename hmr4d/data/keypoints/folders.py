"""Folders with one JSON file per frame: OpenPose, and MMPose on images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hmr4d.data.keypoints.detections import Detection, DetectionTable, flat_points, frame_number, person_name
from hmr4d.data.keypoints.json_layouts import instance_points, sniff_json

_SERIES = re.compile(r"\d+(?!.*\d)")


def read_json(path: Path) -> Any:
    """Content of a JSON file; ValueError when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is no JSON file ({error}).") from error


def read_folder(folder: Path, layout: str | None) -> DetectionTable:
    """Detections of a folder; frames without a file or without people stay empty.

    Args:
        folder: holds files such as `clip_000000000012_keypoints.json`.
        layout: "openpose" or "mmpose"; None: by the content.

    Raises:
        ValueError: no JSON file, files of several videos, or a damaged one.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ValueError("the folder holds no .json file; expected one per frame, as OpenPose writes them.")
    series = {_SERIES.sub("", path.stem) for path in files}
    if len(series) > 1:
        one, other = sorted(series)[:2]
        raise ValueError(f"files of several videos lie side by side ('{one}' and '{other}'). Give each its own folder.")
    detections: list[Detection] = []
    seen: dict[int, Path] = {}
    for path in files:
        frame = frame_number(path.name, "the name of a file")
        if frame in seen:
            raise ValueError(f"{seen[frame].name} and {path.name} would both be frame {frame}.")
        seen[frame] = path
        content = read_json(path)
        layout = layout or sniff_json(content)
        try:
            detections += _openpose(content, frame) if layout == "openpose" else _instances(content, frame)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    return DetectionTable(detections, layout or "mmpose")


def read_openpose_file(content: Any) -> DetectionTable:
    """Detections of a single OpenPose file, as frame 0."""
    return DetectionTable(_openpose(content, 0), "openpose")


def _openpose(content: Any, frame: int) -> list[Detection]:
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError("it has no list 'people', so it is no OpenPose output.")
    found = []
    for number, person in enumerate(people):
        values = person.get("pose_keypoints_2d", person.get("pose_keypoints"))
        if values is None:
            raise ValueError(f"person {number} has no 'pose_keypoints_2d'.")
        if values != []:  # else hands or a face without a body
            points = flat_points(values, f"pose_keypoints_2d of person {number}")
            found.append(Detection(frame, points, person_name(person.get("person_id"))))
    return found


def _instances(content: Any, frame: int) -> list[Detection]:
    if not isinstance(content, list):
        raise ValueError("it is neither OpenPose output nor a list of instances.")
    return [Detection(frame, *instance_points(entry, f"instance {n}")) for n, entry in enumerate(content)]
