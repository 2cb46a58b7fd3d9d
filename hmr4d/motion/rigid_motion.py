"""A motion on bones of constant length: rotations for file formats and meshes that need them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmr4d.body.inverse_kinematics import clip_rest_joints, solve_pose
from hmr4d.body.joint_checks import FRAMES_TO_MEASURE, check_bones
from hmr4d.body.joint_conventions import rest_in_convention
from hmr4d.body.kinematics import posed_joints
from hmr4d.body.pose import OWN_BONES, Pose
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_files import FAMILIES
from hmr4d.motion.constant_bones import with_constant_bones
from hmr4d.motion.motion import Motion

FRAMES_AT_ONCE = 4096  # bounds the memory of long motions; results do not depend on it


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """The pose of a motion, and its joint errors.

    Attributes:
        pose: of the SMPL-22 joints, float32.
        mean: meters from the joints of the motion to those of the pose; mean over joints and frames.
        largest: the same, largest of all.
    """

    pose: Pose
    mean: float
    largest: float

    def joints(self) -> Tensor:
        """(L, 22, 3) meters."""
        return self.pose.joints()


def pose_motion(motion: Motion, template: Tensor, *, keep_bones: bool = False) -> RigidMotion:
    """The pose of a motion: exactly its own, if it has one, else by inverse kinematics, see `follow_joints`.

    Args:
        motion: motion of SMPL-22 joints. template: (22, 3) meters, rest pose of a body.
        keep_bones: use the bones of the template. The rotations of an existing pose are then used unchanged if they
            belong to a body of the SMPL family, since these bodies share the rest pose.

    Raises:
        ValueError: joints or pose that are not finite, or as `follow_joints`.
    """
    joints3d, pose = torch.from_numpy(motion.array()), motion.pose
    if pose is None or (keep_bones and pose.body not in FAMILIES):
        return follow_joints(
            joints3d, template, fps=motion.fps, convention=motion.joint_convention, keep_bones=keep_bones
        )
    parts = {"rotations": pose.rotations, "translation": pose.translation, "rest_joints": pose.rest_joints}
    parts = {name: value.detach().to("cpu", torch.float32) for name, value in parts.items()}
    for name, value in parts.items():
        if not value.isfinite().all():
            raise ValueError(f"{name} of the pose are not finite. Repair or remove the pose.")
    if keep_bones:
        template = template.to(parts["rest_joints"])
        parts["translation"] = parts["translation"] + parts["rest_joints"][0] - template[0]
        parts["rest_joints"] = template
        pose = replace(pose, betas=None)
    return _measured(replace(pose, **parts), joints3d)


def follow_joints(
    joints3d: Tensor,
    template: Tensor,
    *,
    fps: float | None = None,
    convention: str | None = None,
    keep_bones: bool = False,
) -> RigidMotion:
    """Rotations with which a skeleton follows a motion, in time and memory linear in its length.

    The skeleton takes the lengths that the bones have in the motion. Where these change, it follows the nearest motion
    with constant bones (`with_constant_bones`).

    Args:
        joints3d: (L, 22, 3) meters, y up.
        template: (22, 3) meters, rest pose of a body: provides the directions of bones, and the position of the root.
        fps: frames per second, for smoothing twists in time. None: frames are independent.
        convention: joint convention of the source, see `joint_conventions`: zero rotations are then a standing person
            who looks ahead with the arms spread. None: the rest pose of the template.
        keep_bones: keep the bone lengths of the template, with the directions of the motion.

    Raises:
        ValueError: a motion that is not finite, has other joints, bones without length or of a size that cannot be in
            meters, or an unknown convention.
    """
    joints3d, template = joints3d.float(), template.to(joints3d.device, torch.float32)
    check_bones(joints3d, SMPL22)
    if keep_bones:
        rest, followed = template, joints3d
    else:
        rest = clip_rest_joints(joints3d[:: -(-len(joints3d) // FRAMES_TO_MEASURE)], template)
        followed = with_constant_bones(joints3d, rest)
    neutral = rest_in_convention(rest, convention)
    solved = solve_pose(followed, neutral, fps=fps)
    pose = Pose(OWN_BONES, solved.rotations, solved.translation, rest if keep_bones else neutral)
    return _measured(pose, joints3d)


def _measured(pose: Pose, joints3d: Tensor) -> RigidMotion:
    """A pose with its distance from joints (L, 22, 3)."""
    total = largest = 0.0
    for block in torch.arange(len(joints3d)).split(FRAMES_AT_ONCE):
        made = posed_joints(pose.rotations[block], pose.translation[block], pose.rest_joints)
        distance = (made - joints3d[block]).norm(dim=-1)
        total, largest = total + float(distance.double().sum()), max(largest, float(distance.max()))
    return RigidMotion(pose, total / (joints3d.shape[0] * joints3d.shape[1]), largest)
