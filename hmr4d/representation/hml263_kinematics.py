"""From joints to bones and headings, as the 263 numbers of HumanML3D need them (Guo et al., CVPR 2022).

Everything here has joints first, frames last but one: points are (J, B, L, 3), quaternions (J, B, L, 4) or (B, L, 4).
Heading quaternions turn about y and take the direction in which a body faces to +z. Odd steps are those of the
published features: numbers of other systems, and evaluators trained on them, depend on each.
"""

from __future__ import annotations

import json
import math
from importlib import resources
from typing import Literal

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rotations import (
    component_planes,
    conjugate_quat_wxyz,
    multiply_quat_wxyz,
    quat_wxyz_between,
    rotate_by_quat_wxyz,
)

Variant = Literal["humanml3d", "corrected_hips"]
SIGMA = 20.0  # frames; smoothing of the heading
RADIUS = 80  # frames; four sigma
MIN_ACROSS_SQUARED = 1e-4  # square meters; variant corrected_hips keeps facing +z below it
EPSILON = 1e-6  # meters; what variant corrected_hips adds to lengths that it divides by
LEG = SMPL22.indices("right_knee", "right_ankle")  # the bones ending here, right thigh and shin, set the scale
UP, FORWARD = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def _rest_direction(joint: str) -> tuple[float, float, float]:
    """Unit direction from parent to joint in the rest pose: facing +z, left is +x, arms and legs hang down."""
    side = 1.0 if joint.startswith("left") else -1.0
    name = joint.removeprefix("left_").removeprefix("right_")
    if name in ("hip", "collar"):
        return side, 0.0, 0.0
    if name in ("knee", "ankle", "shoulder", "elbow", "wrist"):
        return 0.0, -1.0, 0.0
    return FORWARD if name in ("foot", "head") else UP


REST_DIRECTIONS = ((0.0, 0.0, 0.0), *(_rest_direction(name) for name in SMPL22.joint_names[1:]))
# The joint whose rotation a bone's own is relative to: its parent, but the root for the first bone of every chain.
# For the arms this skips the spine, to which they are attached.
_CHAIN_STARTS = {chain[1] for _, chain in SMPL22.chains}
ROTATION_PARENTS = tuple(0 if c in _CHAIN_STARTS else p for p, c in SMPL22.bones)
_PARENTS = [p for p, _ in SMPL22.bones]


def published_target_offsets() -> Tensor:
    """(22, 3) metres: rest directions times bone lengths of the skeleton that HumanML3D moves every clip to."""
    text = (resources.files("hmr4d.representation") / "resources" / "hml263_target_skeleton.json").read_text("utf-8")
    lengths = json.loads(text)["bone_lengths"]
    return torch.tensor(REST_DIRECTIONS) * torch.tensor([lengths.get(n, 0.0) for n in SMPL22.joint_names])[:, None]


def skeleton_offsets(pose: Tensor) -> Tensor:
    """Offsets (..., 22, 3) in meters of the body in a pose (..., 22, 3): rest directions times bone lengths."""
    lengths = (pose[..., 1:, :] - pose[..., _PARENTS, :]).norm(dim=-1, keepdim=True)
    return pose.new_tensor(REST_DIRECTIONS) * torch.cat([torch.zeros_like(lengths[..., :1, :]), lengths], -2)


def bone_rotations(joints: Tensor, variant: Variant) -> Tensor:
    """Smallest rotation in the world from the rest direction to the bone that ends at joint 1..21.

    Args:
        joints: (22, B, L, 3) meters.

    Returns:
        (21, B, L, 4) float32. NaN for a bone without length or exactly against its rest direction; variant
        corrected_hips has a half turn about y there.
    """
    planes = joints.movedim(-1, 0)
    bones = (planes[:, 1:] - planes[:, _PARENTS]).movedim(0, -1)
    length = (bones * bones).sum(-1, keepdim=True).sqrt()
    directions = (bones / (length + _epsilon(variant))).float()
    rest = directions.new_tensor(REST_DIRECTIONS[1:])[:, None, None]
    return quat_wxyz_between(rest, directions, _half_turn(variant))


def retarget(joints: Tensor, offsets: Tensor, variant: Variant) -> Tensor:
    """The same poses (22, B, L, 3) on another skeleton, float64.

    The root path is scaled, in all three coordinates, by the ratio of the lengths of the right leg; bones keep their
    directions. The body measured is that of each clip's first frame.

    Args:
        offsets: (22, 3) meters, along the rest directions.
    """
    source = skeleton_offsets(joints[:, :, 0].transpose(0, 1))  # (B, 22, 3)
    legs_source, legs_target = (o[..., LEG, :].abs().amax(-1).sum(-1).double() for o in (source, offsets))
    root = joints[0].double() * (legs_target / legs_source)[:, None, None]
    bones = rotate_by_quat_wxyz(bone_rotations(joints, variant), offsets[1:, None, None].float())
    positions = [root.movedim(-1, 0)]
    for (parent, _), bone in zip(SMPL22.bones, bones.double(), strict=True):
        positions.append(positions[parent] + bone.movedim(-1, 0))
    return torch.stack(positions, 1).movedim(0, -1)


