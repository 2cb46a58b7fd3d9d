"""Folders with one JSON file per frame: OpenPose, MMPose and others on images; and how such files are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hmr4d.keypoint_files.detections import Detection, DetectionTable, LeftOut, frame_numbers, shown
from hmr4d.keypoint_files.json_layouts import in_one_order, people_in, sniff_json
from hmr4d.utils.files import is_shown
from hmr4d.utils.text_files import TextError, decode_text, marked_encoding, printable

_SERIES = re.compile(r"\d+")


def read_json(path: Path) -> Any:
    """Content of a JSON file, or of one JSON per line as a list; ValueError if it is neither."""
    content = path.read_bytes()
    if content[:4].count(0) >= 2 and marked_encoding(content) is None:
        raise ValueError(f"{shown(path.name)} is not text, so it is not a JSON file.")
    try:
        text = decode_text(content, shown(path.name))
    except TextError as error:
        raise ValueError(str(error)) from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and isinstance(error, json.JSONDecodeError) and "Extra data" in error.msg:
            try:
                return [json.loads(line) for line in lines]
            except (ValueError, RecursionError):
                pass
        raise ValueError(f"{shown(path.name)} is not a JSON file ({printable(str(error))}).") from error


def read_folder(folder: Path, layout: str | None) -> DetectionTable:
    """Detections of a folder; frames without a file or without people stay empty.

    Hidden files are ignored. Empty or damaged files are skipped and counted, unless they are the majority.

    Args:
        folder: contains files such as `clip_000000000012_keypoints.json`.
        layout: "openpose" or "mmpose"; None: detected from the content.

    Raises:
        ValueError: no JSON file, files of several videos, or most of them are damaged.
    """
    files = sorted(p for p in folder.glob("*.json") if not p.name.startswith(".") and p.is_file())
    if not files:
        labels = any(p.suffix == ".txt" for p in folder.glob("*"))
        hint = " Its .txt files may be labels of YOLO; save results as JSON (to_json) instead." if labels else ""
        if inner := next((p.parent for p in sorted(folder.glob("*/*.json")) if is_shown(p, folder)), None):
            hint = f" The folder '{shown(inner.name)}' in it has such files: pass that."
        raise ValueError(f"the folder contains no .json file; expected one per frame, as OpenPose writes them.{hint}")
    series = {_SERIES.sub("#", path.stem) for path in files}
    if len(series) > 1:
        one, other = sorted(series)[:2]
        raise ValueError(
            f"the folder contains files of several videos ('{shown(one)}' and '{shown(other)}'). Put each video into "
            "its own folder."
        )
    frames = frame_numbers([path.name for path in files], "the name of a file")
    detections: list[Detection] = []
    orders: list[tuple[str, ...] | None] = []
    has_placeholders = False
    left_out = LeftOut("files")
    for path, frame in zip(files, frames, strict=True):
        try:
            if path.stat().st_size == 0:
                raise ValueError("the file is empty.")
            content = read_json(path)
            layout = layout or sniff_json(content)
            if content is not None and not isinstance(content, (list, dict)):
                raise ValueError(f"it contains {shown(content)}; expected people and their joints.")
            read_people, order, absent = people_in(content, frame)
        except ValueError as error:
            left_out.errors.append(ValueError(f"{shown(path.name)}: {error}"))
            continue
        left_out.good += 1
        detections += read_people
        orders += [order] * len(read_people)
        has_placeholders = has_placeholders or absent
    left_out.tell()
    detections, names = in_one_order(detections, orders)
    return DetectionTable(detections, layout or "mmpose", joint_names=names, has_placeholders=has_placeholders)
