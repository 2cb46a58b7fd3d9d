"""TRAM: `hps/hps_track_<k>.npy`, SMPL in the camera; `camera.npy` in the folder above contains the camera path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

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
from hmr4d.reference_motion.body_track import BodyTrack, Placement, rotations_of
from hmr4d.reference_motion.rest_joints import SMPL_PELVIS
from hmr4d.utils.foreign_files import array_of, read_tree


def _matches(tree: Any) -> bool:
    return has(tree, "pred_rotmat", "pred_trans")


def _tracks(source: Source) -> dict[str, BodyTrack]:
    tree = source.content
    rotations = rotations_of(array_of(tree["pred_rotmat"], "pred_rotmat"), "pred_rotmat", NUM_BODY + 1)
    seen = placement(rotations[:, 0].numpy()[:, None], array_of(tree["pred_trans"], "pred_trans"), CAMERA_UP)
    frames = frame_numbers(tree.get("frame"), "frame")
    places, K, size, remarks = {"camera": seen}, None, None, ()
    if (camera := _camera_beside(source.path)) is not None:
        places["world"] = _moved(seen, camera, np.arange(len(rotations)) if frames is None else frames)
        K, size, remarks = camera_with_center(camera)
    name = source.path.stem.rpartition("_")[2] or "0"
    track = BodyTrack(
        "smpl", rotations[:, 1:], places, frames, mean_betas(tree, "pred_shape"), K=K, size=size, is_level=False,
        remarks=remarks,
    )  # fmt: skip
    return {name: track}


def _camera_beside(path: Path) -> dict[str, Any] | None:
    """Content of the camera path file; None if it does not exist."""
    for place in (path.parent.parent / "camera.npy", path.parent / "camera.npy"):
        if place.is_file():
            camera = read_tree(place)
            if not has(camera, "pred_cam_R", "pred_cam_T"):
                raise ValueError(
                    f"{place} has no pred_cam_R and pred_cam_T. Remove it, or run the camera estimation again."
                )
            return camera
    return None


def _moved(seen: Placement, camera: dict[str, Any], frames: np.ndarray) -> Placement:
    """A body in the frame of the first camera, from the frames of all cameras.

    The body model adds the rest position of the pelvis after the rotation, so the transform applies to the pelvis. Its
    rest position is that of the mean SMPL body.
    """
    R = rotations_of(array_of(camera["pred_cam_R"], "pred_cam_R").reshape(-1, 3, 3), "pred_cam_R", 1)[:, 0]
    t = torch.from_numpy(array_of(camera["pred_cam_T"], "pred_cam_T").reshape(-1, 3))
    if len(frames) and frames.max() >= len(R):
        raise ValueError(f"The person is in frame {frames.max()}, but the camera has {len(R)} frames.")
    R, t = R[frames], t[frames]
    pelvis = torch.tensor(SMPL_PELVIS).double()
    place = (R @ (seen.translation + pelvis)[..., None])[..., 0] + t - pelvis
    return Placement(R @ seen.root, place, CAMERA_UP)


TRAM = Adapter("tram", "TRAM", _matches, _tracks)
