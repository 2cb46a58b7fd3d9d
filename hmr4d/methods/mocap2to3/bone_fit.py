"""Constant bone lengths: a final fit that stays close to the lifted motion and to the observation of view 0.

One view contains little information about depth, so lifted limbs are too parallel to the image plane and their lengths
vary. With lengths that are constant over the clip and equal on both sides, the foreshortening of a limb determines its
depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import invert_rigid, world_to_camera
from hmr4d.geometry.rigs import Rig, normalize
from hmr4d.utils.precision import full_precision

MIN_DEPTH = 0.1  # meters; motion with a smaller depth is not changed
SIZE_QUANTILE = 0.6  # quantile over frames of a bone's lifted lengths that gives its length
SHORTEST = 1e-4  # meters; shorter bones are ignored


@dataclass(frozen=True)
class BoneFitOptions:
    """Steps and weights of the fit; the weights are standard deviations of the terms.

    Attributes:
        steps: iterations of L-BFGS.
        image: reprojection error of a keypoint of confidence 1, meters at the person's distance.
        robust: scale of the Geman-McClure function of that error, meters; larger errors hardly increase the cost.
        root: change of the root's depth, meters.
        across, depth: change of joints perpendicular to the ray, and in depth relative to the root, meters.
        bone: deviation of a bone from its constant length, meters.
        proportion: deviation of the logarithm of a length from the proportions of a body of the person's size.
        acceleration: acceleration of joints, m/s^2.
    """

    steps: int = 40
    image: float = 0.01
    robust: float = 0.15
    root: float = 0.02
    across: float = 0.05
    depth: float = 0.15
    bone: float = 0.003
    proportion: float = 0.03
    acceleration: float = 3.0


@full_precision
def fit_bones(
    joints3d: Tensor,
    kp2d: Tensor,
    conf: Tensor,
    rig: Rig,
    lengths: Tensor | None,
    *,
    fps: float,
    skeleton: Skeleton,
    options: BoneFitOptions | None = None,
) -> Tensor:
    """Fits motion (L, J, 3) whose bone lengths are constant over the clip and equal on both sides.

    L-BFGS minimizes the sum of the squared terms of `BoneFitOptions` over joints and lengths, starting from the lifted
    motion. The initial lengths have the given proportions and the size of the lifted bones. That size is the
    SIZE_QUANTILE of the lifted lengths, because bones that point at the camera are too short.

    Args:
        joints3d: meters, world.
        kp2d, conf: observed keypoints of view 0 (L, J, 2), pixels, and confidence (L, J), 0 for missing.
        rig: cameras; only view 0 is used.
        lengths: (J - 1,) bone lengths of a body, for the proportions; None: the lifted lengths.
        fps: frames per second.
        skeleton: skeleton of the joints.
        options: steps and weights.

    Returns:
        (L, J, 3) meters; unchanged if a joint has a depth below MIN_DEPTH.
    """
    options = options or BoneFitOptions()
    camera = rig.select([0]).to(torch.float64)
    start = world_to_camera(joints3d.double(), camera.T_w2c[0])
    if len(start) < 3 or not bool((start[..., 2] > MIN_DEPTH).all()):
        return joints3d
    if lengths is None:
        lengths = _bones(start, skeleton).quantile(SIZE_QUANTILE, 0)
    rays = normalize(camera, kp2d.double()[None])[0]
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
    ):  # the trainer tests in inference mode, which has no gradients
        fitted = _descend(
            start.clone(), rays.clone(), conf.double().clone(), lengths.double().clone(), fps, skeleton, options
        )
    return world_to_camera(fitted, invert_rigid(camera.T_w2c[0])).to(joints3d)


def _bones(joints3d: Tensor, skeleton: Skeleton) -> Tensor:
    """Lengths (L, J - 1) of the bones of a motion (L, J, 3)."""
    parents, children = map(list, zip(*skeleton.bones, strict=True))
    return (joints3d[:, children] - joints3d[:, parents]).norm(dim=-1)


def _descend(
    start: Tensor,
    rays: Tensor,
    conf: Tensor,
    lengths: Tensor,
    fps: float,
    skeleton: Skeleton,
    options: BoneFitOptions,
) -> Tensor:
    """Fitted joints (L, J, 3) in camera coordinates, given observed rays (L, J, 2)."""
    parents, children = map(list, zip(*skeleton.bones, strict=True))
    twins = [min(child, skeleton.mirror_order[child]) for child in children]
    shared = torch.tensor([sorted(set(twins)).index(twin) for twin in twins])
    rest = lengths.clamp(min=SHORTEST)
    own = _bones(start, skeleton)
    size = (own.quantile(SIZE_QUANTILE, 0).log() - rest.log()).median()
    log_rest = torch.zeros(int(shared.max()) + 1, dtype=start.dtype).scatter_reduce(
        0, shared, rest.log() + size, "mean", include_self=False
    )
    roots = list(skeleton.root_joints)
    distance = start[:, roots, 2].mean(1)[:, None, None]
    weight = conf.square() / options.image**2
    moved = torch.zeros_like(start, requires_grad=True)
    grown = torch.zeros_like(log_rest, requires_grad=True)

    def objective() -> Tensor:
        points = start + moved
        off = ((points[..., :2] / points[..., 2:].clamp(min=MIN_DEPTH) - rays) * distance).square().sum(-1)
        root = moved[:, roots, 2].mean(1)
        bones = (points[:, children] - points[:, parents]).square().sum(-1).clamp(min=SHORTEST**2).sqrt()
        constant = (log_rest + grown).exp()[shared]
        terms = [
            weight * off / (1 + off / options.robust**2),
            (root / options.root).square(),
            (moved[..., :2] / options.across).square(),
            ((moved[..., 2] - root[:, None]) / options.depth).square(),
            ((bones - constant) / options.bone).square(),
            len(start) * (grown / options.proportion).square(),
            (points.diff(n=2, dim=0) * fps**2 / options.acceleration).square() / 3,
        ]
        return torch.stack([term.sum() for term in terms]).sum() / start[..., 0].numel()

    optimizer = torch.optim.LBFGS(
        [moved, grown], max_iter=options.steps, history_size=12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    return (start + moved).detach()
