"""4D-Humans and PHALP: `results/<video>.pkl`, a dictionary of frames with lists of the people in each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hmr4d.reference_motion.adapters.base import (
    CAMERA_UP,
    Adapter,
    Source,
    body_of,
    camera_of,
    first_number,
    has,
    mean_betas,
    picture_size,
    placement,
)
from hmr4d.reference_motion.body_track import BodyTrack
from hmr4d.utils.foreign_files import array_of

FOCAL_SHARE = 5000 / 256  # focal length of the cameras in these files, relative to the longer image side
LISTS = ("tid", "smpl", "camera")


def _matches(tree: Any) -> bool:
    return isinstance(tree, Mapping) and bool(tree) and all(has(frame, "tid", "smpl") for frame in tree.values())


def _tracks(source: Source) -> dict[str, BodyTrack]:
    names = sorted(source.content, key=_by_numbers)
    seen: dict[str, list[tuple[int, Mapping[str, Any], int]]] = {}
    guesses: dict[str, int] = {}
    for number, name in enumerate(names):
        frame = source.content[name]
        time = first_number(frame.get("time"), "time")
        people = [str(tid) for tid in frame["tid"]]
        if any(len(frame.get(key, [])) != len(people) for key in LISTS):
            lengths = {key: len(frame.get(key, [])) for key in LISTS}
            raise ValueError(f"Frame '{name}' has lists of different lengths: {lengths}.")
        for index, person in enumerate(people):
            ages = frame.get("tracked_time")
            if ages is not None and (first_number(ages[index], "tracked_time") or 0) > 0:
                guesses[person] = guesses.get(person, 0) + 1  # not detected: the tracker's prediction of the person
                continue
            seen.setdefault(person, []).append((number if time is None else int(time), frame, index))
    shots = [
        number for number, name in enumerate(names) if number and first_number(source.content[name].get("shot"), "shot")
    ]
    return {person: _track(rows, guesses.get(person, 0), shots) for person, rows in seen.items()}


def _by_numbers(name: Any) -> list[tuple[int, str]]:
    """A key for frames by the numbers in their names, which need not have leading zeros."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(name))]


def _track(rows: list[tuple[int, Mapping[str, Any], int]], guessed: int, shots: list[int]) -> BodyTrack:
    people = [frame["smpl"][index] for _, frame, index in rows]
    orient = np.stack([array_of(p["global_orient"], "global_orient").reshape(3, 3) for p in people])
    body = np.stack([array_of(p["body_pose"], "body_pose").reshape(-1, 3, 3) for p in people])
    transl = np.stack([array_of(frame["camera"][index], "camera").reshape(-1)[:3] for _, frame, index in rows])
    frames = np.array([number for number, _, _ in rows])
    remarks = []
    if guessed:
        remarks.append(
            f"{guessed} frames contain predictions of the tracker instead of detections; they count as missing."
        )
    if inside := [shot for shot in shots if frames.min() < shot <= frames.max()]:
        remarks.append(f"The video has a cut at frame {inside[0]}. Select one shot with --frames.")
    sizes = [frame["size"][index] for _, frame, index in rows if len(frame.get("size", [])) > index]
    size = None
    if sizes:
        size = picture_size(sizes[0], "size")
    return BodyTrack(
        "smpl",
        body_of(body, "body_pose", len(rows)),
        {"camera": placement(orient[:, None], transl, CAMERA_UP)},
        frames,
        mean_betas({"betas": [p["betas"] for p in people]}, "betas") if has(people[0], "betas") else None,
        K=camera_of(FOCAL_SHARE * max(size), size) if size else None,
        size=size,
        remarks=tuple(remarks),
    )


PHALP = Adapter("4dhumans", "4D-Humans / PHALP", _matches, _tracks)
