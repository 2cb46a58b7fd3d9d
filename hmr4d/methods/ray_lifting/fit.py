"""Fits a body to the network prediction: constant symmetric bones, standing feet and small accelerations.

Unit vectors and bone lengths parameterize the joint tree, so bone lengths are exactly constant. Bones that leave a
joint together (hips and spine from the pelvis, neck and collars from the chest) form rigid bodies with constant angles,
so files of rotations can represent the motion exactly. The predicted uncertainty along and across the ray weights the
distance to the prediction. Standing feet do not move and have the standing height above the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.methods.ray_lifting.features import Prediction
from hmr4d.methods.ray_lifting.ray_frame import FEET, RayFrame
from hmr4d.utils.options import check_at_least
from hmr4d.utils.precision import full_precision

_PARENTS, _CHILDREN = (list(ends) for ends in zip(*SMPL22.bones, strict=True))
_TWINS = [min(child, SMPL22.mirror_order[child]) for child in _CHILDREN]
GROUPS = torch.tensor(
    [sorted(set(_TWINS)).index(twin) for twin in _TWINS]
)  # (21,) group of each bone; the bones of a group have the same length
NUM_LENGTHS = int(GROUPS.max()) + 1
SHORTEST = 0.01  # meters; smallest bone length
# Indices of the bones of each rigid body (hub): left, right, middle.
HUBS = torch.tensor(
    [
        [_CHILDREN.index(SMPL22.index(name)) for name in names]
        for names in (("left_hip", "right_hip", "spine1"), ("left_collar", "right_collar", "neck"))
    ]
)


def _ancestors() -> Tensor:
    """(22, 21) matrix: 1 if the bone lies between the root and the joint."""
    paths = torch.zeros(SMPL22.num_joints, len(_CHILDREN))
    for bone, (parent, child) in enumerate(SMPL22.bones):
        paths[child] = paths[parent]
        paths[child, bone] = 1.0
    return paths


_PATHS = _ancestors()


@dataclass(frozen=True)
class RayFitOptions:
    """Steps and weights of the fit; the weights are standard deviations of the terms.

    Attributes:
        steps: iterations of L-BFGS; 0 keeps the motion of the network.
        robust: scale of the Geman-McClure function, in units of the expected error; larger errors hardly increase the
            cost.
        acceleration: acceleration of all joints, m/s^2.
        root_acceleration: acceleration of the root along the ray, m/s^2.
        stand_speed: speed of a standing foot, m/s.
        passing_speed: image speed of a foot, converted to m/s, at which the contact weight has nearly vanished.
        stand_height: height of a standing foot above its rest height, meters.
        stand_robust: scale of the Geman-McClure function of this height, in units of it; a foot that is predicted far
            above the floor is not pulled down to it.
        floor: depth of a foot below its rest height, meters.
        length: deviation of the logarithm of a bone's length from the mean of the network predictions.
    """

    steps: int = 50
    robust: float = 4.0
    acceleration: float = 12.0
    root_acceleration: float = 3.0
    stand_speed: float = 0.1
    passing_speed: float = 1.2
    stand_height: float = 0.012
    stand_robust: float = 4.0
    floor: float = 0.01
    length: float = 0.03

    def __post_init__(self) -> None:
        check_at_least(self, 0, "steps")


@dataclass(frozen=True)
class Shape:
    """Constant parameters of a body.

    Attributes:
        lengths: (13,) logarithms of the bone lengths, meters, equal for left and right.
        hubs: (2, 3, 3) unit vectors of the bones of HUBS in the frame of their hub, see `_hub_frames`; the right bone
            mirrors the left one.
    """

    lengths: Tensor
    hubs: Tensor

    def cpu(self) -> Shape:
        """The shape in CPU memory."""
        return Shape(self.lengths.cpu(), self.hubs.cpu())


@dataclass(frozen=True)
class Body:
    """A motion as a tree of bones.

    Attributes:
        root: (L, 3) meters.
        bones: (L, 21, 3) meters, from parent to child.
        shape: constant shape that the joints are adjusted to; None: no constraint.
    """

    root: Tensor
    bones: Tensor
    shape: Shape | None

    @property
    def joints3d(self) -> Tensor:
        """Joints (L, 22, 3), meters. Interpolated bones get the lengths and the hub angles of `shape`."""
        bones = self.bones
        if self.shape is not None:
            unit, hubs = _unit(bones), HUBS.to(bones.device)
            rigid = self.shape.hubs @ _hub_frames(unit[:, hubs]).mT
            unit = unit.index_copy(1, hubs.flatten(), rigid.flatten(1, 2))
            bones = unit * self.shape.lengths.exp()[GROUPS.to(bones.device), None]
        return self.root[:, None] + _PATHS.to(bones) @ bones


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def _hub_frames(unit: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of hubs (axes in columns) from the unit vectors (..., 3, 3) of their bones.

    The first axis points from the right to the left bone. The second axis is the component of the middle bone
    perpendicular to it.
    """
    across = _unit(unit[..., 0, :] - unit[..., 1, :])
    up = unit[..., 2, :]
    up = _unit(up - (up * across).sum(-1, keepdim=True) * across)
    return torch.stack([across, up, torch.linalg.cross(across, up)], -1)


