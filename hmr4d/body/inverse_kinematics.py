"""Joint rotations from joint positions in closed form, frame by frame and without iteration.

Positions determine the direction of a bone, but not its twist. The twist is chosen so that it never jumps between
frames:

- a joint with several children (pelvis, upper chest) takes the rotation that best aligns its rest bones with those of
  the frame (Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976);
- a joint with one child takes the smallest rotation relative to its parent that gives the bone its direction, so that
  twist is inherited along the chain;
- shoulders and hips are twisted so that elbows and knees bend in their natural direction, weighted by the bending
  angle, and not at all if they bend the wrong way;
- the twist of the chest relative to the pelvis is distributed evenly over the spine;
- joints without a child (head, wrists, toes) stay at rest relative to their parent.

If the frame rate is given, the twist of joints with one child is also smoothed in time: the evidence of a frame is
    weighed against a rotation between frames without twist.

Except for the root's rotation, the result does not depend on the orientation of the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.kinematics import posed_joints
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.body.twist import carried_twist, continuous
from hmr4d.geometry.rotations import quat_wxyz_between, quat_wxyz_to_matrix
from hmr4d.utils import lazy_roma as roma

FRAMES_AT_ONCE = 2048  # limits the memory for long motions; results do not depend on it
MIN_LENGTH = 1e-6  # meters; a shorter bone has no direction
PRIOR_WEIGHT = 1e-5  # prior "same as the parent" relative to all bones of a joint; decides undetermined rotations
STRAIGHT = 0.125  # squared sine of 20 degrees: a limb bent that far decides half of its own twist
REST_WEIGHT = 0.1  # prior "no twist" in temporal smoothing, relative to evidence of weight 1
LEAST_WEIGHT = 1e-3  # the same for bones opposite to their rest direction
STRAIGHT_SPINE = 0.99  # cosine of 8 degrees
_BENT_SPINE = "spine2"  # joint below the chest, bent by 25 degrees at rest
# Middle joint of each limb: bending direction of the part beyond it, in the rest pose.
_BENDS = {
    "left_knee": (0.0, 0.0, -1.0),
    "right_knee": (0.0, 0.0, -1.0),
    "left_elbow": (0.0, 0.0, 1.0),
    "right_elbow": (0.0, 0.0, 1.0),
}


@dataclass(frozen=True)
class SolvedPose:
    """Rotations that pose a skeleton of fixed bones after a motion.

    Attributes:
        rotations: (..., L, J, 3, 3) of each joint in the frame of its parent; the root's in the world.
        translation: (..., L, 3) meters, added to all joints, as in `Body.pose`: the root is at its rest position plus
            this.
        residual: (..., L, J) meters from each given joint to the posed one. Zero up to rounding if the motion has
            constant bones; fixed bones cannot reproduce changing bone lengths.
    """

    rotations: Tensor
    translation: Tensor
    residual: Tensor


def solve_pose(
    joints3d: Tensor, rest_joints: Tensor, *, skeleton: Skeleton = SMPL22, fps: float | None = None
) -> SolvedPose:
    """Rotations from a rest pose to a motion, in closed form; every bone gets its direction in the motion.

    Args:
        joints3d: (..., L, J, 3) meters, y up.
        rest_joints: (J, 3), or (..., J, 3) with one rest pose per clip: meters, arms spread, facing +z, left at +x;
            those of a `Body` (rows `smpl22`), or `clip_rest_joints` for the bone lengths of the motion itself.
        skeleton: skeleton of the joints. fps: frames per second, for smoothing twists in time. None: frames are
            independent.

    Raises:
        ValueError: shapes that do not fit the skeleton, or positions that are not finite.
    """
    _check(joints3d, rest_joints, skeleton)
    rest = rest_joints.to(joints3d)[..., None, :, :]  # (..., 1, J, 3)
    rotations = joints3d.new_empty(*joints3d.shape, 3)  # in the world until all joints are solved
    for joint in range(skeleton.num_joints):
        children = _children(skeleton, joint)
        if len(children) > 1:
            _turn_branch(rotations, joints3d, rest, joint, skeleton, fps)
        elif children:
            _turn_bone(rotations, joints3d, rest, joint, skeleton, fps)
        else:
            rotations[..., joint, :, :] = rotations[..., skeleton.parents[joint], :, :]
    residual = joints3d.new_empty(joints3d.shape[:-1])
    root = skeleton.parents.index(-1)
    translation = joints3d[..., root, :] - rest[..., root, :]
    for block in _blocks(joints3d):
        frames = rotations[..., block, :, :, :]
        for joint, parent in reversed(list(enumerate(skeleton.parents))):
            if parent >= 0:
                frames[..., joint, :, :] = frames[..., parent, :, :].mT @ frames[..., joint, :, :]
        posed = posed_joints(frames, translation[..., block, :], rest_joints, skeleton=skeleton)
        residual[..., block, :] = (joints3d[..., block, :, :] - posed).norm(dim=-1)
    return SolvedPose(rotations, translation, residual)


def clip_rest_joints(joints3d: Tensor, template: Tensor, *, skeleton: Skeleton = SMPL22) -> Tensor:
    """A rest pose with the bones of a motion, with which `solve_pose` reproduces motions of constant bones exactly.

    Bones get their median length over the clip. Their directions are those of the template, except for joints with
    several bones: these keep their angles in the motion (median over frames, aligned with the template). If the spine
    is straight below the chest, because a joint was interpolated there, it is also straight at rest: otherwise it would
    bend back and forth in all frames.

    Args:
        joints3d: (..., L, J, 3) meters.
        template: (J, 3) rest pose with the directions and the position of the root.
        skeleton: skeleton of the joints.

    Returns:
        (..., J, 3) meters.

    Raises:
        ValueError: as `solve_pose`.
    """
    _check(joints3d, template, skeleton)
    template = template.to(joints3d)
    identity = torch.eye(3).to(joints3d)
    root = skeleton.parents.index(-1)
    rest = [template[root].expand(*joints3d.shape[:-3], 3)] * skeleton.num_joints
    for joint, parent in enumerate(skeleton.parents):
        children = _children(skeleton, joint)
        if not children:
            continue
        seen, still = _bones(joints3d, joint, children), _bones(template, joint, children)
        shape = still.expand(*joints3d.shape[:-3], len(children), 3)
        if len(children) > 1:
            turned = seen @ _best_rotation(seen, still, identity)  # rows: bones in the frame of the joint
            shape = torch.where(turned.norm(dim=-1, keepdim=True) < MIN_LENGTH, still, turned).median(-3).values
        elif skeleton.joint_names[joint] == _BENT_SPINE:
            before = _bones(joints3d, parent, [joint])
            cosine = (_unit(seen) * _unit(before)).sum(-1, keepdim=True).median(-3).values  # (..., 1, 1)
            straight = (rest[joint] - rest[parent])[..., None, :]
            shape = torch.where(cosine > STRAIGHT_SPINE, straight, shape)
        lengths = seen.norm(dim=-1).median(-2).values
        bones = shape / shape.norm(dim=-1, keepdim=True).clamp(min=MIN_LENGTH) * lengths[..., None]
        for child, bone in zip(children, bones.unbind(-2), strict=True):
            rest[child] = rest[joint] + bone
    return torch.stack(rest, -2)


# ----------------------------------------------------------------------------------------------------------------------


def _check(joints3d: Tensor, rest_joints: Tensor, skeleton: Skeleton) -> None:
    for name, value, least in (("joints3d", joints3d, 3), ("rest_joints", rest_joints, 2)):
        if value.ndim < least or value.shape[-2:] != (skeleton.num_joints, 3):
            wanted = f"({'..., L' if least == 3 else '...'}, {skeleton.num_joints}, 3)"
            raise ValueError(f"{name} has shape {tuple(value.shape)}, skeleton '{skeleton.name}' needs {wanted}.")
        if not value.isfinite().all():
            raise ValueError(f"{name} contains positions that are not finite. Repair or cut the motion first.")


def _children(skeleton: Skeleton, joint: int) -> list[int]:
    return [c for c, p in enumerate(skeleton.parents) if p == joint]


def _bones(joints: Tensor, joint: int, children: list[int]) -> Tensor:
    """(..., children, 3) from a joint to its children."""
    return joints[..., children, :] - joints[..., [joint], :]


def _best_rotation(seen: Tensor, still: Tensor, prior: Tensor) -> Tensor:
    """(..., 3, 3) rotation that best aligns rest bones (..., C, 3) with observed ones; the prior where undetermined.

    Collinear bones do not determine the twist; the weak prior decides it.
    """
    weight = PRIOR_WEIGHT * (still.square().sum((-1, -2)) + MIN_LENGTH**2)
    moments = seen.mT @ still + weight[..., None, None] * prior
    return roma.special_procrustes(moments)  # pyright: ignore[reportReturnType]


def _blocks(joints3d: Tensor) -> Iterator[slice]:
    """Frames to treat at once."""
    for start in range(0, joints3d.shape[-3], FRAMES_AT_ONCE):
        yield slice(start, min(start + FRAMES_AT_ONCE, joints3d.shape[-3]))


def _above(world: Tensor, joint: int, block: slice, skeleton: Skeleton) -> Tensor:
    """(..., L, 3, 3) rotation of a joint's parent in the world; none for the root."""
    parent = skeleton.parents[joint]
    here = world[..., block, max(parent, 0), :, :]
    return here if parent >= 0 else torch.eye(3).to(world).expand_as(here)


