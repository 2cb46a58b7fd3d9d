"""AMASS-style NPZ: SMPL+H pose parameters under the names, shapes and axes that the AMASS archive uses."""

from __future__ import annotations

import json
import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.loading import load_body
from hmr4d.body.smplh_joints import NUM_JOINTS
from hmr4d.export.posing import FRAMES_PER_BLOCK, check_has_rest_pose, motion_metadata, residual_metadata, warn_if_off
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import RigidMotion, pose_motion
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.files import atomic_path

NUM_BETAS, NUM_DMPLS = 16, 8
REST_PELVIS = (0.0, -0.23, 0.03)  # meters; approximate rest pelvis of SMPL bodies, used without a body model
_Y_UP_TO_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


def save_amass_npz(
    path: str | os.PathLike[str], motion: Motion, *, rest_joints: Tensor | None = None, gender: str | None = None
) -> RigidMotion:
    """Writes one motion atomically, rotated to z up as in AMASS. Hand poses are zero; the shape coefficients are those
    of the pose.

    Args:
        path: file to write.
        motion: motion of SMPL-22 joints. The file contains its pose or, without one, rotations solved by inverse
            kinematics.
        rest_joints: (22, 3) meters, rest joints of the body model that will be posed with the file. A pose of the SMPL
            family keeps its rotations. None: the rest joints of the pose, or the bones of the motion with the pelvis at
            `REST_PELVIS`.
        gender: gender of that body model; None: that of the pose, or neutral.

    Returns:
        The pose in the file, with the distance of its joints from the given ones (`mean`, `largest`).

    Raises:
        ValueError: the motion is invalid.
        OSError: the file cannot be written.
    """
    check_has_rest_pose(motion, "AMASS-style NPZ")
    metadata = motion_metadata(motion, axes="right-handed, z up, rest pose y up")
    template = load_body().rest_joints if rest_joints is None else rest_joints
    if rest_joints is None:
        template = template - template[0] + torch.tensor(REST_PELVIS)
    rigid = pose_motion(motion, template, keep_bones=rest_joints is not None)
    pose, rest = rigid.pose, rigid.pose.rest_joints.double()
    rotations, translation = to_z_up(pose.rotations, pose.translation.double(), rest[0])
    poses = np.zeros((motion.num_frames, 3 * NUM_JOINTS), np.float32)
    poses[:, : 3 * motion.skeleton.num_joints] = axis_angles(rotations)
    betas = np.zeros(NUM_BETAS)
    if pose.betas is not None and rest_joints is None:
        betas = np.pad(pose.betas.double().cpu().numpy(), (0, max(NUM_BETAS - len(pose.betas), 0)))
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            poses=poses,
            trans=translation.numpy(),
            betas=betas,
            dmpls=np.zeros((len(poses), NUM_DMPLS)),
            gender=np.str_(gender or pose.gender),
            mocap_framerate=np.float64(motion.fps),
            rest_joints=rest.numpy(),
            metadata=np.str_(json.dumps({**metadata, "residual": residual_metadata(rigid)}, ensure_ascii=False)),
        )
    if rest_joints is None:
        warn_if_off(path, rigid, motion)
    return rigid


def axis_angles(rotations: Tensor) -> NDArray[np.float32]:
    """Axis-angle vectors (L, 3 J), radians, of rotations (L, J, 3, 3)."""
    blocks = rotations.split(FRAMES_PER_BLOCK)
    return torch.cat([roma.rotmat_to_rotvec(block).flatten(1) for block in blocks]).cpu().numpy().astype(np.float32)


def to_z_up(rotations: Tensor, translation: Tensor, rest_root: Tensor) -> tuple[Tensor, Tensor]:
    """Pose of a body after a rotation of the world from y up to z up; the rest pose stays y up.

    Args:
        rotations: (L, J, 3, 3) of each joint relative to its parent, root first.
        translation: (L, 3) meters; root position minus `rest_root`.
        rest_root: (3,) meters, root position in the rest pose.
    """
    upright = torch.tensor(_Y_UP_TO_Z_UP).to(rotations)
    turned = torch.cat([upright @ rotations[:, :1], rotations[:, 1:]], 1)
    return turned, (translation + rest_root) @ upright.to(translation).mT - rest_root
