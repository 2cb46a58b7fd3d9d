"""PromptHMR: `results.pkl`, people with SMPL-X parameters in the camera and in a gravity-aligned world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmr4d.reference_motion.adapters.base import (
    CAMERA_UP,
    NUM_BODY,
    Adapter,
    Source,
    camera_with_center,
    frame_numbers,
    has,
    mean_betas,
    placement,
)
from hmr4d.reference_motion.body_track import BodyTrack, rotations_of
from hmr4d.utils.foreign_files import array_of

PARTS = {"world": ("smplx_world", "y"), "camera": ("smplx_cam", CAMERA_UP)}


def _matches(tree: Any) -> bool:
    if not has(tree, "people") or not isinstance(tree["people"], Mapping):
        return False
    return any(has(person, name) for person in tree["people"].values() for name, _ in PARTS.values())


def _tracks(source: Source) -> dict[str, BodyTrack]:
    people = source.content["people"]
    camera = source.content.get("camera_world") or source.content.get("camera") or {}
    return {
        str(name): _track(person, camera)
        for name, person in people.items()
        if any(has(person, part) for part, _ in PARTS.values())
    }


def _track(person: Mapping[str, Any], camera: Mapping[str, Any]) -> BodyTrack:
    places, body, shape = {}, None, None
    for space, (name, up) in PARTS.items():
        if name in person:
            part = person[name]
            key = "rotmat" if "rotmat" in part else "pose"
            if key not in part or "trans" not in part:
                raise ValueError(f"'{name}' has {', '.join(map(str, part))}; expected pose or rotmat, and trans.")
            rotations = rotations_of(array_of(part[key], key), key, NUM_BODY + 1)
            trans = array_of(part["trans"], "trans").reshape(-1, 3)
            places[space] = placement(rotations[:, 0].numpy()[:, None], trans, up, key)
            body = rotations[:, 1:] if body is None else body
            shape = mean_betas(part, "shape", "betas") if shape is None else shape
    assert body is not None  # `_tracks` keeps people with a part
    K, size, remarks = camera_with_center(camera)
    frames = frame_numbers(person.get("frames"), "frames")
    return BodyTrack("smplx", body, places, frames, shape, K=K, size=size, remarks=remarks)


PROMPTHMR = Adapter("prompthmr", "PromptHMR", _matches, _tracks)
