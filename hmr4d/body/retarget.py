"""Putting a motion onto fixed bone lengths: every bone keeps its direction and takes the target's length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hmr4d.body.skeleton import SMPL22, Skeleton

# Meters; joint distances of the neutral SMPL body, betas = 0, mean of the left and the right side so that a mirrored
# motion keeps its bone lengths. Key: child joint without its side.
SMPL_MEAN_BONES: Mapping[str, float] = {
    "hip": 0.1140,
    "knee": 0.3810,
    "ankle": 0.4010,
    "foot": 0.1340,
    "spine1": 0.1120,
    "spine2": 0.1350,
    "spine3": 0.0590,
    "neck": 0.2180,
    "head": 0.0830,
    "collar": 0.1490,
    "shoulder": 0.0990,
    "elbow": 0.2585,
    "wrist": 0.2525,
}


def smpl_mean_bone_lengths(skeleton: Skeleton = SMPL22) -> np.ndarray:
    """(J,) meters from each joint to its parent on the mean SMPL body; 0 for the root."""
    names = (n.removeprefix("left_").removeprefix("right_") for n in skeleton.joint_names)
    return np.array([0.0 if p < 0 else SMPL_MEAN_BONES[n] for n, p in zip(names, skeleton.parents, strict=True)])


def bone_lengths(joints3d: np.ndarray, skeleton: Skeleton = SMPL22) -> np.ndarray:
    """(J,) median length over time from each joint to its parent, 0 for the root; `joints3d` is (L, J, 3)."""
    lengths = np.zeros(skeleton.num_joints)
    for parent, child in skeleton.bones:
        lengths[child] = np.median(np.linalg.norm(joints3d[:, child] - joints3d[:, parent], axis=-1))
    return lengths


def leg_length(lengths: np.ndarray, skeleton: Skeleton = SMPL22) -> float:
    """Hip to ankle along the bones, meters, mean of both legs; `lengths` is (J,)."""
    chain = skeleton.indices("left_knee", "left_ankle", "right_knee", "right_ankle")
    return float(lengths[list(chain)].sum() / 2)


def retarget_bone_lengths(
    joints3d: np.ndarray, target_lengths: np.ndarray, *, skeleton: Skeleton = SMPL22, scale_root: bool = True
) -> np.ndarray:
    """The same motion on a body with other bone lengths.

    Args:
        joints3d: (L, J, 3) meters, world, y up, floor at y = 0.
        target_lengths: (J,) meters from each joint to its parent; the root's value is not used.
        skeleton: skeleton of the joints.
        scale_root: scale the root's path (height and travel) by target over source leg length, so that steps match the
            new legs; otherwise the root is not changed.

    Returns:
        (L, J, 3) same dtype. Feet may leave the floor by millimeters: move the clip to the floor again.

    Raises:
        ValueError: shapes disagree, or a bone has no length and thus no direction.
    """
    if joints3d.ndim != 3 or joints3d.shape[1:] != (skeleton.num_joints, 3):
        raise ValueError(
            f"joints3d has shape {joints3d.shape} but skeleton '{skeleton.name}' needs (L, {skeleton.num_joints}, 3)."
        )
    if target_lengths.shape != (skeleton.num_joints,):
        raise ValueError(f"target_lengths has shape {target_lengths.shape}; expected ({skeleton.num_joints},).")
    source = joints3d.astype(np.float64)
    result = np.empty_like(source)
    ratio = leg_length(target_lengths, skeleton) / leg_length(bone_lengths(source, skeleton), skeleton)
    for joint, parent in enumerate(skeleton.parents):
        if parent < 0:
            result[:, joint] = source[:, joint] * (ratio if scale_root else 1.0)
            continue
        bone = source[:, joint] - source[:, parent]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        if (length < 1e-6).any():
            names = skeleton.joint_names
            raise ValueError(f"bone {names[parent]} - {names[joint]} has no length in some frames; cannot retarget.")
        result[:, joint] = result[:, parent] + bone / length * target_lengths[joint]
    return result.astype(joints3d.dtype)
