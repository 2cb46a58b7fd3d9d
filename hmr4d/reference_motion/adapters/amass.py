"""AMASS: .npz files of SMPL-H or SMPL-X poses from motion capture, z up, usually at 60 to 120 frames per second."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmr4d.reference_motion.adapters.base import Adapter, Source, first_number, has, mean_betas, placement, required
from hmr4d.reference_motion.adapters.plain import RATES, named
from hmr4d.reference_motion.body_track import BodyTrack, rotations_of

FAMILIES = {72: "smpl", 156: "smplh", 165: "smplx"}  # width of the poses -> body model
NUM_BODY_POSE = 66


def _matches(tree: Any) -> bool:
    return has(tree, "poses", "trans")


def _tracks(source: Source) -> dict[str, BodyTrack]:
    tree = source.content
    values = required(tree, ("poses", "trans"), "The file")
    poses = values["poses"]
    if poses.ndim != 2 or poses.shape[1] < NUM_BODY_POSE or not len(poses):
        raise ValueError(
            f"'poses' has shape {poses.shape}; expected (F, 156) of SMPL-H, (F, 165) of SMPL-X or (F, 72) of SMPL."
        )
    rate = named(tree, RATES)
    gender = np.asarray(tree.get("gender", "neutral")).reshape(-1)[0]
    text = gender.decode("utf-8", "replace") if isinstance(gender, bytes) else str(gender)
    rotations = rotations_of(poses[:, :NUM_BODY_POSE], "poses", NUM_BODY_POSE // 3)
    place = placement(poses[:, :3], values["trans"], "z", "poses")
    return {
        "0": BodyTrack(
            FAMILIES.get(poses.shape[1], "smplh"),
            rotations[:, 1:],
            {"world": place},
            betas=mean_betas(tree, "betas"),
            gender=text if text in ("male", "female") else "neutral",
            fps=None if rate is None else first_number(tree[rate], rate),
            usual_fps=120.0,
        )
    }


AMASS = Adapter("amass", "AMASS", _matches, _tracks)
