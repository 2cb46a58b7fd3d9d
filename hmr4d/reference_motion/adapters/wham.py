"""WHAM: `wham_output.pkl`, a dictionary of people with SMPL parameters in the camera and in the world."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hmr4d.reference_motion.adapters.base import (
    CAMERA_UP,
    Adapter,
    Source,
    body_of,
    camera_of,
    frame_numbers,
    has,
    mean_betas,
    placement,
    required,
)
from hmr4d.reference_motion.body_track import BodyTrack
from hmr4d.utils.foreign_files import array_of


def _matches(tree: Any) -> bool:
    return isinstance(tree, Mapping) and bool(tree) and all(has(v, "pose", "trans") for v in tree.values())


def _tracks(source: Source) -> dict[str, BodyTrack]:
    """The people, without those who have no frame."""
    people = source.content.items()
    return {str(name): _track(person, source) for name, person in people if len(array_of(person["pose"], "pose"))}


def _track(person: Mapping[str, Any], source: Source) -> BodyTrack:
    values = required(person, ("pose", "trans"), "The person")
    pose = values["pose"].reshape(len(values["pose"]), -1)
    places = {"camera": placement(pose[:, :3], values["trans"], CAMERA_UP, "pose")}
    if has(person, "pose_world", "trans_world"):
        world = array_of(person["pose_world"], "pose_world").reshape(len(pose), -1)
        places["world"] = placement(world[:, :3], array_of(person["trans_world"], "trans_world").reshape(-1, 3), "y")
    frames = frame_numbers(person.get("frame_ids"), "frame_ids")
    focal = math.hypot(*source.size) if source.size else None  # WHAM's assumption for a video without calibration
    return BodyTrack(
        "smpl",
        body_of(pose[:, 3:], "pose", len(pose)),
        places,
        frames,
        mean_betas(person, "betas"),
        K=camera_of(focal, source.size),
        size=source.size,
    )


WHAM = Adapter("wham", "WHAM", _matches, _tracks)