def place(joints: Tensor, variant: Variant) -> Tensor:
    """Motions (22, B, L, 3) with the lowest joint at y = 0 and, in frame 0, the root above the origin, facing +z.

    Returns:
        float32, same shape.
    """
    x, y, z = joints.unbind(-1)
    y = y - y.amin((0, 2))[:, None]
    x, z = x - x[0, :, :1], z - z[0, :, :1]
    across = _across(joints[:, :, :1], hips_reversed=False)
    heading = _heading(across, None, variant)  # (B, 1, 4)
    return turn(heading, torch.stack([x, y, z]).float().movedim(0, -1))


def body_heading(joints: Tensor, variant: Variant, *, smooth: bool = True) -> Tensor:
    """(B, L, 4) float32: heading quaternions of motions (22, B, L, 3); frame 0 always has the identity.

    In variant humanml3d the hips enter left to right and the shoulders right to left, so the hips have the opposite
    sign.

    Args:
        smooth: average the direction over time with a Gaussian of 20 frames.
    """
    heading = _heading(_across(joints, variant == "humanml3d"), SIGMA if smooth else None, variant)
    identity = heading.new_tensor([1.0, 0.0, 0.0, 0.0]).expand_as(heading[:, :1])
    return component_planes(torch.cat([identity, heading[:, 1:]], 1))


def joint_rotations(heading: Tensor, bones: Tensor) -> Tensor:
    """(21, B, L, 4): rotations of bones (21, B, L, 4) relative to the bone before, or to the heading (B, L, 4)."""
    before = torch.cat([heading.movedim(-1, 0)[:, None], bones.movedim(-1, 0)], 1)[:, ROTATION_PARENTS]
    return multiply_quat_wxyz(conjugate_quat_wxyz(before.movedim(0, -1)), bones)


def turn(heading: Tensor, points: Tensor) -> Tensor:
    """Points (..., 3) turned about y by quaternions (..., 4) = (w, 0, y, 0)."""
    w, half_sine = heading[..., 0], heading[..., 2]
    cosine, sine = 1 - 2 * half_sine * half_sine, 2 * w * half_sine
    x, y, z = points.unbind(-1)
    return torch.stack([cosine * x + sine * z, y, cosine * z - sine * x]).movedim(0, -1)


def smooth_over_time(x: Tensor, sigma: float = SIGMA, radius: int = RADIUS) -> Tensor:
    """Values (..., L, C) averaged with Gaussian weights over 2 radius + 1 frames.

    The end frames are repeated beyond the ends. The sum is computed tap by tap, so that a result does not depend on its
    batch.
    """
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    num_frames = x.shape[-2]
    index = torch.arange(-radius, num_frames + radius, device=x.device).clamp(0, num_frames - 1)
    padded = x.index_select(-2, index)
    result = x * (weights[0] / total)
    for k in range(radius, 0, -1):
        before = padded.narrow(-2, radius - k, num_frames)
        after = padded.narrow(-2, radius + k, num_frames)
        result = result + (before + after) * (weights[k] / total)
    return result


def _across(joints: Tensor, hips_reversed: bool) -> Tensor:
    """(B, L, 3) meters from the left side to the right one, by hips and shoulders."""
    hip_l, hip_r, sh_l, sh_r = SMPL22.indices("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    hips = joints[hip_r] - joints[hip_l]
    return (-hips if hips_reversed else hips) + (joints[sh_r] - joints[sh_l])


def _heading(across: Tensor, sigma: float | None, variant: Variant) -> Tensor:
    """Quaternions (B, L, 4) about y that take the direction up x across (B, L, 3) to +z."""
    squared = (across * across).sum(-1, keepdim=True)
    if variant == "corrected_hips":
        across = torch.where(squared < MIN_ACROSS_SQUARED, across.new_tensor([-1.0, 0.0, 0.0]), across)
        squared = (across * across).sum(-1, keepdim=True)
    across = across / (squared.sqrt() + _epsilon(variant))
    flat = torch.stack([across[..., 2], -across[..., 0]], -1).double()  # x and z; y is 0
    flat = flat if sigma is None else smooth_over_time(flat, sigma)
    flat = (flat / (flat * flat).sum(-1, keepdim=True).sqrt()).float()
    forward = torch.stack([flat[..., 0], torch.zeros_like(flat[..., 0]), flat[..., 1]]).movedim(0, -1)
    return quat_wxyz_between(forward, forward.new_tensor(FORWARD), _half_turn(variant))


def _epsilon(variant: Variant) -> float:
    return EPSILON if variant == "corrected_hips" else 0.0


def _half_turn(variant: Variant) -> tuple[float, float, float] | None:
    """Axis for opposite directions."""
    return UP if variant == "corrected_hips" else None