def _turn_branch(
    world: Tensor, joints3d: Tensor, rest: Tensor, joint: int, skeleton: Skeleton, fps: float | None
) -> None:
    """Writes the rotation of a joint with several bones to `world`, and distributes its twist over the joints above."""
    children = _children(skeleton, joint)
    still = _bones(rest, joint, children)
    for block in _blocks(joints3d):
        seen = _bones(joints3d[..., block, :, :], joint, children)
        world[..., block, joint, :, :] = _best_rotation(seen, still, _above(world, joint, block, skeleton))
    _share_twist(world, rest, joint, skeleton, fps)


def _turn_bone(
    world: Tensor, joints3d: Tensor, rest: Tensor, joint: int, skeleton: Skeleton, fps: float | None
) -> None:
    """Writes the rotation of a joint with one bone to `world`.

    First the smallest rotation for the bone direction and the evidence about its twist, block by block; then the twist
    over all frames at once, so that there are no seams between blocks.
    """
    child = _children(skeleton, joint)[0]
    still = _bones(rest, joint, [child])[..., 0, :]  # (..., 1, 3)
    evidence, weight, drift = [], [], []  # of all frames, per block
    last: tuple[Tensor, Tensor] | None = None  # bone and smallest rotation of the frame before the block
    for block in _blocks(joints3d):
        positions, above = joints3d[..., block, :, :], _above(world, joint, block, skeleton)
        bone = (above.mT @ _bones(positions, joint, [child])[..., 0, :, None])[..., 0]  # in the frame of the parent
        swing = _swing(still, bone)
        world[..., block, joint, :, :] = above @ swing
        evidence.append(_bend_evidence(above @ swing, positions, rest, joint, skeleton))
        if fps is not None:
            weight.append(_rest_weight(bone, still))
            bones, swings = bone, swing
            if last is not None:
                bones, swings = torch.cat([last[0], bone], -2), torch.cat([last[1], swing], -3)
            drift.append(_drift(bones, swings, still))
            last = bone[..., -1:, :], swing[..., -1:, :, :]
    known = torch.cat(evidence, -2)
    twist = _bend_twist(known) if fps is None else _carried(known, torch.cat(weight, -1), torch.cat(drift, -1), fps)
    for block in _blocks(joints3d):
        world[..., block, joint, :, :] = world[..., block, joint, :, :] @ _turn(_unit(still), twist[..., block])


