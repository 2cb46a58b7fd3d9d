"""Constant bone lengths: a final fit of lifted motion, near the lifted motion and the observation of view 0.

What one view tells of depth is little, so lifted limbs lie too flat against the image and change their length. Equal
lengths over the clip, and on both sides of the body, tell how far a limb that looks short points along the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import invert_rigid, world_to_camera
from hmr4d.geometry.rigs import Rig, normalize
from hmr4d.utils.precision import full_precision

MIN_DEPTH = 0.1  # metres; motion nearer to the camera is left alone
SIZE_QUANTILE = 0.6  # of a bone's lifted lengths, over the frames: its length
SHORTEST = 1e-4  # metres; bones of no length have none to keep


@dataclass(frozen=True)
class BoneFitOptions:
    """Steps and weights of the fit; lengths are standard deviations of the terms.

    Attributes:
        steps: of L-BFGS.
        image: metres at the person's distance, of a keypoint of confidence 1.
        robust: metres from which Geman and McClure's function of it no longer grows.
        root: metres that the root's depth may change.
        across, depth: metres that joints may change, across the ray and in depth against the root.
        bone: metres; how exactly bones keep their length.
        proportion: of the logarithm of a length against the proportions of a body of the person's size.
        acceleration: m/s^2.
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
    """Motion (L, J, 3) whose bones keep their length over the clip, the same on both sides.

    Minimises, over joints and lengths, the sum of the squared terms that `BoneFitOptions` weighs, by L-BFGS from what
    was lifted. Lengths begin in the given proportions, at the size of the bones that were lifted: their SIZE_QUANTILE,
    since those that point at the camera come out too short.

    Args:
        joints3d: metres, world.
        kp2d, conf: (L, J, 2) pixels and (L, J) that view 0 observed, 0 for missing.
        rig: view 0 is looked at.
        lengths: (J - 1,) of the skeleton's bones in some body, for the proportions; None takes those that were lifted.
        fps: frames per second.
        skeleton: joint meaning.
        options: weights.

    Returns:
        (L, J, 3); motion as it is where a joint is behind the camera or nearer than MIN_DEPTH.
    """
    options = options or BoneFitOptions()
    camera = rig.select([0]).to(torch.float64)
    start = world_to_camera(joints3d.double(), camera.T_w2c[0])
    if len(start) < 3 or not bool((start[..., 2] > MIN_DEPTH).all()):
        return joints3d
    if lengths is None:
        lengths = _bones(start, skeleton).quantile(SIZE_QUANTILE, 0)
    rays = normalize(camera, kp2d.double()[None])[0]
    with torch.inference_mode(False), torch.enable_grad():  # tests run in inference mode, which has no gradients
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
    """Joints (L, J, 3) in the camera after the fit to rays (L, J, 2)."""
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
