"""DeepLabCut's tables of keypoints: a CSV with the names of body parts in its head, one row per frame."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from hmr4d.keypoint_files.detections import Detection, DetectionTable, frame_numbers, shown
from hmr4d.keypoint_files.joint_names import joint_name
from hmr4d.utils.text_files import TextError, decode_text

_SEPARATOR = re.compile(r'\s*"?scorer"?([;\t])')  # of spreadsheets in countries with decimal commas
_HEAD = ("scorer", "individuals", "bodyparts", "coords")


def read_deeplabcut(path: Path) -> DetectionTable:
    """Detections of a CSV file that `deeplabcut.analyze_videos(..., save_as_csv=True)` writes.

    The head has rows `scorer`, `bodyparts` and `coords` (x, y, likelihood), with several animals also `individuals`;
    then a row per frame begins with its number, or with the name of its image. Semicolons or tabs may stand for the
    commas, and numbers may then have decimal commas.

    Raises:
        ValueError: it is not such a table or not text.
    """
    try:
        text = decode_text(path.read_bytes(), shown(path.name))
        separator = found[1] if (found := _SEPARATOR.match(text)) else ","
        lines = io.StringIO(text.replace("\x00", ""), newline="")
        rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    except TextError as error:
        raise ValueError(str(error)) from error
    except csv.Error as error:
        raise ValueError(f"it is no table of comma-separated values ({error}).") from error
    head = {row[0].strip().lower(): [cell.strip() for cell in row] for row in rows[: len(_HEAD)]}
    if not {"bodyparts", "coords"} <= head.keys():
        raise ValueError(
            "it is a CSV file, but not DeepLabCut's (rows scorer, bodyparts, coords). Save keypoints as "
            "JSON or .npz; docs/lift.md shows them."
        )
    parts, coords = head["bodyparts"], head["coords"]
    individuals = head.get("individuals", [""] * len(parts))
    width = min(len(parts), len(coords), len(individuals))
    columns: dict[str, dict[str, dict[str, int]]] = {}
    for i in range(1, width):
        if coords[i] in ("x", "y", "likelihood"):
            columns.setdefault(individuals[i], {}).setdefault(joint_name(parts[i]), {})[coords[i]] = i
    names = tuple(
        dict.fromkeys(name for joints in columns.values() for name, c in joints.items() if {"x", "y"} <= c.keys())
    )
    body = [row for row in rows if row[0].strip().lower() not in _HEAD]
    if not names or not body:
        raise ValueError("it has DeepLabCut's head, but no x and y of body parts, or no frames.")
    if any(name.endswith("_z") or c == "z" for name, c in zip(parts, coords, strict=False)):
        raise ValueError("it has 3D positions (x, y, z); lifting needs the 2D keypoints of one camera.")
    frames = frame_numbers([_label(row) for row in body], "a row")
    people = [name for name in columns if name != "single" or len(columns) == 1]
    detections: list[Detection] = []
    for frame, row in zip(frames, body, strict=True):
        for place, person in enumerate(people):
            joints = columns[person]
            points = np.array(
                [[_cell(row, joints.get(name, {}).get(c)) for c in ("x", "y", "likelihood")] for name in names]
            )
            detections.append(Detection(frame, points, person or None, place))
    return DetectionTable(detections, "deeplabcut", joint_names=names)


def _label(row: list[str]) -> str:
    """Frame of a row: its first cell, or the third of training data (labeled-data, video, image)."""
    return row[2] if len(row) > 2 and re.search(r"\.(png|jpe?g)$", row[2].lower()) else row[0]


def _cell(row: list[str], column: int | None) -> float:
    try:
        return float(row[column].replace(",", ".")) if column is not None and column < len(row) else float("nan")
    except ValueError:
        return float("nan")
