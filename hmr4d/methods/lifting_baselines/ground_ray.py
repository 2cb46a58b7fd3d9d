"""Depth from the floor: standing feet determine the position, bone lengths and a pose bank the depth of limbs."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.pose_prior import PosePrior
from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import world_to_camera
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.lifting_baselines.observation import Observation, observe, smooth
from hmr4d.methods.lifting_baselines.pose_lookup import (
    PoseMatch,
    known_foot_heights,
    look_up,
    procedural_prior,
    to_skeleton,
)

DEPTH_SECONDS = 0.1  # standard deviation of smoothing along the rays


def ground_ray(
    kp2d: Tensor, conf: Tensor, rig: Rig, fps: float, skeleton: Skeleton, *, prior: PosePrior | None = None
) -> Tensor:
    """Joints (L, J, 3), meters, world of the rig; approximate poses at the correct position.

    Feet that stand on the floor determine the depth of the root (`observe`). Every joint lies on its ray, at the length
    of its bone from the parent joint. Of the two such points, the function takes the one closer in depth to the
    retrieved pose of the bank (`look_up`). Invisible joints have their position in that pose.

    Args:
        kp2d: (L, J, 2) undistorted pixels of view 0.
        conf: (L, J) in [0, 1], 0 for missing.
        rig: cameras; only view 0, the observed one, is used.
        fps: frames per second.
        skeleton: SMPL-22, or a skeleton that can be derived from it.
        prior: pose bank; None: poses of synthetic motion.

    Raises:
        ValueError: shapes do not match, no frame shows the root, or the skeleton cannot be derived from SMPL joints.
    """
    prior = procedural_prior() if prior is None else prior
    bones = to_skeleton(prior.rest_joints, skeleton).double()
    heights = known_foot_heights(prior, skeleton)
    seen = observe(kp2d.cpu(), conf.cpu(), rig.to("cpu"), fps, skeleton, bones, foot_heights=heights)
    match = look_up(seen, prior, skeleton, fps)
    joints3d = chain_on_rays(seen, match, rig.to("cpu").T_w2c[0].double(), bones, skeleton, fps)
    return joints3d.to(kp2d)


def chain_on_rays(
    seen: Observation, match: PoseMatch, T_w2c: Tensor, bones: Tensor, skeleton: Skeleton, fps: float
) -> Tensor:
    """Joints (L, J, 3), each on its ray at its bone length from the parent, from the root outwards.

    With the ray r = (x, y, 1) of a joint, the position p of its parent (camera coordinates) and the bone length l, |z r
    - p| = l has the solutions z = (r.p +- sqrt((r.p)^2 - |r|^2 (|p|^2 - l^2))) / |r|^2. If the bone appears too long,
    there is no solution, and the bone is placed perpendicular to the ray.
    """
    lengths = {edge: float(bone) * match.scale for edge, bone in _tree_lengths(bones, skeleton)}
    posed = match.joints3d @ T_w2c[:3, :3].mT  # (L, J, 3) relative to the root, camera axes
    root_ray = torch.cat([seen.root, torch.ones_like(seen.root[:, :1])], -1)
    root = seen.root_depth[:, None] * root_ray
    rays = torch.cat([seen.rays, torch.ones_like(seen.rays[..., :1])], -1)
    places: dict[int, Tensor] = {}
    for (parent, joint), length in lengths.items():
        p = root if parent < 0 else places[parent]
        from_parent = posed[:, joint] - (posed[:, parent] if parent >= 0 else 0.0)
        r = rays[:, joint]
        rr, rp = (r * r).sum(-1), (r * p).sum(-1)
        reach = (rp.square() - rr * ((p * p).sum(-1) - length**2)).clamp(min=0).sqrt()
        wanted = p[:, 2] + from_parent[:, 2]
        ahead, behind = (rp + reach) / rr, (rp - reach) / rr
        depth = torch.where((ahead - wanted).abs() < (behind - wanted).abs(), ahead, behind)
        on_ray = depth[:, None] * r
        places[joint] = torch.where(seen.seen[:, joint, None], on_ray, p + from_parent)
    joints_c = torch.stack([places[j] for j in range(skeleton.num_joints)], 1)
    depth = joints_c[..., 2].clamp(min=0.1)
    joints_c = joints_c / depth[..., None] * smooth(depth, DEPTH_SECONDS, fps)[..., None]
    return world_to_camera(joints_c, torch.linalg.inv(T_w2c))


def _tree_lengths(bones: Tensor, skeleton: Skeleton) -> list[tuple[tuple[int, int], Tensor]]:
    """((parent, joint), bone length in meters) of a tree from the root; parent -1 is the root itself.

    Skeletons of detectors start at the nose; this tree starts at the hips, whose depth is known.
    """
    roots = list(skeleton.root_joints)
    middle = bones[roots].mean(0)
    edges = [((-1, j), (bones[j] - middle).norm()) for j in roots]
    reached, pairs = set(roots), [*skeleton.limbs, *skeleton.bones]
    while len(reached) < skeleton.num_joints:
        for a, b in [(a, b) for pair in pairs for a, b in (pair, pair[::-1]) if a in reached]:
            if b not in reached:
                reached.add(b)
                edges.append(((a, b), (bones[a] - bones[b]).norm()))
    return edges
