"""From the frame of the camera (y down) to a world with y up, and to a motion that stands on its floor."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.joint_conventions import bone_lengths, rest_in_convention
from hmr4d.body.keypoint_body import KeypointBody
from hmr4d.body.pose import OWN_BONES, Pose
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_files import FAMILIES
from hmr4d.methods.k2m.smpl_head import BodyParameters

_FLIP = (1.0, -1.0, -1.0)  # x stays, y and z turn round
_HIPS = SMPL22.indices("left_hip", "right_hip")
_LEGS = SMPL22.indices("left_knee", "left_ankle", "right_knee", "right_ankle")
FEET = SMPL22.indices("left_foot", "right_foot", "left_ankle", "right_ankle")


def turned(rotations: Tensor, translation: Tensor, rest_root: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Pose of a body after the world was turned about its origin.

    Args:
        rotations: (..., J, 3, 3), the root first.
        translation: (..., 3) metres; the root is at `rest_root` plus this.
        rest_root: (3,) metres.
        turn: (3, 3).
    """
    first = turn @ rotations[..., :1, :, :]
    place = (translation + rest_root) @ turn.mT - rest_root
    return torch.cat([first, rotations[..., 1:, :, :]], -3), place


def camera_to_y_up(rotations: Tensor, translation: Tensor, rest_root: Tensor) -> tuple[Tensor, Tensor]:
    """The same body with y up, seen along -z; its own inverse. Arguments as for `turned`."""
    return turned(rotations, translation, rest_root, torch.diag(rotations.new_tensor(_FLIP)))


def pose_of(body: BodyParameters, model: KeypointBody) -> Pose:
    """One clip's pose in the frame of the camera, at the median shape.

    Args:
        body: of one clip, (F, ...) without a batch axis.
        model: whose bones they are.
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
    """A pose with y up moved so that the first root is at x = z = 0 and the lowest foot joint at y = 0."""
    joints3d = pose.joints()
    shift = -joints3d[0, 0]
    shift[1] = -joints3d[:, FEET, 1].min()
    return Pose(
        pose.body, pose.rotations, pose.translation + shift, pose.rest_joints, betas=pose.betas, gender=pose.gender
    )


def world_pose(body: BodyParameters, model: KeypointBody) -> Pose:
    """One clip's pose in a world with y up, on the floor; arguments as for `pose_of`."""
    pose = pose_of(body, model)
    rotations, translation = camera_to_y_up(pose.rotations, pose.translation, pose.rest_joints[0])
    return on_floor(Pose(pose.body, rotations, translation, pose.rest_joints, betas=pose.betas, gender=pose.gender))


def in_convention(pose: Pose, convention: str | None) -> Pose:
    """The same rotations on the bones of a source of motion, as long as the legs say and with the hips in their place.

    Sources put their joints at other places of a body than models do, hips 5 cm and toes 9 cm away. Keypoints do not
    tell where: it is a definition, and joints are compared with those of a source by the source's own.

    Args:
        pose: of SMPL-22 joints.
        convention: see `body.joint_conventions`; None: the pose stays as it is.
    """
    if convention is None:
        return pose
    old = pose.rest_joints
    own, lengths = bone_lengths(None, old), bone_lengths(convention, old)
    legs = [number for number, (_, child) in enumerate(SMPL22.bones) if child in _LEGS]
    rest = rest_in_convention(old, convention, lengths * (own[legs].sum() / lengths[legs].sum()))
    aside = old[list(_HIPS)].mean(0) - rest[list(_HIPS)].mean(0)  # both have the root at the same place
    translation = pose.translation + pose.rotations[:, 0] @ aside
    return Pose(OWN_BONES, pose.rotations, translation, rest)


def moved(pose: Pose, other: Pose) -> Tensor:
    """(3,) metres from the middle of the hips in the first frame of a pose to that of the same one elsewhere."""
    first, second = (one.joints()[0, list(_HIPS)].mean(0) for one in (pose, other))
    return second - first


def camera_center(body: BodyParameters, pose: Pose) -> Tensor:
    """(3,) optical center in the world of `world_pose`, in which the camera looks along -z.

    Args:
        body: in the frame of the camera.
        pose: of the same clip, by `world_pose`.
    """
    seen = body.translation[0] + pose.rest_joints[0]
    return pose.translation[0] + pose.rest_joints[0] - seen * seen.new_tensor(_FLIP)
