"""A pose that follows joints which were moved a little: every part turns as little as it must, twists stay."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.body.kinematics import forward_kinematics
from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.geometry.rotations import quat_wxyz_between, quat_wxyz_to_matrix
from hmr4d.utils import lazy_roma as roma

ANY_AXIS = (1.0, 0.0, 0.0)  # of a half turn, which leaves it open


def follow_pose(pose: Pose, joints3d: Tensor, *, skeleton: Skeleton = SMPL22) -> Pose:
    """The pose closest to given joints and, secondly, to the rotations of a given pose.

    From the root outwards, the world rotation of each joint is turned by the smallest rotation that takes its bones to
    their new directions: W' = Q W, Q between two directions, or the best of several (Kabsch). Joints without children
    keep their world rotation. Bones keep their length.

    Args:
        pose: of SMPL joints.
        joints3d: (L, J, 3) meters, near to the joints of the pose.
        skeleton: skeleton of the joints.
    """
    rotations, rest = pose.rotations.double(), pose.rest_joints.double()
    target = joints3d.double()
    parents = skeleton.parents
    offsets = torch.stack([rest[j] if p < 0 else rest[j] - rest[p] for j, p in enumerate(parents)])
    world, _ = forward_kinematics(rotations, offsets, parents)
    turned = world.clone()
    for joint in range(skeleton.num_joints):
        children = [child for child, parent in enumerate(parents) if parent == joint]
        if not children:
            continue
        old = torch.stack([(world[:, joint] @ offsets[child, :, None])[..., 0] for child in children], 1)
        new = target[:, children] - target[:, joint, None]
        if len(children) == 1:
            turn = quat_wxyz_to_matrix(quat_wxyz_between(old[:, 0], new[:, 0], ANY_AXIS))
        else:
            turn = _rotation(new.mT @ old)
        turned[:, joint] = turn @ world[:, joint]
    local = torch.stack([turned[:, j] if p < 0 else turned[:, p].mT @ turned[:, j] for j, p in enumerate(parents)], 1)
    root = parents.index(-1)
    return replace(
        pose, rotations=local.to(pose.rotations), translation=(target[:, root] - rest[root]).to(pose.translation)
    )


def _rotation(moments: Tensor) -> Tensor:
    """The rotation next to matrices (L, 3, 3)."""
    result: Tensor = roma.special_procrustes(moments)  # pyright: ignore[reportAssignmentType]
    return result
