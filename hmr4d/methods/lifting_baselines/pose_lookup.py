"""Retrieval of poses from a bank that match the observation, one per frame, with smooth transitions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.joint_conventions import foot_heights
from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.pose_prior import PosePrior, fit_pose_prior, heading_rotation
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.methods.lifting_baselines.observation import Observation
from hmr4d.motion.procedural import CONTENTS, synthetic_joints

NUM_YAWS = 24  # headings per pose of the bank
PITCH_BIN = 0.1  # radians; frames with similar elevation of the view share their candidates
CANDIDATES = 24  # candidate poses per frame for the search of the smoothest path
SCALES = (0.75, 1.3)  # range of body sizes relative to the bank
MOTION_WEIGHT = 0.3  # weight of the squared change of pose between frames at 30 frames per second
PROCEDURAL_CLIPS, PROCEDURAL_FRAMES = 3, 80  # per content


@dataclass(frozen=True)
class PoseMatch:
    """Retrieved poses of the bank, one per frame.

    Attributes:
        pose: (L,) index into the bank.
        yaw: (L,) heading of the pose in the world, radians.
        scale: size of the person relative to the body of the bank.
        joints3d: (L, J, 3) meters, scaled joints relative to the root.
    """

    pose: Tensor
    yaw: Tensor
    scale: float
    joints3d: Tensor


@lru_cache(maxsize=1)
def procedural_prior() -> PosePrior:
    """A prior from synthetic walks, turns, bows and waves, for use without motion data."""
    rng = np.random.default_rng(0)
    clips = [synthetic_joints(c, PROCEDURAL_FRAMES, rng) for c in CONTENTS for _ in range(PROCEDURAL_CLIPS)]
    return fit_pose_prior(clips, source="procedural motion", size=256, stride=2)


def known_foot_heights(prior: PosePrior, skeleton: Skeleton) -> dict[str, float]:
    """Heights of standing feet of the prior for its own skeleton; empty for detector skeletons, whose heights are
    defined elsewhere."""
    return foot_heights(prior.joint_convention) if skeleton.name == SMPL22.name else {}


def to_skeleton(joints3d: Tensor, skeleton: Skeleton) -> Tensor:
    """Joints (..., J, 3) of a skeleton from SMPL-22 joints."""
    return joints3d if skeleton.name == SMPL22.name else convert_joints(joints3d, SMPL22, skeleton)


def look_up(seen: Observation, prior: PosePrior, skeleton: Skeleton, fps: float) -> PoseMatch:
    """Retrieves poses that match the 2D of every frame, with one body scale.

    The search uses a weak-perspective approximation along the ray of the root: it compares image offsets at unit depth,
    times the root depth, with the poses of the bank at 24 headings. The scale is the median over frames of the best
    scale. A second search at that scale gives candidates, and dynamic programming selects the smoothest path among
    them.
    """
    bank = to_skeleton(prior.joints3d.double(), skeleton)
    bank = bank - bank[:, list(skeleton.root_joints)].mean(1, keepdim=True)
    offsets, pitch, azimuth = _offsets(seen)
    weights = seen.conf.square() + 1e-3 * (seen.conf == 0).all(-1, keepdim=True)
    bins = torch.round(pitch / PITCH_BIN).long()
    views = {int(b): _views(bank, float(b) * PITCH_BIN) for b in bins.unique()}
    scale = torch.stack([_best_scale(offsets[i], weights[i], views[int(bins[i])]) for i in range(len(bins))]).median()
    costs, choices = [], []
    for i in range(len(bins)):
        cost = _costs(offsets[i], weights[i], views[int(bins[i])], scale)
        best = cost.topk(min(CANDIDATES, len(cost)), largest=False)
        costs.append(best.values)
        choices.append(best.indices)
    choice = torch.stack(choices)
    pose = choice // NUM_YAWS
    yaw = (choice % NUM_YAWS) * (2 * torch.pi / NUM_YAWS) + azimuth[:, None]
    joints3d = scale * bank[pose] @ heading_rotation(yaw).mT  # (L, C, J, 3)
    path = _smoothest(torch.stack(costs), joints3d, MOTION_WEIGHT * (fps / 30) ** 2)
    rows = torch.arange(len(path))
    return PoseMatch(pose[rows, path], yaw[rows, path], float(scale), joints3d[rows, path])


def _offsets(seen: Observation) -> tuple[Tensor, Tensor, Tensor]:
    """Metric offsets (L, J, 2) right and down of the root ray, and pitch and azimuth (L,) of that ray in radians."""
    forward = seen.root_direction / seen.root_direction.norm(dim=-1, keepdim=True)
    up = forward.new_tensor([0.0, 1.0, 0.0]).expand_as(forward)
    right = torch.linalg.cross(forward, up)
    right = right / right.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    down = torch.linalg.cross(forward, right)
    axes = torch.stack([right, down, forward], -1)  # (L, 3, 3)
    local = seen.directions @ axes
    reach = seen.root_depth * seen.root_direction.norm(dim=-1)
    offsets = local[..., :2] / local[..., 2:].clamp(min=1e-3) * reach[:, None, None]
    return offsets, torch.asin(-forward[:, 1]), torch.atan2(-forward[:, 0], -forward[:, 2])


def _views(bank: Tensor, pitch: float) -> Tensor:
    """Offsets (K * yaws, 2 J), right and down, of the poses of the bank in a camera with heading -z and the given
    pitch."""
    yaws = torch.arange(NUM_YAWS, dtype=bank.dtype) * (2 * torch.pi / NUM_YAWS)
    turned = bank[:, None] @ heading_rotation(yaws).mT  # (K, yaws, J, 3)
    down = -turned[..., 1] * float(np.cos(pitch)) + turned[..., 2] * float(np.sin(pitch))
    return torch.stack([turned[..., 0], down], -1).flatten(0, 1).flatten(1).float()


def _products(offsets: Tensor, weights: Tensor, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted means over joints of |a|^2, a . o (N,) and |o|^2 () for candidates a and observed offsets o."""
    w = (weights / weights.sum())[:, None].expand(-1, 2).flatten().float()
    o = offsets.flatten().float()
    return views.square() @ w, views @ (w * o), (w * o * o).sum()


def _best_scale(offsets: Tensor, weights: Tensor, views: Tensor) -> Tensor:
    """Best scale of the best-matching candidate."""
    size, common, own = _products(offsets, weights, views)
    scale = (common / size.clamp(min=1e-9)).clamp(*SCALES)
    return scale[(own - 2 * scale * common + scale.square() * size).argmin()].double()


def _costs(offsets: Tensor, weights: Tensor, views: Tensor, scale: Tensor) -> Tensor:
    """Mean squared distance (N,), m^2, of each candidate at a scale."""
    size, common, own = _products(offsets, weights, views)
    return (own - 2 * scale * common + scale.square() * size).double()


def _smoothest(costs: Tensor, joints3d: Tensor, weight: float) -> Tensor:
    """Candidate index (L,) of each frame that minimizes the sum of costs (L, C) and squared changes of joints (L, C,
    J, 3)."""
    total, back = costs[0], []
    for i in range(1, len(costs)):
        before, after = joints3d[i - 1].flatten(1), joints3d[i].flatten(1)
        change = torch.cdist(after, before).square() / joints3d.shape[2]
        reached = total[None] + weight * change  # (after, before)
        best = reached.min(-1)
        back.append(best.indices)
        total = best.values + costs[i]
    path = [int(total.argmin())]
    for indices in reversed(back):
        path.append(int(indices[path[-1]]))
    return torch.tensor(path[::-1])