def hub_shapes(predicted: Prediction, frame: RayFrame) -> Tensor:
    """Mean hubs (B, 2, 3, 3) of the network prediction over the frames, symmetric, in the format of `Shape`."""
    joints3d = frame.to_world(predicted.plane, predicted.along)
    bones = (joints3d[:, :, _CHILDREN] - joints3d[:, :, _PARENTS])[:, :, HUBS.to(joints3d.device)]
    return alike_on_both_sides((bones @ _hub_frames(_unit(bones))).mean(1))


def alike_on_both_sides(hubs: Tensor) -> Tensor:
    """Symmetric unit vectors (..., 3, 3) of the bones of hubs in the frames of the hubs."""
    flip = hubs.new_tensor([-1.0, 1.0, 1.0])
    left = _unit((hubs[..., 0, :] + flip * hubs[..., 1, :]) / 2)
    middle = _unit(hubs[..., 2, :] * (1 + flip) / 2)
    return torch.stack([left, flip * left, middle], -2)


def log_lengths(predicted: Prediction, frame: RayFrame) -> tuple[Tensor, Tensor]:
    """Logarithms (B, 13) of the predicted bone lengths, equal on the left and right, and their weights (B, 13)
    in frames; the certainty of both ends of the bone weights a frame.
    """
    joints3d = frame.to_world(predicted.plane, predicted.along)
    bones = (joints3d[:, :, _CHILDREN] - joints3d[:, :, _PARENTS]).norm(dim=-1).clamp(min=SHORTEST).log()
    sure = torch.exp(-2 * predicted.log_along) / (1 + torch.exp(2 * (predicted.log_across + 3.5)))
    weight = torch.minimum(sure[:, :, _CHILDREN], sure[:, :, _PARENTS])
    index = GROUPS.to(bones.device).expand(bones.shape)
    total = bones.new_zeros(*bones.shape[:2], NUM_LENGTHS)
    sums = total.scatter_add(-1, index, bones * weight).sum(1)
    weights = total.scatter_add(-1, index, weight).sum(1)
    return sums / weights.clamp(min=1e-9), weights


def picture_speeds(predicted: Prediction, frame: RayFrame, fps: float) -> Tensor:
    """Speed (B, L, 4) of the feet perpendicular to their rays, m/s, over three frames; independent of the predicted
    depth."""
    plane = predicted.plane[:, :, list(FEET)]
    place = frame.to_world(plane, torch.zeros_like(plane[..., 0]))
    place = place - place.new_tensor([0.0, 1.0, 0.0]) * frame.height[:, None, None]
    direction = place / place.norm(dim=-1, keepdim=True).clamp(min=1e-6) * frame.distance[..., None, None]
    if direction.shape[1] < 2:
        return torch.zeros_like(direction[..., 0])
    direction = torch.cat([direction[:, :1], direction, direction[:, -1:]], 1)
    smooth = (direction[:, :-2] + direction[:, 1:-1] + direction[:, 2:]) / 3
    return torch.gradient(smooth, dim=1)[0].norm(dim=-1) * fps


