"""A body driven by a motion: from joints to a mesh for every frame."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.body.body_model import Body
from hmr4d.body.joint_conventions import bone_directions
from hmr4d.body.loading import load_body
from hmr4d.body.pose import Pose
from hmr4d.body.posed_body import PosedBody
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import pose_motion

FRAMES_TO_MEASURE = 1024  # number of evenly spaced frames in which the soles of a longer motion are measured
SINKING_SHARE = (
    0.05  # fraction of frames that may be below the floor, so that a single bad frame does not lift the whole motion
)
LITTLE = (
    0.02  # meters; toes that push off reach this far below the floor; raising the body for them would make it float
)
SAME_PLACE = 1e-4  # meters between joints at rest that are the same; measured on features, they are 1e-5 off
FLAT = 0.9  # cosine of 26 degrees; a foot with more tilt stands on its toes or its heel
LOWEST = 0.05  # meters above the lowest joint; higher toes are not in contact
MOST_MENDED = 0.06  # meters; a larger distance of the soles means another floor height, not another joint convention


def drive_body(motion: Motion, body: Body | None = None) -> PosedBody:
    """A body that moves like a motion: its bones take the lengths of the motion, and its mesh is adapted.

    The rotations are those of the motion's pose if it has one, see `pose_motion`.

    Args:
        motion: motion of SMPL-22 joints. body: any body. None: the free light body.

    Raises:
        ValueError: another skeleton, a motion that is not finite, bones without length, or an unknown convention.
    """
    if motion.skeleton.name != SMPL22.name:
        raise ValueError(f"Skeleton '{motion.skeleton.name}' cannot move a body; pass the joints of '{SMPL22.name}'.")
    body = load_body() if body is None else body
    pose = pose_motion(motion, body.rest_joints[list(body.smpl22)]).pose
    return skin_to_motion(pose, body, convention=motion.joint_convention)


def skin_to_motion(pose: Pose, body: Body, *, convention: str | None = None) -> PosedBody:
    """The body on a motion of constant bones, with soles on the floor y = 0 where toes stand.

    Joints keep the positions of the motion. If its feet have other heights than those of the body, such as toe joints
    on the floor, the feet of the mesh are shifted relative to their joints, and its shins are shortened or lengthened
    accordingly. A body with the rest joints of the pose, such as the body of a fit, is posed unchanged.

    Args:
        pose: pose of the motion, on its bones. body: any body. convention: joint convention of the motion, see
            `joint_conventions`.

    Raises:
        ValueError: bones without length.
    """
    own = body.rest_joints[list(body.smpl22)].to(pose.rest_joints)
    if pose.body == body.name and torch.allclose(own, pose.rest_joints, rtol=0, atol=SAME_PLACE):
        return PosedBody(body, body.from_smpl22(pose.rotations), pose.translation)
    worn = _on_bones(body, pose.rest_joints, convention, 0.0)
    rotations = worn.from_smpl22(pose.rotations)
    roots = (pose.translation + pose.rest_joints[0]).to(rotations)
    posed = PosedBody(worn, rotations, roots - _root_places(worn, rotations))
    if depth := _under_the_floor(posed):
        worn = _on_bones(body, pose.rest_joints, convention, depth)
        posed = PosedBody(worn, rotations, roots - _root_places(worn, rotations))
    return posed


def sinking(bounds: Tensor) -> float:
    """Meters by which a mesh with bounds (L, 2, 3) must be raised to the floor y = 0.

    0 if it is hardly below the floor, or only in few frames.
    """
    depth = -float(bounds[:, 0, 1].double().quantile(SINKING_SHARE))
    return depth if depth > LITTLE else 0.0


# ----------------------------------------------------------------------------------------------------------------------


def _on_bones(body: Body, rest: Tensor, convention: str | None, depth: float) -> Body:
    """The body with its SMPL joints at `rest` (22, 3), up to a shift.

    Its mesh is that of a body with these bones, except for the bones of the convention, which keep their direction, and
    for feet that are higher by `depth`, on shorter shins.
    """
    own = body.rest_joints[list(body.smpl22)].to(rest)
    kept = bone_directions(convention)
    lengths = torch.stack(
        [
            torch.stack([(joints[c] - joints[p]).norm() for p, c in SMPL22.bones if c not in kept]).sum()
            for joints in (rest, own)
        ]
    )
    scale = lengths[0] / lengths[1]
    mesh = rest.clone()
    for joint in kept:
        parent = SMPL22.parents[joint]
        mesh[joint] = mesh[parent] + scale * (own[joint] - own[parent])
    mesh[list(SMPL22.indices("left_ankle", "right_ankle", "left_foot", "right_foot")), 1] += depth
    worn = body.with_rest_joints(mesh)
    joints = worn.rest_joints.clone()
    joints[list(worn.smpl22)] = (rest - rest[0]).to(joints) + joints[worn.smpl22[0]]
    return replace(worn, rest_joints=joints)


def _root_places(body: Body, rotations: Tensor) -> Tensor:
    """(L, 3) meters; the pelvis of a body that was turned, but not moved."""
    blocks = rotations.split(FRAMES_TO_MEASURE)
    return torch.cat([body.pose(block)[:, body.smpl22[0]] for block in blocks])


def _under_the_floor(posed: PosedBody) -> float:
    """Meters by which the soles of flat standing feet are below the floor y = 0; 0 if none stands on it."""
    every = slice(None, None, -(-posed.num_frames // FRAMES_TO_MEASURE))
    rotations, translation = posed.rotations[every], posed.translation[every]
    body = posed.body
    world, joints = body.joint_transforms(rotations, translation)
    lowest = joints[:, list(body.smpl22), 1].amin(1)
    depths = []
    for side in ("left", "right"):
        ankle, toes = SMPL22.indices(f"{side}_ankle", f"{side}_foot")
        stands = (world[:, body.smpl22[ankle], 1, 1] > FLAT) & (joints[:, body.smpl22[toes], 1] < lowest + LOWEST)
        foot = _part(body, [j for j, driver in enumerate(body.drivers) if driver in (ankle, toes)])
        if stands.any() and foot.num_vertices:
            depths.append(-foot.vertices(rotations[stands], translation[stands])[..., 1].amin(1))
    if not depths:
        return 0.0
    depth = float(torch.cat(depths).double().quantile(1 - SINKING_SHARE))
    return depth if abs(depth) < MOST_MENDED else 0.0


def _part(body: Body, joints: list[int]) -> Body:
    """The vertices of a body that mainly follow some joints, as a body without faces and pose-dependent corrections."""
    which = torch.isin(body.skin_indices[:, 0], torch.tensor(joints))
    return Body(
        name=body.name,
        joint_names=body.joint_names,
        parents=body.parents,
        rest_joints=body.rest_joints,
        rest_vertices=body.rest_vertices[which],
        faces=body.faces[:0],
        skin_indices=body.skin_indices[which],
        skin_weights=body.skin_weights[which],
        smpl22=body.smpl22,
        drivers=body.drivers,
        licence=body.licence,
    )
