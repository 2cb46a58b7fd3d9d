"""Standard placement of a motion: facing +z at the first frame, root above the origin, feet on the floor."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.geometry.cameras import invert_rigid, rigid
from hmr4d.motion.motion import Motion

MIN_ACROSS_SQUARED = 1e-4  # square meters; below it hips and shoulders define no heading


def facing_transform(first_frame: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """Transform from the world to the frame in which a pose faces +z with its root above the origin ("ayfz").

    The left direction is (left hip - right hip) + (left shoulder - right shoulder), flattened onto the floor. A pose
    without such a direction keeps its heading.

    Args:
        first_frame: (..., J, 3) meters, y up.

    Returns:
        T_ay2ayfz (..., 4, 4).
    """
    hip_l, hip_r, sh_l, sh_r = skeleton.indices("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    across = first_frame[..., hip_l, :] - first_frame[..., hip_r, :]
    across = across + first_frame[..., sh_l, :] - first_frame[..., sh_r, :]
    x, z = across[..., 0], across[..., 2]
    squared = x * x + z * z
    defined = squared >= MIN_ACROSS_SQUARED
    norm = torch.where(defined, squared, torch.ones_like(squared)).sqrt()
    x = torch.where(defined, x / norm, torch.ones_like(x))
    z = torch.where(defined, z / norm, torch.zeros_like(z))
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    R = torch.stack(
        [torch.stack([x, zero, z], -1), torch.stack([zero, one, zero], -1), torch.stack([-z, zero, x], -1)], -2
    )
    origin = first_frame[..., 0, :] * first_frame.new_tensor([1.0, 0.0, 1.0])
    return rigid(R, -(R @ origin[..., None])[..., 0])


def face_first_frame(joints3d: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """Motion (..., L, J, 3) turned to face +z in its first frame, with the first root above the origin."""
    T = facing_transform(joints3d[..., 0, :, :], skeleton)
    R, t = T[..., None, :3, :3], T[..., None, None, :3, 3]
    return joints3d @ R.transpose(-1, -2) + t


def transformed(motion: Motion, T_a2b: Tensor) -> Motion:
    """A motion in another world, with its pose and the cameras of its views.

    Args:
        motion: in world a, y up.
        T_a2b: (4, 4) rotation and shift to world b.
    """
    R, t = T_a2b[:3, :3].to(motion.joints3d), T_a2b[:3, 3].to(motion.joints3d)
    pose, views = motion.pose, motion.views
    if pose is not None:
        turn, root = R.to(pose.rotations), motion.skeleton.parents.index(-1)
        rotations = pose.rotations.clone()
        rotations[:, root] = turn @ rotations[:, root]
        rest = pose.rest_joints[root].to(pose.translation)
        translation = (pose.translation + rest) @ turn.to(rest).mT + t.to(rest) - rest
        pose = replace(pose, rotations=rotations, translation=translation)
    if views is not None and views.rig is not None:
        T_w2c = views.rig.T_w2c.double() @ invert_rigid(T_a2b.double())
        views = replace(views, rig=replace(views.rig, T_w2c=T_w2c.to(views.rig.T_w2c)))
    return replace(motion, joints3d=motion.joints3d @ R.mT + t, pose=pose, views=views)


def align_to_floor(joints3d: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Motion (..., L, J, 3) shifted in y so that its lowest joint over all valid frames lies at 0.

    Args:
        lengths: (...,) valid frames; padding is shifted too, but ignored for the minimum. None: all frames are valid.
    """
    y = joints3d[..., 1]
    if lengths is not None:
        beyond = torch.arange(y.shape[-2], device=y.device) >= lengths.to(y.device)[..., None]
        y = y.masked_fill(beyond[..., None], float("inf"))
    lowest = y.amin((-1, -2))[..., None, None]
    return torch.cat([joints3d[..., :1], (joints3d[..., 1] - lowest)[..., None], joints3d[..., 2:]], -1)


def mirror(joints3d: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """Motion (..., J, 3) reflected in the plane x = 0, left and right joints exchanged; its own inverse."""
    order = torch.as_tensor(skeleton.mirror_order, device=joints3d.device)
    return joints3d.index_select(-2, order) * joints3d.new_tensor([-1.0, 1.0, 1.0])


def repeat_last_valid(joints3d: Tensor, lengths: Tensor) -> Tensor:
    """Motions (B, L, J, 3) whose frames from lengths[b] on repeat the last valid frame."""
    frames = torch.arange(joints3d.shape[1], device=joints3d.device)
    index = torch.minimum(frames[None], (lengths - 1).to(joints3d.device)[:, None])  # (B, L)
    return joints3d.gather(1, index[:, :, None, None].expand_as(joints3d))
