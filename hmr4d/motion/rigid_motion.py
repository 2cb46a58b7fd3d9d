"""A motion on bones of constant length: rotations for everything that cannot stretch, from files to meshes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.inverse_kinematics import clip_rest_joints, posed_joints, solve_pose
from hmr4d.body.joint_checks import FRAMES_TO_MEASURE, check_bones
from hmr4d.body.joint_conventions import rest_in_convention
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.constant_bones import with_constant_bones

FRAMES_AT_ONCE = 4096  # bounds the memory of long motions; results do not depend on it


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Rotations of the SMPL-22 joints of a body in every frame.

    Attributes:
        rest_joints: (22, 3) metres, float32; where the joints are without rotation.
        rotations: (L, 22, 3, 3) of each joint in the frame of its parent; the root's in the world.
        translation: (L, 3) metres; the root comes to its rest position plus this.
        mean: metres from the given joints to those of the body; mean over joints and frames.
        largest: the same, largest of all.
    """

    rest_joints: Tensor
    rotations: Tensor
    translation: Tensor
    mean: float
    largest: float

    @property
    def num_frames(self) -> int:
        return len(self.rotations)

    def joints(self) -> Tensor:
        """(L, 22, 3) metres."""
        return posed_joints(self.rotations, self.translation, self.rest_joints)


def follow_joints(
    joints3d: Tensor, template: Tensor, *, fps: float | None = None, convention: str | None = None,
    keep_bones: bool = False,
) -> RigidMotion:  # fmt: skip
    """Rotations with which a skeleton follows a motion, in time and memory linear in its length.

    The skeleton takes the lengths that the bones have in the motion. Where these change, it follows the nearest motion
    with constant bones (`with_constant_bones`).

    Args:
        joints3d: (L, 22, 3) metres, y up.
        template: (22, 3) metres, rest pose of a body: gives the directions of bones, and the place of the root.
        fps: frames per second; twists are then carried through time. None: frames are treated one by one.
        convention: of the source of the motion, see `joint_conventions`: joints without rotation are then those of
            somebody who stands, looks ahead and has the arms spread. None: those of the template.
        keep_bones: leave the bones as the template has them, and give them the directions of the motion.

    Raises:
        ValueError: a motion that is not finite, has other joints, bones without length or of a size that cannot be in
            metres, or an unknown convention.
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
    body_rest = rest if keep_bones else neutral
    total = largest = 0.0
    for block in torch.arange(len(joints3d)).split(FRAMES_AT_ONCE):
        made = posed_joints(solved.rotations[block], solved.translation[block], body_rest)
        distance = (made - joints3d[block]).norm(dim=-1)
        total, largest = total + float(distance.double().sum()), max(largest, float(distance.max()))
    mean = total / (joints3d.shape[0] * joints3d.shape[1])
    return RigidMotion(body_rest, solved.rotations, solved.translation, mean, largest)
