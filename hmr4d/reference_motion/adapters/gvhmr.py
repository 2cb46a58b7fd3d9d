"""GVHMR: `hmr4d_results.pt`, SMPL-X parameters in a gravity-aligned world and in the camera."""

from __future__ import annotations

from typing import Any

from hmr4d.reference_motion.adapters.base import (
    CAMERA_UP,
    Adapter,
    Source,
    body_of,
    has,
    known_camera,
    mean_betas,
    placement,
    required,
)
from hmr4d.reference_motion.body_track import BodyTrack
from hmr4d.utils.foreign_files import array_of

PARTS = {"world": ("smpl_params_global", "y"), "camera": ("smpl_params_incam", CAMERA_UP)}


def _matches(tree: Any) -> bool:
    return any(has(tree, name) for name, _ in PARTS.values())


def _tracks(source: Source) -> dict[str, BodyTrack]:
    tree, places, body, shape = source.content, {}, None, None
    for space, (name, up) in PARTS.items():
        if name in tree:
            part = required(tree[name], ("global_orient", "body_pose", "transl"), f"'{name}'")
            places[space] = placement(part["global_orient"], part["transl"], up)
            frames = {key: len(place.root) for key, place in places.items()}
            if len(set(frames.values())) > 1:
                raise ValueError(f"'{PARTS['world'][0]}' and '{PARTS['camera'][0]}' have {frames} frames.")
            body = body_of(part["body_pose"], "body_pose", len(places[space].root)) if body is None else body
            shape = mean_betas(tree[name], "betas") if shape is None else shape
    assert body is not None  # `_matches` found a part
    K, size, remarks = None, None, ()
    if tree.get("K_fullimg") is not None:
        K, size, remarks = known_camera(array_of(tree["K_fullimg"], "K_fullimg"))
    return {"0": BodyTrack("smplx", body, places, betas=shape, K=K, size=size, remarks=remarks)}


GVHMR = Adapter("gvhmr", "GVHMR", _matches, _tracks)
