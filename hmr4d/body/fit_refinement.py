"""Refinement of a fitted pose: all frames of a clip at once, on joints only."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hmr4d.body.kinematics import forward_kinematics
from hmr4d.body.pose_limits import load_pose_limits
from hmr4d.body.skeleton import SMPL22
from hmr4d.utils import lazy_roma as roma

STEPS = 4
FRAMES_PER_BLOCK = 512  # a frame takes 54 x 54 numbers
# Weights relative to a distance at a joint, in meters per radian: they hardly change rotations that the positions
# determine, and decide the others.
SMOOTHNESS = 0.02  # of a rotation relative to the mean of the previous and next frame
LIMIT = 0.02  # of the part of a rotation beyond its limits
DAMPING = 0.01  # of every change
FREE = ("pelvis", "left_shoulder", "right_shoulder")  # without limits: bounds of components stop arms that circle

_INNER = tuple(p for p in range(SMPL22.num_joints) if p in SMPL22.parents)  # joints that move others


@lru_cache(maxsize=1)
def _inner_limits() -> tuple[Tensor, Tensor]:
    """Minimum and maximum axis-angle components (I, 3) of the inner joints in radians; infinite for free ones."""
    least, most = load_pose_limits().of_smpl22()
    free = list(SMPL22.indices(*FREE))
    least[free], most[free] = -torch.inf, torch.inf
    return least[list(_INNER)], most[list(_INNER)]


def refine_pose(rotations: Tensor, translation: Tensor, joints3d: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Refines a pose: joints nearer to those of a motion, smooth and within joint limits where positions are ambiguous.

    Gauss-Newton on the squared distances of all joints. Only the smoothness couples frames; it uses the neighboring
    frames of the previous step, so one step is one small linear system per frame.

    Args:
        rotations: (L, 22, 3, 3) start, of each joint in the frame of its parent.
        translation: (L, 3) meters, start.
        joints3d: (L, 22, 3) meters.
        rest: (22, 3) meters.

    Returns:
        Rotations and translation of the same shapes.
    """
    for _ in range(STEPS):
        middle = _between_neighbors(rotations)
        parts = [
            _step(*block, rest)
            for block in zip(
                *(x.split(FRAMES_PER_BLOCK) for x in (rotations, translation, joints3d, middle)), strict=True
            )
        ]
        turns, shifts = (torch.cat(x) for x in zip(*parts, strict=True))
        rotations, translation = rotations @ roma.rotvec_to_rotmat(turns), translation + shifts
    return rotations, translation


def _between_neighbors(rotations: Tensor) -> Tensor:
    """(L, 22, 3) axis-angle from each rotation to the middle of those of its neighbors in time; zero at the ends."""
    turns = torch.zeros_like(rotations[..., 0])
    now = rotations[1:-1].mT
    turns[1:-1] = (roma.rotmat_to_rotvec(now @ rotations[2:]) + roma.rotmat_to_rotvec(now @ rotations[:-2])) / 2
    return turns


def _step(
    rotations: Tensor, translation: Tensor, joints3d: Tensor, middle: Tensor, rest: Tensor
) -> tuple[Tensor, Tensor]:
    """Turns (L, 22, 3), axis-angle in the frame of each joint, and shifts (L, 3) of one Gauss-Newton step."""
    offsets = torch.stack([rest[j] - rest[p] if p >= 0 else rest[j] for j, p in enumerate(SMPL22.parents)])
    world, joints = forward_kinematics(rotations, offsets, SMPL22.parents)
    joints = joints + translation[:, None]
    inner = list(_INNER)
    # A rotation w of joint j in its own frame moves a descendant joint k by (W w) x (k - j), for each axis w_a W_a x (k
    # - j).
    arms = (joints[:, None] - joints[:, inner, None]) * _below().to(joints)[..., None]  # (L, I, 22, 3)
    axes = world[:, inner].mT  # (L, I, 3 axes, 3)
    moves = torch.linalg.cross(axes[:, :, :, None], arms[:, :, None])  # (L, I, 3 axes, 22, 3)
    jacobian = moves.flatten(1, 2).flatten(2).mT  # (L, 66, 3 I)
    shift = torch.eye(3).to(joints).repeat(SMPL22.num_joints, 1).expand(len(joints), -1, -1)
    jacobian = torch.cat([jacobian, shift], -1)
    turned = roma.rotmat_to_rotvec(rotations[:, inner])
    least, most = (x.to(joints) for x in _inner_limits())
    beyond = turned - turned.clamp(least, most)
    weight = torch.where(beyond == 0, 0.0, LIMIT**2)
    pull = SMOOTHNESS**2 * middle[:, inner] - weight * beyond
    weight = weight + SMOOTHNESS**2 + DAMPING**2
    weight, pull = (torch.nn.functional.pad(x.flatten(1), (0, 3)).double() for x in (weight, pull))
    jacobian = jacobian.double()
    normal = jacobian.mT @ jacobian + torch.diag_embed(weight)
    right = jacobian.mT @ (joints3d - joints).flatten(1).double()[..., None] + pull[..., None]
    solved = torch.cholesky_solve(right, torch.linalg.cholesky(normal))[..., 0].to(joints)
    turns = torch.zeros_like(joints)
    turns[:, inner] = solved[:, :-3].unflatten(-1, (-1, 3))
    return turns, solved[:, -3:]


@lru_cache(maxsize=1)
def _below() -> Tensor:
    """(I, 22): 1 if a joint is a descendant of an inner joint."""
    below = torch.zeros(SMPL22.num_joints, SMPL22.num_joints)
    for joint, parent in enumerate(SMPL22.parents):
        if parent >= 0:
            below[:, joint] = below[:, parent]
            below[parent, joint] = 1.0
    return below[list(_INNER)]
