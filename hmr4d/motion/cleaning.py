"""Cleaning of generated motion: less noise, constant bone lengths, standing feet.

Everything runs clip by clip in double precision on the CPU, so that a motion is the same alone, in a batch, and on any
device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.inverse_kinematics import clip_rest_joints, solve_pose
from hmr4d.body.kinematics import posed_joints
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.motion.constant_bones import with_constant_bones
from hmr4d.motion.foot_lock import plant_feet
from hmr4d.motion.temporal_smoothing import smooth_motion


def clean_motion(
    joints3d: Tensor,
    *,
    fps: float,
    lengths: Tensor | None = None,
    smooth: bool = True,
    rigid_bones: bool = True,
    plant: bool = True,
) -> Tensor:
    """Motions (B, L, 22, 3) cleaned in up to three steps, in this order.

    Args:
        joints3d: meters, y up; no gradient passes.
        fps: frames per second.
        lengths: (B,) valid frames; None: all. Padding is not changed.
        smooth: see `temporal_smoothing.smooth_motion`.
        rigid_bones: see `on_rigid_bones`.
        plant: see `foot_lock.plant_feet`.

    Raises:
        ValueError: another skeleton, or a position that is not finite in a valid frame.
    """
    if joints3d.ndim != 4 or joints3d.shape[2:] != (SMPL22.num_joints, 3):
        raise ValueError(f"joints3d has shape {tuple(joints3d.shape)}; expected (B, L, {SMPL22.num_joints}, 3) meters.")
    result = joints3d.detach().clone()
    counts = [joints3d.shape[1]] * len(joints3d) if lengths is None else lengths.tolist()
    for number, count in enumerate(counts):
        clip = result[number, :count].double().cpu()
        if not clip.isfinite().all():
            raise ValueError(f"Motion {number} contains positions that are not finite; it cannot be cleaned.")
        if smooth:
            clip = torch.from_numpy(smooth_motion(clip.numpy(), fps=fps))
        if rigid_bones:
            clip = on_rigid_bones(clip)
        if plant:
            clip = torch.from_numpy(plant_feet(clip.numpy(), fps=fps))
        result[number, :count] = clip.to(result)
    return result


def on_rigid_bones(joints3d: Tensor, *, skeleton: Skeleton = SMPL22) -> Tensor:
    """The nearest motion (L, 22, 3) with constant bone lengths, equal on the left and right.

    Bones get their median length over the clip, and the mean of both sides. Hips and shoulders also keep their angles
    to the spine: the result is posed by rotations, so writers of rotations reproduce it exactly.

    Args:
        joints3d: (L, 22, 3) meters, y up.
        skeleton: SMPL22.
    """
    rest = symmetric(clip_rest_joints(joints3d, load_light_body().rest_joints, skeleton=skeleton), skeleton)
    nearest = with_constant_bones(joints3d, rest, skeleton=skeleton)
    solved = solve_pose(nearest, rest, skeleton=skeleton)
    return posed_joints(solved.rotations, solved.translation, rest, skeleton=skeleton)


def symmetric(rest_joints: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """A rest pose (J, 3), left at +x, as the mean of itself and its mirror image; the root stays."""
    root = rest_joints[skeleton.parents.index(-1)]
    from_root = rest_joints - root
    mirrored = from_root[list(skeleton.mirror_order)] * from_root.new_tensor([-1.0, 1.0, 1.0])
    return root + (from_root + mirrored) / 2