def _swing(still: Tensor, seen: Tensor) -> Tensor:
    """(..., 3, 3) smallest rotation between directions (..., 3); the identity if one of them has no length."""
    along = still.reshape(-1, 3).mean(0)
    axis = torch.zeros_like(along)
    axis[int(along.abs().argmin())] = 1.0
    axis = axis - along * (axis @ along) / (along @ along).clamp(min=MIN_LENGTH**2)
    x, y, z = (axis / axis.norm()).tolist()
    rotation = quat_wxyz_to_matrix(quat_wxyz_between(still, seen, antiparallel_axis=(x, y, z)))
    known = (still.norm(dim=-1) > MIN_LENGTH) & (seen.norm(dim=-1) > MIN_LENGTH)
    return torch.where(known[..., None, None], rotation, torch.eye(3).to(rotation))


def _bend_evidence(rotation: Tensor, joints3d: Tensor, rest: Tensor, joint: int, skeleton: Skeleton) -> Tensor:
    """Twist for which the next joint bends like a hinge: (..., 2) its cosine and sine times a weight.

    The weight is 0 for a straight limb and for joints that are not hinges, and small for a wrong bending direction.
    """
    middle = _children(skeleton, joint)[0]
    if skeleton.joint_names[middle] not in _BENDS:
        return torch.zeros_like(joints3d[..., 0, :2])
    ends = _children(skeleton, middle)
    beyond = _unit((rotation.mT @ _bones(joints3d, middle, ends)[..., 0, :, None])[..., 0])
    along = _unit(_bones(rest, joint, [middle])[..., 0, :])
    bend = torch.tensor(_BENDS[skeleton.joint_names[middle]]).to(along)
    bend = _unit(bend - along * (along * bend).sum(-1, keepdim=True))
    bent = beyond - _unit(_bones(rest, middle, ends)[..., 0, :])  # limbs are not quite straight at rest
    aside = torch.stack([(bent * bend).sum(-1), (bent * torch.linalg.cross(along, bend)).sum(-1)], -1)
    sine = aside.norm(dim=-1, keepdim=True)
    return aside * (sine + aside[..., :1]) / 2


