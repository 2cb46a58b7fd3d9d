"""Pointmaps looked up at the observed feet: where on the floor V0 sees the person, and where that is in every view.

An extension of the method. A foot that stands has a ray that meets the floor under the person, which is V0's pointmap
at that pixel; every calibrated view then knows where it would see that point. Feet in the air point too far away: it
is for the network to find out which hints to believe.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import invert_rigid
from hmr4d.geometry.ground_pointmap import meet_floor
from hmr4d.geometry.rigs import Rig, normalise, project
from hmr4d.models.mocap2to3.baselines.observation import NEAREST_BAND, rest_heights
from hmr4d.representation.world_joints import PLACE_UNIT
from hmr4d.utils.precision import full_precision

VIEW_CHANNELS = 5  # of a hint in a view: its image, the image of the point a metre above it, valid
WORLD_CHANNELS = 4  # of a hint in the world: x, y, z, valid
IMAGE_LIMIT = 3.0  # normalised image coordinates, sides of the image at 1; hints farther out are moved to here
MIN_DEPTH = 0.1  # metres; what lies nearer to a camera has no image


def num_hints(skeleton: Skeleton) -> int:
    """Hints per frame: one for each contact joint, one for the root."""
    return len(skeleton.contact_joints) + 1


@full_precision
def ground_hints(pixels: Tensor, seen: Tensor, rig: Rig, skeleton: Skeleton, max_range: float) -> tuple[Tensor, Tensor]:
    """Where the person is if the feet that V0 sees stand.

    The hint of a contact joint is where its ray falls to the height that the joint of a standing foot has. The hint of
    the root is where its ray meets the vertical plane that faces V0 and goes through the middle of the contact joints'
    hints: of those at most `NEAREST_BAND` behind the nearest one, since feet in the air seem farther away.

    Args:
        pixels: (B, L, J, 2) observed joints.
        seen: (B, L, J) bool.
        rig: (B, V, ...) view 0 is the observed one; others are not looked at.
        skeleton: of the joints.
        max_range: metres over the floor; hints farther away are none.

    Returns:
        points (B, L, H, 3) metres in the world, contact joints first, and valid (B, L, H) bool; see `num_hints`.
    """
    camera, feet, roots = rig.select([0]), list(skeleton.contact_joints), list(skeleton.root_joints)
    T_c2w = invert_rigid(camera.T_w2c)
    centre = T_c2w[:, :, None, :3, 3]  # (B, 1, 1, 3)
    points, valid = meet_floor(camera, pixels[:, None, :, feet], rest_heights(skeleton)[feet].to(pixels))
    points, valid = points[:, 0], valid[:, 0] & seen[..., feet]
    reach = (points - centre)[..., ::2].norm(dim=-1)
    valid = valid & (reach < max_range)
    reach = reach.masked_fill(~valid, torch.inf)
    near = (valid & (reach <= reach.amin(-1, keepdim=True) + NEAREST_BAND))[..., None]
    place = torch.where(near, points, 0.0).sum(-2) / near.sum(-2).clamp(min=1)  # (B, L, 3)
    ray = normalise(camera, pixels[:, None, :, roots])[:, 0].mean(-2)
    ray = torch.cat([ray, torch.ones_like(ray[..., :1])], -1) @ T_c2w[:, 0, :3, :3].mT
    ahead = (place - centre[:, 0]) * place.new_tensor([1.0, 0.0, 1.0])
    along = (ahead * ray).sum(-1)
    there = near.any(-2)[..., 0] & seen[..., roots].all(-1) & (along > 0)
    depth = (ahead * ahead).sum(-1) / torch.where(there, along, 1.0)
    root = centre[:, 0] + depth[..., None] * ray
    points, valid = torch.cat([points, root[..., None, :]], -2), torch.cat([valid, there[..., None]], -1)
    return torch.where(valid[..., None], points, 0.0), valid


def hints_in_views(points: Tensor, valid: Tensor, rig: Rig) -> Tensor:
    """Hints as the views of a rig (B, V, ...) would see them: (B, V, L, VIEW_CHANNELS H); zeros where there are none.

    Args:
        points: (B, L, H, 3) metres, world of the rig.
        valid: (B, L, H) bool.
        rig: V cameras.
    """
    up = points.new_tensor([0.0, 1.0, 0.0])
    told, there = [], valid[:, None]
    for level in (points, points + up):
        pixels, depth = project(rig, level)
        told.append((2 * pixels / rig.size[:, :, None, None] - 1).clamp(-IMAGE_LIMIT, IMAGE_LIMIT))
        there = there & (depth > MIN_DEPTH)
    return torch.where(there[..., None], torch.cat([*told, torch.ones_like(told[0][..., :1])], -1), 0.0).flatten(-2)


def hints_in_world(points: Tensor, valid: Tensor) -> Tensor:
    """Hints (B, L, H, 3) as places in the world of V0: (B, 1, L, WORLD_CHANNELS H), in units of `PLACE_UNIT`."""
    told = torch.cat([points / PLACE_UNIT, torch.ones_like(points[..., :1])], -1)
    return torch.where(valid[..., None], told, 0.0).flatten(-2)[:, None]
