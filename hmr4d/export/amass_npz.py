"""AMASS-style NPZ: SMPL+H pose parameters under the names, shapes and axes that the AMASS archive uses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.body.smplh_joints import NUM_JOINTS
from hmr4d.export.motion_npz import checked_fps, checked_joints3d
from hmr4d.export.posing import PoseBlocks, check_has_rest_pose, motion_facts, rest_joints_of
from hmr4d.utils.files import atomic_path

NUM_BETAS, NUM_DMPLS = 16, 8
REST_PELVIS = (0.0, -0.23, 0.03)  # metres; about where SMPL bodies have it, used when no model says so exactly
_Y_UP_TO_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


def save_amass_npz(
    path: str | os.PathLike[str], joints3d: NDArray[Any] | Tensor, *, fps: float, skeleton: Skeleton = SMPL22,
    text: str = "", metadata: dict[str, Any] | None = None, rest_joints: Tensor | None = None,
    gender: str = "neutral",
) -> PoseBlocks:  # fmt: skip
    """Writes one motion atomically, turned to z up as AMASS is; hands and shape coefficients are zero.

    Args:
        path: file to write.
        joints3d: (L, 22, 3) metres, world, y up.
        fps: frames per second.
        skeleton: SMPL22.
        text: what the motion shows.
        metadata: JSON object to keep with the motion.
        rest_joints: (22, 3) metres, rest joints of the body model that will be posed. None: the bones of the motion
            itself, with the pelvis at `REST_PELVIS`.
        gender: of that body model.

    Returns:
        How far the joints of that body are from those given (`mean`, `largest`).

    Raises:
        ValueError: something is wrong with the motion.
        OSError: the place cannot be written to.
    """
    check_has_rest_pose(skeleton, "AMASS-style NPZ")
    joints3d, fps = checked_joints3d(joints3d, skeleton), checked_fps(fps)
    facts = motion_facts(
        joints3d, fps=fps, skeleton=skeleton, text=text, metadata=metadata, axes="right-handed, z up, rest pose y up"
    )
    if rest_joints is None:
        own = rest_joints_of(joints3d)
        rest = own - own[0] + torch.tensor(REST_PELVIS, dtype=own.dtype)
    else:
        rest = rest_joints.double()
    poses = np.zeros((len(joints3d), 3 * NUM_JOINTS), np.float32)
    trans = np.zeros((len(joints3d), 3), np.float64)
    blocks, start = PoseBlocks(joints3d, rest), 0
    for solved in blocks:
        end = start + len(solved.translation)
        rotations, translation = to_z_up(solved.rotations, solved.translation, rest[0])
        poses[start:end, : 3 * skeleton.num_joints] = roma.rotmat_to_rotvec(rotations).flatten(1).numpy()
        trans[start:end] = translation.numpy()
        start = end
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, poses=poses, trans=trans, betas=np.zeros(NUM_BETAS), dmpls=np.zeros((len(poses), NUM_DMPLS)),
            gender=np.str_(gender), mocap_framerate=np.float64(fps), rest_joints=rest.numpy(),
            metadata=np.str_(json.dumps({**facts, "residual": blocks.residual_facts()}, ensure_ascii=False)),
        )  # fmt: skip
    if rest_joints is None:
        blocks.warn(Path(path))
    return blocks


def to_z_up(rotations: Tensor, translation: Tensor, rest_root: Tensor) -> tuple[Tensor, Tensor]:
    """Pose of a body, whose rest pose stays y up, after the world was turned from y up to z up.

    Args:
        rotations: (L, J, 3, 3) of each joint in the frame of its parent, the root first.
        translation: (L, 3) metres; the root is at `rest_root` plus this.
        rest_root: (3,) metres.
    """
    upright = torch.tensor(_Y_UP_TO_Z_UP).to(rotations)
    turned = torch.cat([upright @ rotations[:, :1], rotations[:, 1:]], 1)
    return turned, (translation + rest_root) @ upright.mT - rest_root
