"""Conversion of motions with changing bone lengths to the nearest motion with constant ones, frame by frame.

Keeping the direction of every bone instead would accumulate the length errors toward hands and feet.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton

FRAMES_AT_ONCE = 512  # bounds the memory of long motions; results do not depend on it
STEPS = 6
GOOD_ENOUGH = 1e-4  # meters; frames with smaller distance errors are not changed
CONVERGED = 1e-5  # meters; maximum distance error at convergence
MIN_LENGTH = 1e-6  # meters; a shorter bone has no direction
GIVE = 1e-9  # weight of the bones, relative to a joint of weight 1: decides undetermined directions
# Weights of squared distances of important joints: feet determine sliding, hands contacts.
WEIGHTS = {"ankle": 30.0, "foot": 30.0, "wrist": 4.0, "head": 2.0}
STEADINESS = 0.15  # meters per radian; cost of rotating a bone, so that short bones do not compensate for long ones
SHORTEST = 0.02  # meters; minimum bone length in the stiffness


def with_constant_bones(joints3d: Tensor, rest_joints: Tensor, *, skeleton: Skeleton = SMPL22) -> Tensor:
    """The motion closest to a given one that has the bone lengths and branch shapes of a rest pose.

    Minimizes, in every frame, sum_j w_j |x_j - y_j|^2 + sum_b (s / l_b)^2 |b(x) - b(y)|^2, where y is given and b(x) a
    bone of length l_b, under one constraint per pose-independent distance: along bones, between bones of one joint, and
    the volume of three such bones. Solved by linearizing the constraints at the last solution: with W the quadratic
    form and J the derivatives of the constraints c, x = y - W^-1 J' m, (J W^-1 J' + give) m = c + J (y - x).

    Args:
        joints3d: (L, J, 3) meters.
        rest_joints: (J, 3) meters.
        skeleton: skeleton of the joints.

    Returns: (L, J, 3); unchanged if bone lengths are constant. Frames without a near solution, such as those with all
        joints at one point, are not changed.
    """
    rest = rest_joints.to(joints3d.device, torch.float64)
    rules = _Rules.of(rest, skeleton)
    return torch.cat([_nearest(block.double(), rules) for block in joints3d.split(FRAMES_AT_ONCE)]).to(joints3d)


@dataclass(frozen=True)
class _Rules:
    """What no pose changes.

    Attributes:
        pairs: (2, P) joints at constant distance.
        distances: (P,) meters.
        fans: (4, F) joint and the ends of three of its bones.
        volumes: (F,) meters; volume that they span over `areas`.
        areas: (F,) square meters; makes volumes about as large as distances.
        freedom: (J, J) inverse of the quadratic form that is minimized.
    """

    pairs: Tensor
    distances: Tensor
    fans: Tensor
    volumes: Tensor
    areas: Tensor
    freedom: Tensor

    @classmethod
    def of(cls, rest: Tensor, skeleton: Skeleton) -> _Rules:
        pairs, fans = list(skeleton.bones), []
        for joint in range(skeleton.num_joints):
            children = [c for c, p in enumerate(skeleton.parents) if p == joint]
            pairs += combinations(children, 2)
            fans += [(joint, *three) for three in combinations(children, 3)]
        names = (name.removeprefix("left_").removeprefix("right_") for name in skeleton.joint_names)
        form = torch.diag(torch.tensor([WEIGHTS.get(name, 1.0) for name in names]).to(rest))
        for parent, child in skeleton.bones:
            stiffness = (STEADINESS / (rest[child] - rest[parent]).norm().clamp(min=SHORTEST)) ** 2
            form[[parent, child], [parent, child]] += stiffness
            form[[parent, child], [child, parent]] -= stiffness
        ends, corners = torch.tensor(pairs).mT, torch.tensor(fans).reshape(-1, 4).mT
        a, b, c = _edges(rest[None], corners)
        areas = torch.linalg.cross(a, b).norm(dim=-1)[0].clamp(min=MIN_LENGTH)
        volumes = (torch.linalg.cross(a, b) * c).sum(-1)[0] / areas
        distances = (rest[ends[1]] - rest[ends[0]]).norm(dim=-1)
        return cls(ends, distances, corners, volumes, areas, torch.linalg.inv(form))


def _edges(joints: Tensor, fans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three bones (L, F, 3) of every fan."""
    start, *ends = (joints[:, fans[k]] for k in range(4))
    return ends[0] - start, ends[1] - start, ends[2] - start


def _errors(joints: Tensor, rules: _Rules) -> tuple[Tensor, Tensor]:
    """Meters (L, C) by which joints (L, J, 3) break the rules, and derivatives (L, C, J, 3)."""
    start, end = rules.pairs
    bones = joints[:, end] - joints[:, start]
    lengths = bones.norm(dim=-1)
    along = bones / lengths.clamp(min=MIN_LENGTH)[..., None]
    a, b, c = _edges(joints, rules.fans)
    slopes = [torch.linalg.cross(*x) / rules.areas[:, None] for x in ((b, c), (c, a), (a, b))]
    errors = torch.cat([lengths - rules.distances, (slopes[2] * c).sum(-1) - rules.volumes], -1)
    derivatives = joints.new_zeros(*errors.shape, *joints.shape[1:])
    rows = torch.arange(errors.shape[1])
    of_pairs, of_fans = rows[: len(start)], rows[len(start) :]
    derivatives[:, of_pairs, end], derivatives[:, of_pairs, start] = along, -along
    for corner, slope in zip(rules.fans, (-slopes[0] - slopes[1] - slopes[2], *slopes), strict=True):
        derivatives[:, of_fans, corner] = slope
    return errors, derivatives


def _nearest(given: Tensor, rules: _Rules) -> Tensor:
    """`with_constant_bones` of a block (L, J, 3)."""
    first = _errors(given, rules)[0].abs().amax(-1)
    frames = (first > GOOD_ENOUGH).nonzero()[:, 0]  # those still to be moved
    result = given.clone()
    for _ in range(STEPS):
        joints, wanted = result[frames], given[frames]
        errors, derivatives = _errors(joints, rules)
        slopes = derivatives.flatten(2)
        weighted = (rules.freedom @ derivatives).flatten(2)
        normal = weighted @ slopes.mT + GIVE * torch.eye(slopes.shape[1]).to(slopes)
        right = errors[..., None] + slopes @ (wanted - joints).flatten(1)[..., None]
        pulls = torch.cholesky_solve(right, torch.linalg.cholesky_ex(normal).L)
        moved = wanted - (weighted.mT @ pulls)[..., 0].unflatten(-1, given.shape[1:])
        result[frames] = moved
        worst = _errors(moved, rules)[0].abs().amax(-1)
        frames = frames[worst > CONVERGED]
    is_better = _errors(result, rules)[0].abs().amax(-1) <= first
    return torch.where(is_better[:, None, None], result, given)
