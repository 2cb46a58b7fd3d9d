"""Conversion from the camera frame (y down) to a world with y up, and alignment of a motion to the floor."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.joint_conventions import bone_lengths, rest_in_convention
from hmr4d.body.keypoint_body import KeypointBody
from hmr4d.body.pose import OWN_BONES, Pose
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_files import FAMILIES
from hmr4d.methods.k2m.smpl_head import BodyParameters
from hmr4d.motion.foot_lock import plant_feet
from hmr4d.motion.pose_following import follow_pose
from hmr4d.motion.temporal_smoothing import smooth_motion

_FLIP = (1.0, -1.0, -1.0)  # y and z change sign
_HIPS = SMPL22.indices("left_hip", "right_hip")
_LEGS = SMPL22.indices("left_knee", "left_ankle", "right_knee", "right_ankle")
FEET = SMPL22.indices("left_foot", "right_foot", "left_ankle", "right_ankle")


def turned(rotations: Tensor, translation: Tensor, rest_root: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Pose of a body after a rotation of the world about its origin.

    Args:
        rotations: (..., J, 3, 3) relative to the parents, root first.
        translation: (..., 3) meters; root position minus `rest_root`.
        rest_root: (3,) root in the rest pose, meters.
        turn: (3, 3) rotation of the world.
    """
    first = turn @ rotations[..., :1, :, :]
    place = (translation + rest_root) @ turn.mT - rest_root
    return torch.cat([first, rotations[..., 1:, :, :]], -3), place


def camera_to_y_up(rotations: Tensor, translation: Tensor, rest_root: Tensor) -> tuple[Tensor, Tensor]:
    """Converts between the camera frame and a frame with y up, viewed along -z; its own inverse. Arguments as for
    `turned`."""
    return turned(rotations, translation, rest_root, torch.diag(rotations.new_tensor(_FLIP)))


def pose_of(body: BodyParameters, model: KeypointBody) -> Pose:
    """Pose of one clip in the camera frame, with the median shape.

    Args:
        body: body parameters of one clip, (F, ...) without batch axis.
        model: body model.
    """
    betas = body.betas.median(0).values
    count = SMPL22.num_joints
    is_family = model.name in FAMILIES
    return Pose(
        body=model.name if is_family else OWN_BONES,
        rotations=body.rotations[:, :count],
        translation=body.translation,
        rest_joints=model.shaped_joints(betas)[:count],
        betas=betas if is_family else None,
    )


def on_floor(pose: Pose) -> Pose:
    """A pose with y up, translated so that the first root is at x = z = 0 and the lowest foot joint at y = 0."""
    joints3d = pose.joints()
    shift = -joints3d[0, 0]
    shift[1] = -joints3d[:, FEET, 1].min()
    return Pose(
        pose.body, pose.rotations, pose.translation + shift, pose.rest_joints, betas=pose.betas, gender=pose.gender
    )


def world_pose(body: BodyParameters, model: KeypointBody) -> Pose:
    """Pose of one clip in a world with y up, on the floor; arguments as for `pose_of`."""
    pose = pose_of(body, model)
    rotations, translation = camera_to_y_up(pose.rotations, pose.translation, pose.rest_joints[0])
    return on_floor(Pose(pose.body, rotations, translation, pose.rest_joints, betas=pose.betas, gender=pose.gender))


def in_convention(pose: Pose, convention: str | None) -> Pose:
    """The same rotations on the skeleton of a joint convention, scaled by the leg length and aligned at the hips.

    Motion data sets define joint positions that differ from body models, by 5 cm at the hips and 9 cm at the toes.
    Keypoints do not determine this definition, so a comparison with a data set needs its joint convention.

    Args:
        pose: pose of SMPL-22 joints.
        convention: see `body.joint_conventions`; None: unchanged pose.
    """
    if convention is None:
        return pose
    old = pose.rest_joints
    own, lengths = bone_lengths(None, old), bone_lengths(convention, old)
    legs = [number for number, (_, child) in enumerate(SMPL22.bones) if child in _LEGS]
    rest = rest_in_convention(old, convention, lengths * (own[legs].sum() / lengths[legs].sum()))
    aside = old[list(_HIPS)].mean(0) - rest[list(_HIPS)].mean(0)  # both have the root at the same position
    translation = pose.translation + pose.rotations[:, 0] @ aside
    return Pose(OWN_BONES, pose.rotations, translation, rest)


def cleaned(pose: Pose, *, fps: float, smooth: bool = True, plant: bool = True) -> Pose:
    """A pose with y up, with less noise (`smooth_motion`) and without sliding feet (`plant_feet`).

    After each step the pose follows the joints, so bones stay constant.
    """
    for step, is_on in ((smooth_motion, smooth), (plant_feet, plant)):
        if is_on:
            pose = follow_pose(pose, torch.from_numpy(step(pose.joints().double().numpy(), fps=fps)))
    return pose


def moved(pose: Pose, other: Pose) -> Tensor:
    """Displacement (3,), meters, of the midpoint of the hips in the first frame from one pose to a translated copy."""
    first, second = (one.joints()[0, list(_HIPS)].mean(0) for one in (pose, other))
    return second - first


def camera_center(body: BodyParameters, pose: Pose) -> Tensor:
    """Optical center (3,), meters, in the world of `world_pose`, in which the camera looks along -z.

    Args:
        body: body parameters in the camera frame.
        pose: pose of the same clip, from `world_pose`.
    """
    seen = body.translation[0] + pose.rest_joints[0]
    return pose.translation[0] + pose.rest_joints[0] - seen * seen.new_tensor(_FLIP)
