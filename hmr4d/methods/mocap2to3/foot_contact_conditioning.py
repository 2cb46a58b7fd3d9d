"""Pointmaps at the observed feet: floor position of the person observed by V0, and its projection to every view.

This is an extension of the method. The ray of a standing foot meets the floor under the person, at the value of V0's
pointmap at that pixel; every calibrated view can project this point. A flat figure of V0's observation, placed there
and facing V0, adds the size and height of the person. Feet in the air give points that are too far away, and people are
not flat; the network has to learn which contacts are reliable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import invert_rigid
from hmr4d.geometry.ground_pointmap import meet_floor
from hmr4d.geometry.rigs import Rig, normalize, project
from hmr4d.motion.ground_contact import NEAREST_BAND, rest_heights
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.representation.world_joints import PLACE_UNIT, WorldJointsCodec
from hmr4d.utils.precision import full_precision

VIEW_CHANNELS = 5  # per point in a view: its projection, the projection of the point one meter above it, valid
WORLD_CHANNELS = 4  # per point in the world: x, y, z, valid
IMAGE_LIMIT = 3.0  # clamp of normalized image coordinates, whose image borders are at 1
MIN_DEPTH = 0.1  # meters; points at a smaller depth are not projected


@dataclass(frozen=True)
class FootContactConditioning:
    """Position of the person under the assumption that the feet observed by V0 stand; zeros and False if unknown.

    Attributes:
        points: (B, L, H, 3) meters in V0's world: contact joints, then the root.
        valid: (B, L, H) bool.
        figure: (B, L, J, 3) meters, observed joints on the vertical plane through the root that faces V0; joints that
            V0 did not observe are at the root.
        known: (B, L, J) bool, whether V0 observed the joint.
    """

    points: Tensor
    valid: Tensor
    figure: Tensor
    known: Tensor


def count_contact_features(codec: BboxPose2DCodec | ImagePose2DCodec, world_codec: WorldJointsCodec | None) -> int:
    """Width of `contacts_in_views`, or with a world codec of `contacts_in_world`."""
    points = len(codec.skeleton.contact_joints) + 1
    if world_codec is None:
        return VIEW_CHANNELS * points + codec.num_features
    return WORLD_CHANNELS * points + world_codec.num_features


@full_precision
def foot_contact_conditioning(
    pixels: Tensor,
    seen: Tensor,
    rig: Rig,
    skeleton: Skeleton,
    max_range: float,
    foot_heights: Mapping[str, float] | None = None,
) -> FootContactConditioning:
    """Foot-contact conditioning from observed joints.

    A contact joint lies where its ray reaches the height of the joint in a standing foot. The
    plane of the figure passes through the mean of these points. Points
    more than `NEAREST_BAND` behind the nearest are excluded, because feet in the air appear farther away.

    Args:
        pixels: (B, L, J, 2) observed joints.
        seen: (B, L, J) bool.
        rig: (B, V, ...) cameras; only view 0, the observing one, is used.
        skeleton: skeleton of the joints.
        max_range: largest horizontal distance of used feet, meters.
        foot_heights: heights of joints in a standing foot, see `rest_heights`.
    """
    camera, feet, roots = rig.select([0]), list(skeleton.contact_joints), list(skeleton.root_joints)
    T_c2w = invert_rigid(camera.T_w2c)
    center = T_c2w[:, :, None, :3, 3]  # (B, 1, 1, 3)
    stands, valid = meet_floor(camera, pixels[:, None, :, feet], rest_heights(skeleton, foot_heights)[feet].to(pixels))
    stands, valid = stands[:, 0], valid[:, 0] & seen[..., feet]
    reach = (stands - center)[..., ::2].norm(dim=-1)
    valid = valid & (reach < max_range)
    reach = reach.masked_fill(~valid, torch.inf)
    near = (valid & (reach <= reach.amin(-1, keepdim=True) + NEAREST_BAND))[..., None]
    place = torch.where(near, stands, 0.0).sum(-2, keepdim=True) / near.sum(-2, keepdim=True).clamp(min=1)
    ahead = (place - center) * place.new_tensor([1.0, 0.0, 1.0])

    joints = torch.cat([pixels, pixels[..., roots, :].mean(-2, keepdim=True)], -2)  # and the root
    known = torch.cat([seen, seen[..., roots].all(-1, keepdim=True)], -1)
    rays = normalize(camera, joints[:, None])[:, 0]
    rays = torch.cat([rays, torch.ones_like(rays[..., :1])], -1) @ T_c2w[:, :, :3, :3].mT
    along = (ahead * rays).sum(-1)
    known = known & near.any(-2) & (along > 0)
    known = known & known[..., -1:]
    figure = center + (ahead.square().sum(-1) / torch.where(known, along, 1.0))[..., None] * rays
    root = torch.where(known[..., -1:, None], figure[..., -1:, :], 0.0)
    points = torch.cat([torch.where(valid[..., None], stands, 0.0), root], -2)
    figure = torch.where(known[..., :-1, None], figure[..., :-1, :], root)
    return FootContactConditioning(points, torch.cat([valid, known[..., -1:]], -1), figure, known[..., :-1])


@full_precision
def contacts_in_views(contacts: FootContactConditioning, rig: Rig, codec: BboxPose2DCodec | ImagePose2DCodec) -> Tensor:
    """Points and figure projected to the views of a rig (B, V, ...): (B, V, L, VIEW_CHANNELS H + D).

    Points behind a view are zero. The figure is encoded by the codec.
    """
    up = contacts.points.new_tensor([0.0, 1.0, 0.0])
    features, there = [], contacts.valid[:, None]
    for level in (contacts.points, contacts.points + up):
        pixels, depth = project(rig, level)
        features.append((2 * pixels / rig.size[:, :, None, None] - 1).clamp(-IMAGE_LIMIT, IMAGE_LIMIT))
        there = there & (depth > MIN_DEPTH)
    points = torch.where(there[..., None], torch.cat([*features, torch.ones_like(features[0][..., :1])], -1), 0.0)
    pixels, depth = project(rig, contacts.figure)
    seen = contacts.known[:, None] & (depth > MIN_DEPTH)
    figure = codec.encode(torch.where(seen[..., None], pixels, 0.0), rig.size, seen).clamp(-IMAGE_LIMIT, IMAGE_LIMIT)
    return torch.cat([points.flatten(-2), torch.where(seen.any(-1, keepdim=True), figure, 0.0)], -1)


def contacts_in_world(contacts: FootContactConditioning, codec: WorldJointsCodec) -> Tensor:
    """Points, in units of `PLACE_UNIT`, and figure in the world of V0: (B, 1, L, WORLD_CHANNELS H + D)."""
    features = torch.cat([contacts.points / PLACE_UNIT, torch.ones_like(contacts.points[..., :1])], -1)
    points = torch.where(contacts.valid[..., None], features, 0.0).flatten(-2)
    return torch.cat([points, codec.encode(contacts.figure)], -1)[:, None]
