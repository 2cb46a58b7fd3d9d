"""AIST++: .pkl files of SMPL poses of dancers, y up, 60 frames per second, in the unit of their cameras."""

from __future__ import annotations

from typing import Any

from hmr4d.reference_motion.adapters.base import Adapter, Source, first_number, has, placement, required
from hmr4d.reference_motion.body_track import BodyTrack, rotations_of

_NUM_BODY_POSE = 66
_KEYS = ("smpl_poses", "smpl_trans", "smpl_scaling")


def _matches(tree: Any) -> bool:
    return has(tree, *_KEYS)


def _tracks(source: Source) -> dict[str, BodyTrack]:
    values = required(source.content, _KEYS, "The file")
    poses, scaling = values["smpl_poses"], first_number(values["smpl_scaling"], "smpl_scaling")
    if poses.ndim != 2 or poses.shape[1] < _NUM_BODY_POSE or not len(poses):
        raise ValueError(f"'smpl_poses' has shape {poses.shape}; expected (F, 72) of SMPL.")
    if scaling is None or scaling <= 0:
        raise ValueError(f"'smpl_scaling' is {scaling}; expected the size of the body in the unit of 'smpl_trans'.")
    rotations = rotations_of(poses[:, :_NUM_BODY_POSE], "smpl_poses", _NUM_BODY_POSE // 3)
    place = placement(poses[:, :3], values["smpl_trans"] / scaling, "y", "smpl_poses")
    return {"0": BodyTrack("smpl", rotations[:, 1:], {"world": place}, usual_fps=60.0)}


AISTPP = Adapter("aistpp", "AIST++", _matches, _tracks)
