"""Fits a kinematic chain to one view: reprojection, Gaussian pose prior, smoothness and floor contact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from hmr4d.body.kinematics import posed_joints
from hmr4d.body.pose_prior import PosePrior, heading_rotation
from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import MIN_DEPTH, world_to_camera
from hmr4d.geometry.rigs import Rig, camera_pose
from hmr4d.geometry.rotations import rot6d_cols_to_matrix
from hmr4d.methods.lifting_baselines.observation import Observation, observe, smooth
from hmr4d.methods.lifting_baselines.pose_lookup import (
    PoseMatch,
    known_foot_heights,
    look_up,
    procedural_prior,
    to_skeleton,
)
from hmr4d.utils import lazy_roma as roma

Camera = Literal["pose", "intrinsics", "nothing"]

START_SECONDS = 0.1  # standard deviation of the temporal smoothing of the retrieved poses


@dataclass(frozen=True)
class FitOptions:
    """Steps and weights of the fit; the weights are standard deviations of the terms.

    Attributes:
        root_steps: steps of Adam on position, heading and size alone.
        steps: steps of Adam on all parameters.
        learning_rate: learning rate of rotations and positions; decays to a tenth in the second half.
        image: reprojection error, meters at the person's distance.
        robust: scale of the Geman-McClure function of that error, meters; larger errors hardly increase the cost.
        pose_weight: weight of the Mahalanobis distance per dimension, summed over joints.
        acceleration: acceleration of joints, m/s^2.
        floor: depth of joints below the floor, meters.
        contact_height, contact_speed: height and speed of standing feet, meters and m/s.
        scale: logarithm of the body size.
    """

    root_steps: int = 60
    steps: int = 240
    learning_rate: float = 0.03
    image: float = 0.01
    robust: float = 0.15
    pose_weight: float = 0.5
    acceleration: float = 4.0
    floor: float = 0.02
    contact_height: float = 0.02
    contact_speed: float = 0.15
    scale: float = 0.1


@dataclass
class _Chain:
    """Parameters of the fit: rot6d_cols (L, 22, 6), root position (L, 3) in meters, log_scale ()."""

    rot6d_cols: Tensor
    place: Tensor
    log_scale: Tensor

    def joints3d(self, prior: PosePrior) -> Tensor:
        """(L, 22, 3) meters."""
        rest = prior.rest_joints.to(self.place)
        rotations = rot6d_cols_to_matrix(self.rot6d_cols)
        return (
            self.log_scale.exp() * posed_joints(rotations, torch.zeros_like(self.place) - rest[0], rest)
            + (self.place[:, None])
        )


def optimization(
    kp2d: Tensor,
    conf: Tensor,
    rig: Rig,
    fps: float,
    skeleton: Skeleton,
    *,
    prior: PosePrior | None = None,
    known_camera: Camera = "pose",
    options: FitOptions | None = None,
) -> Tensor:
    """Joints (L, J, 3), meters, world of the rig, of a kinematic chain fitted to view 0.

    The approach follows SMPLify (Bogo et al. 2016, arXiv 1607.08128), but fits a whole clip without a body model.

    The initial values are the root path of `observe` and the poses of `look_up`. The objective is a sum over frames:
    Geman-McClure function of the reprojection error, weighted by conf^2; Mahalanobis distance of joint rotations;
    accelerations of all joints; depth of joints below the floor; height and speed of standing feet; body size, constant
    over the clip.

    Args:
        kp2d: (L, J, 2) undistorted pixels of view 0.
        conf: (L, J) in [0, 1], 0 for missing.
        rig: cameras; only view 0, the observed one, is used.
        fps: frames per second.
        skeleton: SMPL-22, or a skeleton that can be derived from it.
        prior: pose bank and its Gaussian; None: synthetic motion.
        known_camera: known parameters of view 0. "pose": intrinsics and pose relative to the floor. "intrinsics":
            intrinsics alone; the camera is assumed to be level. "nothing": the focal length is also unknown and assumed
            to be the image diagonal. Without the pose, the person is placed on the floor, its distance comes from its
            size in the image, and a tilt of the camera becomes a lean of the person.
        options: steps and weights.

    Raises:
        ValueError: shapes do not match, no frame shows the root, or the skeleton cannot be derived from SMPL joints.
    """
    prior = procedural_prior() if prior is None else prior
    options = options or FitOptions()
    if known_camera not in get_args(Camera):
        raise ValueError(f"known_camera is {known_camera!r}; choose one of {', '.join(get_args(Camera))}.")
    on_floor = known_camera == "pose"
    camera = rig.to("cpu") if on_floor else level_camera(rig.to("cpu"), known_focal=known_camera == "intrinsics")
    bones = to_skeleton(prior.rest_joints, skeleton).double()
    heights = known_foot_heights(prior, skeleton)
    seen = observe(kp2d.cpu(), conf.cpu(), camera, fps, skeleton, bones, use_floor=on_floor, foot_heights=heights)
    chain = _start(seen, look_up(seen, prior, skeleton, fps), prior, fps)
    T_w2c = camera.T_w2c[0].float()
    _descend(chain, seen, T_w2c, prior, skeleton, fps, options, on_floor)
    with torch.no_grad():
        joints3d = to_skeleton(chain.joints3d(prior), skeleton)
    if not on_floor and skeleton.contact_joints:
        feet = list(skeleton.contact_joints)
        low = (joints3d[:, feet, 1] - seen.rest_height[feet].to(joints3d)).amin(-1).quantile(0.05)
        joints3d = joints3d - joints3d.new_tensor([0.0, 1.0, 0.0]) * low
    return joints3d.to(kp2d)


def level_camera(rig: Rig, *, known_focal: bool) -> Rig:
    """View 0 as a level camera at the origin; an unknown focal length becomes the image diagonal."""
    size = rig.size[:1]
    diagonal = size.norm(dim=-1)
    guess = torch.stack([diagonal, diagonal, size[:, 0] / 2, size[:, 1] / 2], -1)
    level = torch.zeros(1, dtype=size.dtype)
    T_w2c = camera_pose(level, level, level, torch.zeros(1, 3, dtype=size.dtype))
    return replace(rig, size=size, K4=rig.K4[:1] if known_focal else guess, T_w2c=T_w2c)


def _start(seen: Observation, match: PoseMatch, prior: PosePrior, fps: float) -> _Chain:
    """Initial chain: the retrieved poses, smoothed over time, with the hips at the observed root."""
    rotations = prior.rotations[match.pose].double()
    rotations = torch.cat([(heading_rotation(match.yaw) @ rotations[:, 0])[:, None], rotations[:, 1:]], 1)
    rot6d_cols = smooth(rotations[..., :2].mT.flatten(-2), START_SECONDS, fps).float()
    scale = torch.tensor(match.scale).log()
    return _Chain(rot6d_cols, seen.root_place.float().clone(), scale)


def _descend(
    chain: _Chain,
    seen: Observation,
    T_w2c: Tensor,
    prior: PosePrior,
    skeleton: Skeleton,
    fps: float,
    options: FitOptions,
    on_floor: bool,
) -> None:
    """Optimizes the chain: first position, heading and size, then all parameters."""
    turn = torch.zeros(3)  # rotation of the whole motion about the root
    start = rot6d_cols_to_matrix(chain.rot6d_cols[:, 0])
    for steps, parts in (
        (options.root_steps, (turn, chain.place, chain.log_scale)),
        (options.steps, (chain.rot6d_cols, chain.place, chain.log_scale)),
    ):
        for part in parts:
            part.requires_grad_(True)
        optimizer = torch.optim.Adam(parts, lr=options.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i, n=steps: min(1.0, 0.1 + 1.8 * (1 - i / n)))
        for _ in range(steps):
            optimizer.zero_grad()
            current = chain
            if parts[0] is turn:
                root = (roma.rotvec_to_rotmat(turn) @ start)[..., :2].mT.flatten(-2)
                current = _Chain(torch.cat([root[:, None], chain.rot6d_cols[:, 1:]], 1), chain.place, chain.log_scale)
            _objective(current, seen, T_w2c, prior, skeleton, fps, options, on_floor).backward()
            optimizer.step()
            schedule.step()
        for part in parts:
            part.requires_grad_(False)
        if parts[0] is turn:
            chain.rot6d_cols[:, 0] = (roma.rotvec_to_rotmat(turn) @ start)[..., :2].mT.flatten(-2)


def _objective(
    chain: _Chain,
    seen: Observation,
    T_w2c: Tensor,
    prior: PosePrior,
    skeleton: Skeleton,
    fps: float,
    options: FitOptions,
    on_floor: bool,
) -> Tensor:
    """The objective of the fit, per frame."""
    body = chain.joints3d(prior)
    joints3d = to_skeleton(body, skeleton)
    points_c = world_to_camera(joints3d, T_w2c)
    rays = points_c[..., :2] / points_c[..., 2:].clamp(min=100 * MIN_DEPTH)
    error = ((rays - seen.rays.float()) * seen.root_depth.float()[:, None, None]).square().sum(-1)
    robust = error / (1 + error / options.robust**2)
    terms = [(seen.conf.float().square() * robust).sum(-1).mean() / options.image**2]
    num_turns = chain.rot6d_cols.shape[1] - 1
    terms.append(options.pose_weight * num_turns * prior.distance(chain.rot6d_cols[:, 1:]).mean())
    if len(body) > 2:
        acceleration = body.diff(n=2, dim=0) * fps**2
        terms.append(acceleration.square().sum(-1).sum(-1).mean() / options.acceleration**2 / 3)
    terms.append((chain.log_scale / options.scale).square())
    feet = list(skeleton.contact_joints)
    if on_floor and feet:
        height = joints3d[:, feet, 1] - seen.rest_height[feet].float()
        contact = seen.contact[:, feet].float()
        terms.append((-height).clamp(min=0).square().sum(-1).mean() / options.floor**2)
        terms.append(
            (contact * height.square() / (height.square() + 0.01)).sum(-1).mean() * 0.01 / options.contact_height**2
        )
        if len(body) > 1:
            speed = (joints3d[1:, feet] - joints3d[:-1, feet])[..., [0, 2]].square().sum(-1) * fps**2
            stays = contact[1:] * contact[:-1]
            terms.append((stays * speed / (1 + speed)).sum(-1).mean() / options.contact_speed**2)
    return torch.stack(terms).sum()
