"""Forward kinematics: positions and world rotations of joints from rotations relative to the parents."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton


def forward_kinematics(rotations: Tensor, offsets: Tensor, parents: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """World rotations and positions of the joints of a tree (Loper et al. 2015, eq. 4).

    Args:
        rotations: (..., J, 3, 3) rotation of each joint in the frame of its parent; the root's in the world.
        offsets: (..., J, 3) position of each joint in the rest frame of its parent; the root's in the world. Leading
            axes broadcast against those of `rotations`.
        parents: parent per joint, -1 for the root; a parent precedes its children.

    Returns:
        (..., J, 3, 3) world rotations and (..., J, 3) positions, in the units of the offsets.
    """
    levels, order = _levels(parents)
    joints, _ = levels[0]
    world = rotations[..., joints, :, :]
    place = offsets[..., joints, :].expand(*world.shape[:-1])
    worlds, places = [world], [place]
    for joints, above in levels[1:]:  # all joints of the same depth at once
        parent = world[..., above, :, :]
        place = place[..., above, :] + (parent @ offsets[..., joints, :, None])[..., 0]
        world = parent @ rotations[..., joints, :, :]
        worlds.append(world)
        places.append(place)
    return torch.cat(worlds, -3)[..., order, :, :], torch.cat(places, -2)[..., order, :]


def posed_joints(rotations: Tensor, translation: Tensor, rest_joints: Tensor, *, skeleton: Skeleton = SMPL22) -> Tensor:
    """Joints (..., L, J, 3) of a posed skeleton, the inverse of `solve_pose`.

    Args:
        rotations: (..., L, J, 3, 3) of each joint in the frame of its parent.
        translation: (..., L, 3) meters.
        rest_joints: (J, 3) or (..., J, 3) meters.
        skeleton: skeleton of the joints.
    """
    rest = rest_joints.to(rotations)
    parents = [max(p, 0) for p in skeleton.parents]
    is_root = torch.tensor([p < 0 for p in skeleton.parents], device=rest.device)[:, None]
    offsets = torch.where(is_root, rest, rest - rest[..., parents, :])
    joints3d = forward_kinematics(rotations, offsets[..., None, :, :], skeleton.parents)[1]
    return joints3d + translation[..., None, :]


@lru_cache(maxsize=64)
def _levels(parents: tuple[int, ...]) -> tuple[list[tuple[list[int], list[int]]], list[int]]:
    """Joints by depth, each with the index of its parent in the previous level; and the inverse permutation."""
    depth: list[int] = []
    for parent in parents:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    by_depth = [[j for j, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]
    levels = [(by_depth[0], by_depth[0])]
    levels += [
        (joints, [above.index(parents[j]) for j in joints])
        for above, joints in zip(by_depth[:-1], by_depth[1:], strict=True)
    ]
    flat = [j for joints in by_depth for j in joints]
    return levels, [flat.index(j) for j in range(len(parents))]