@full_precision
def fit_body(
    predicted: Prediction,
    frame: RayFrame,
    rest: Tensor,
    shape: Shape,
    *,
    fps: float,
    options: RayFitOptions,
    fixed_lengths: bool = False,
) -> Body:
    """Fits a body; its motion is in meters, world of the camera.

    Args:
        predicted: prediction for one track (1, L, ...).
        frame: ray frame of the track.
        rest: (4,) height of the joints of standing feet, meters.
        shape: shape of the body; its lengths are initial values.
        fps: frames per second.
        options: steps and weights.
        fixed_lengths: keep the lengths of `shape`.
    """
    start = frame.to_world(predicted.plane, predicted.along)[0]
    if options.steps == 0:
        return Body(start[:, 0], start[:, _CHILDREN] - start[:, _PARENTS], None)
    with torch.inference_mode(False), torch.enable_grad():
        return _descend(_Problem(predicted, frame, start, rest, fps, options), shape, fixed_lengths)


class _Problem:
    """Objective function of the fit of one track."""

    def __init__(
        self, predicted: Prediction, frame: RayFrame, start: Tensor, rest: Tensor, fps: float, options: RayFitOptions
    ) -> None:
        self.options, self.fps, self.rest = options, fps, rest.to(start)
        self.frame = RayFrame(frame.height.clone(), frame.distance.clone(), frame.ahead.clone())
        self.plane, self.along = predicted.plane.clone(), predicted.along.clone()
        self.along_scale, self.across_scale = predicted.log_along.exp(), predicted.log_across.exp()
        passing = picture_speeds(predicted, frame, fps)[0] / options.passing_speed
        self.stands = (torch.sigmoid(predicted.contact[0]) / (1 + passing.square()).square()).square()
        self.start = start.clone()

    def cost(self, joints3d: Tensor, lengths: Tensor, before: Tensor, rest_shift: Tensor) -> Tensor:
        """Cost, normalized per joint and frame."""
        options = self.options
        plane, along = self.frame.from_world(joints3d[None])
        far = ((along - self.along) / self.along_scale).square()
        wide = ((plane - self.plane) / self.across_scale[..., None]).square().sum(-1)
        limit = options.robust**2
        terms = [far / (1 + far / limit), wide / (1 + wide / limit)]
        feet = joints3d[:, list(FEET)]
        over = feet[..., 1] - self.rest - rest_shift.repeat_interleave(2)
        high = (over / options.stand_height).square()
        terms.append(3 * self.stands * high / (1 + high / options.stand_robust**2))
        terms.append((over.clamp(max=0) / options.floor).square())
        terms.append((rest_shift / 0.008).square() * len(joints3d) / 10)
        if len(joints3d) > 1:
            both = torch.minimum(self.stands[1:], self.stands[:-1])
            speed = (joints3d.diff(dim=0)[:, list(FEET)] * self.fps / options.stand_speed).square().sum(-1)
            terms.append(both * speed)
        if len(joints3d) > 2:
            bend = joints3d.diff(n=2, dim=0) * self.fps**2
            terms.append((bend / options.acceleration).square().sum(-1))
            deep = (bend[:, 0] * self.frame.ahead[0, 1:-1]).sum(-1)
            terms.append((deep / options.root_acceleration).square())
        terms.append(len(joints3d) * ((lengths - before) / options.length).square())
        return torch.stack([term.sum() for term in terms]).sum() / joints3d[..., 0].numel()


def _descend(problem: _Problem, shape: Shape, fixed_lengths: bool) -> Body:
    """The fitted body."""
    start, before, hubs = problem.start, shape.lengths.clone(), shape.hubs.clone()
    scale = start.new_tensor(0.1)  # gives meters and radians similar magnitudes
    root = torch.zeros_like(start[:, 0], requires_grad=True)
    bones = start[:, _CHILDREN] - start[:, _PARENTS]
    unit = _unit(bones)
    turned = torch.zeros_like(unit, requires_grad=True)
    grown = torch.zeros_like(before, requires_grad=not fixed_lengths)
    shift = torch.zeros(2, dtype=start.dtype, device=start.device, requires_grad=True)
    free = [root, turned, shift] + ([] if fixed_lengths else [grown])
    optimizer = torch.optim.LBFGS(free, max_iter=problem.options.steps, history_size=12, line_search_fn="strong_wolfe")

    def body() -> Body:
        return Body(start[:, 0] + scale * root, unit + turned, Shape(before + scale * grown, hubs))

    def closure() -> Tensor:
        optimizer.zero_grad()
        now = body()
        assert now.shape is not None
        loss = problem.cost(now.joints3d, now.shape.lengths, before, scale * shift)
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    with torch.no_grad():
        return body()
