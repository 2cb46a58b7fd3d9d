"""AMASS-style NPZ: SMPL+H pose parameters under the names, shapes and axes that the AMASS archive uses."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.joint_conventions import convention_of
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22, Skeleton, get_skeleton
from hmr4d.body.smplh_joints import NUM_JOINTS
from hmr4d.export.motion_npz import checked_fps, checked_joints3d
from hmr4d.export.posing import FRAMES_PER_BLOCK, check_has_rest_pose, motion_facts, residual_facts, warn_if_off
from hmr4d.motion.rigid_motion import RigidMotion, follow_joints
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.files import atomic_path

NUM_BETAS, NUM_DMPLS = 16, 8
REST_PELVIS = (0.0, -0.23, 0.03)  # metres; about where SMPL bodies have it, used when no model says so exactly
_Y_UP_TO_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


def save_amass_npz(
    path: str | os.PathLike[str], joints3d: NDArray[Any] | Tensor, *, fps: float, skeleton: Skeleton | str = SMPL22,
    text: str = "", metadata: dict[str, Any] | None = None, rest_joints: Tensor | None = None,
    gender: str = "neutral",
) -> RigidMotion:  # fmt: skip
    """Writes one motion atomically, turned to z up as AMASS is; hands and shape coefficients are zero.

    Args:
        path: file to write.
        joints3d: (L, 22, 3) metres, world, y up.
        fps: frames per second.
        skeleton: SMPL22, or its name.
        text: what the motion shows.
        metadata: JSON object to keep with the motion; may name its `joint_convention`.
        rest_joints: (22, 3) metres, rest joints of the body model that will be posed. None: the bones of the motion
            itself, with the pelvis at `REST_PELVIS`.
        gender: of that body model.

    Returns:
        The motion of the file, and how far the joints of that body are from those given (`mean`, `largest`).

    Raises:
        ValueError: something is wrong with the motion.
        OSError: the place cannot be written to.
    """
    skeleton = get_skeleton(skeleton)
    check_has_rest_pose(skeleton, "AMASS-style NPZ")
    joints3d, fps = checked_joints3d(joints3d, skeleton), checked_fps(fps)
    facts = motion_facts(
        joints3d, fps=fps, skeleton=skeleton, text=text, metadata=metadata, axes="right-handed, z up, rest pose y up"
    )
    template = load_body().rest_joints if rest_joints is None else rest_joints
    if rest_joints is None:
        template = template - template[0] + torch.tensor(REST_PELVIS)
    rigid = follow_joints(
        torch.from_numpy(joints3d), template, fps=fps, convention=convention_of(metadata),
        keep_bones=rest_joints is not None,
    )  # fmt: skip
    rotations, translation = to_z_up(rigid.rotations, rigid.translation.double(), rigid.rest_joints[0].double())
    poses = np.zeros((len(joints3d), 3 * NUM_JOINTS), np.float32)
    poses[:, : 3 * skeleton.num_joints] = axis_angles(rotations)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, poses=poses, trans=translation.numpy(), betas=np.zeros(NUM_BETAS),
            dmpls=np.zeros((len(poses), NUM_DMPLS)), gender=np.str_(gender), mocap_framerate=np.float64(fps),
            rest_joints=rigid.rest_joints.double().numpy(),
            metadata=np.str_(json.dumps({**facts, "residual": residual_facts(rigid)}, ensure_ascii=False)),
        )  # fmt: skip
    if rest_joints is None:
        warn_if_off(path, rigid)
    return rigid


def axis_angles(rotations: Tensor) -> NDArray[np.float32]:
    """(L, 3 J) axis times angle in radians of rotations (L, J, 3, 3)."""
    blocks = rotations.split(FRAMES_PER_BLOCK)
    return torch.cat([roma.rotmat_to_rotvec(block).flatten(1) for block in blocks]).cpu().numpy().astype(np.float32)


def to_z_up(rotations: Tensor, translation: Tensor, rest_root: Tensor) -> tuple[Tensor, Tensor]:
    """Pose of a body, whose rest pose stays y up, after the world was turned from y up to z up.

    Args:
        rotations: (L, J, 3, 3) of each joint in the frame of its parent, the root first.
        translation: (L, 3) metres; the root is at `rest_root` plus this.
        rest_root: (3,) metres.
    """
    upright = torch.tensor(_Y_UP_TO_Z_UP).to(rotations)
    turned = torch.cat([upright @ rotations[:, :1], rotations[:, 1:]], 1)
    return turned, (translation + rest_root) @ upright.to(translation).mT - rest_root