def _bend_twist(known: Tensor) -> Tensor:
    """Angles (..., L) of frames one by one, from evidence (..., L, 2)."""
    return torch.atan2(known[..., 1], known[..., 0] + STRAIGHT)


def _rest_weight(bone: Tensor, still: Tensor) -> Tensor:
    """(..., L) weight of "no twist" for bones (..., L, 3) in the frame of the parent."""
    cosine = (_unit(bone) * _unit(still)).sum(-1)
    return REST_WEIGHT * ((1 + cosine) / 2).square() + LEAST_WEIGHT


def _drift(bone: Tensor, swing: Tensor, still: Tensor) -> Tensor:
    """(..., L - 1) radians by which the smallest rotations (..., L, 3, 3) of bones turn about them between frames."""
    step = swing[..., 1:, :, :].mT @ _swing(bone[..., :-1, :], bone[..., 1:, :]) @ swing[..., :-1, :, :]
    return _angle_about(step, _unit(still))


def _carried(known: Tensor, weight: Tensor, drift: Tensor, fps: float) -> Tensor:
    """Angles (..., L) by which a joint turns about its bone, on top of the smallest rotation; see `carried_twist`."""
    evidence = torch.complex(known[..., 0], known[..., 1])
    numbers = (x.detach().cpu().numpy().astype(t) for x, t in ((evidence, complex), (weight, float), (drift, float)))
    return torch.from_numpy(carried_twist(*numbers, fps=fps)).to(known)


def _angle_about(rotation: Tensor, along: Tensor) -> Tensor:
    """Angle (...) of the turn about unit axes (..., 3) that is nearest to rotations (..., 3, 3)."""
    axial = torch.stack([rotation[..., a, b] - rotation[..., b, a] for a, b in ((2, 1), (0, 2), (1, 0))], -1)
    cosine = rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - (along * (rotation @ along[..., None])[..., 0]).sum(-1)
    return torch.atan2((axial * along).sum(-1), cosine)


def _share_twist(world: Tensor, rest: Tensor, joint: int, skeleton: Skeleton, fps: float | None) -> None:
    """Spreads the twist of a joint against its parent over the one-bone joints above it; `world` is updated."""
    chain = [joint]
    while skeleton.parents[chain[0]] >= 0 and len(_children(skeleton, skeleton.parents[chain[0]])) == 1:
        chain.insert(0, skeleton.parents[chain[0]])
    if len(chain) == 1:
        return
    along = _unit(_bones(rest, chain[-2], [joint])[..., 0, :])
    twist = torch.cat(
        [
            _angle_about(world[..., block, chain[-2], :, :].mT @ world[..., block, joint, :, :], along)
            for block in _blocks(world[..., 0])
        ],
        -1,
    )
    if fps is not None:
        twist = torch.from_numpy(continuous(twist.detach().cpu().numpy().astype(float))).to(twist)
    for number, (upper, lower) in enumerate(zip(chain[:-1], chain[1:], strict=True), start=1):
        bone = _unit(_bones(rest, upper, [lower])[..., 0, :])
        for block in _blocks(world[..., 0]):
            turn = _turn(bone, twist[..., block] * number / len(chain))
            world[..., block, upper, :, :] = world[..., block, upper, :, :] @ turn


def _turn(axis: Tensor, angle: Tensor) -> Tensor:
    """(..., 3, 3) rotation by angles (...) about unit axes (..., 3)."""
    return roma.rotvec_to_rotmat(axis * angle[..., None])


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp(min=MIN_LENGTH)
