"""Losses of the tokenizer: error of the projected body against the keypoints, and limits of pose and shape (eq. 2,
4-10).

No loss and no argument uses measured 3D joints. The equations of the paper do not specify a normalization; the
normalizations here agree with the weights and values that the paper reports, see docs/k2m.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from hmr4d.body.pose_limits import PoseLimits
from hmr4d.methods.k2m.smpl_head import rest_pose

LEFT, RIGHT = [1, 3, 5, 11], [2, 4, 6, 12]  # eyes, ears, shoulders and hips of COCO-17
NOSE, EARS, SHOULDERS, HIPS, KNEES, ANKLES = [0], [3, 4], [5, 6], [11, 12], [13, 14], [15, 16]
RecKind = Literal["l1", "smooth_l1", "l1_normalized"]
NORMAL_HEIGHT = 500.0  # pixels; height to which "l1_normalized" scales the person's box
LEAST_HEIGHT = 10.0  # pixels; smallest box height
LEAST_SIZE = 1.0  # pixels of a limb, square pixels of the spread of keypoints; smallest value with a logarithm
LEAST_DEPTH = 0.1  # meters; smallest depth with a logarithm
FLIGHT_SPEED = 0.02  # meters per frame; about the speed of the slowest foot of a runner in flight
LEAST_SPEED = 1e-4  # meters per frame; slower feet have no gradient
NOSE_REACH = 0.2  # distance from the midpoint of the ears to the nose, in torso lengths
FRONT_SHARE = 0.7  # fraction of the head turn that the root must reach, because heads turn further than bodies


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of eq. 10 and of optional terms; 0 disables a term.

    Attributes:
        rvq, rec, smooth, vel, boundary, pose, shape: commitment, reprojection, 2D displacement, 2D velocity, first and
            last frame, pose limits, size of the shape coefficients.
        depth: mean size of the second difference of depth in meters.
        turn: mean size of the second difference of the root's rotation matrix.
        steady_shape: mean deviation of the shape coefficients from their mean over the clip.
        relative: reprojection error relative to the mean of the visible keypoints, divided by the height of the
            person's box. It trains pose and size independently of the position, whose errors are larger at first.
        facing: error of the vectors from right to left shoulder, hip, ear and eye, divided by the height of the
            person's box. A body that faces the camera can be bent to match keypoints of a person who faces away, and
            then never turns. These vectors change sign with the facing direction, and bending limbs does not change
            them.
        rest: mean square deviation of the pose components from a standing person with hanging arms, radians; determines
            poses that the keypoints leave open.
        lean: mean square of the sine of the angle between the root's long axis and the image plane; a body that leans
            towards or away from the camera looks shorter.
        front: missing sideways rotation of the root towards the side to which the nose points. `facing` does not
            distinguish a turn to the left from one to the right, because both narrow shoulders and hips equally.
        turned: loss of the critic on views from other directions, see `turned_views`; 0: no critic.
        growth: error of the logarithm of the size in the image, relative to its mean over the clip. Detector noise
            hides slow growth from `rec` and `relative`.
        skate: speed of the slowest of both ankles and toes, from 0 (a foot rests) to 1. It makes the steps as long as
            the path of the root. The path gets no gradient from it, or it would become as short as the steps. The
            camera must not move.
        approach: error of the trend of the path's depth over the clip against `approach_trend`, in logarithms. `growth`
            is also satisfied by a body that crouches or leans; this term is not. The camera must not move.
    """

    rvq: float = 0.02
    rec: float = 0.02
    smooth: float = 0.0001
    vel: float = 0.02
    boundary: float = 0.0005
    pose: float = 10.0
    shape: float = 1.0
    depth: float = 0.0
    turn: float = 0.0
    steady_shape: float = 0.0
    relative: float = 0.0
    facing: float = 0.0
    rest: float = 0.0
    lean: float = 0.0
    front: float = 0.0
    turned: float = 0.0
    growth: float = 0.0
    skate: float = 0.0
    approach: float = 0.0

    def items(self) -> list[tuple[str, float]]:
        return [(f.name, getattr(self, f.name)) for f in fields(self)]


@dataclass(frozen=True)
class LossOptions:
    """Options of the loss terms.

    Attributes:
        min_conf: keypoints of lower confidence are ignored.
        tau: shapes with a mean absolute coefficient up to this value have no loss.
        rec: reprojection error: "l1" pixels, "smooth_l1" (quadratic near zero) or "l1_normalized" (relative to the
            height of the person's box).
    """

    min_conf: float = 0.8
    tau: float = 1.0
    rec: RecKind = "l1"

    def __post_init__(self) -> None:
        if self.rec not in ("l1", "smooth_l1", "l1_normalized"):
            raise ValueError(f"rec is '{self.rec}'; expected 'l1', 'smooth_l1' or 'l1_normalized'.")


@dataclass(frozen=True, eq=False)
class Observed:
    """The observation of a camera.

    Attributes:
        pixels: (B, F, J, 2) keypoints.
        conf: (B, F, J) confidence.
        frames: (B, F) bool, True for real frames; padding follows at the end of each clip.
    """

    pixels: Tensor
    conf: Tensor
    frames: Tensor


@dataclass(frozen=True, eq=False)
class Drawn:
    """The predicted body and its projection.

    Attributes:
        pixels: (B, F, J, 2) projected keypoints.
        visible: (B, F, J) bool, whether the keypoint can be projected.
        pose: (B, F, 69) axis-angle of the joints below the root.
        betas: (B, F, S) shape coefficients.
        root: (B, F, 3, 3) rotation of the root.
        translation: (B, F, 3) meters.
        feet: (B, F, 4, 3) meters, ankles and toes relative to the translation, in the axes of the camera.
    """

    pixels: Tensor
    visible: Tensor
    pose: Tensor
    betas: Tensor
    root: Tensor
    translation: Tensor
    feet: Tensor


def loss_terms(drawn: Drawn, observed: Observed, limits: PoseLimits, options: LossOptions) -> dict[str, Tensor]:
    """Unweighted terms () except the commitment, by the names of `LossWeights`; 0 for a term without valid entries."""
    frames = observed.frames
    seen = (observed.conf >= options.min_conf) & drawn.visible & frames[..., None]
    pairs = frames[:, 1:] & frames[:, :-1]
    return {
        "rec": _pixel_error(drawn.pixels, observed, seen, options.rec),
        "vel": _velocity_error(drawn.pixels, observed.pixels, seen),
        "smooth": _path_length(drawn.pixels, drawn.visible, pairs),
        "boundary": _boundary_error(drawn.pixels, observed, seen),
        "pose": _mean(limits.excess(drawn.pose).mean(-1), frames),
        "shape": _mean((0.1 * drawn.betas.abs().sum(-1) - options.tau).relu(), frames),
        "depth": _bend(drawn.translation[..., 2:], frames),
        "turn": _bend(drawn.root.flatten(-2), frames),
        "steady_shape": _spread(drawn.betas, frames),
        "relative": _relative_error(drawn.pixels, observed.pixels, seen),
        "facing": _facing_error(drawn.pixels, observed.pixels, seen),
        "front": _front_error(drawn.root, observed.pixels, seen),
        "lean": _mean(drawn.root[..., 2, 1].square(), frames),
        "skate": _mean(_slowest(drawn.feet + drawn.translation.detach()[:, :, None]), pairs),
        "growth": _growth_error(drawn.pixels, observed.pixels, seen),
        "approach": _approach_error(drawn.translation[..., 2], observed, seen),
        "rest": _mean((drawn.pose - rest_pose().to(drawn.pose)).square().mean(-1), frames),
    }


def weighted(terms: dict[str, Tensor], weights: LossWeights) -> dict[str, Tensor]:
    """The weighted terms () with nonzero weight, and their sum "loss"."""
    used = {name: weight * terms[name] for name, weight in weights.items() if weight}
    if not used:
        raise ValueError("All loss weights are 0; set at least one.")
    return {"loss": torch.stack(list(used.values())).sum(), **used}


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask (same shape) is set; 0 for an empty mask."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _pixel_error(pixels: Tensor, observed: Observed, seen: Tensor, kind: RecKind) -> Tensor:
    error = _distance(pixels, observed.pixels, seen)
    if kind == "smooth_l1":
        error = torch.where(error < 1, error.square() / 2, error - 0.5)
    if kind == "l1_normalized":
        error = error * (NORMAL_HEIGHT / box_heights(observed.pixels, seen))[..., None, None]
    return error.sum() / (2 * seen.sum()).clamp(min=1)


def _relative_error(pixels: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    drawn, given = _from_middle(pixels, seen), _from_middle(truth, seen)
    error = _distance(drawn, given, seen) * (NORMAL_HEIGHT / box_heights(truth, seen))[..., None, None]
    return error.sum() / (2 * seen.sum()).clamp(min=1)


def _growth_error(pixels: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    """Mean error of the logarithm of the spread of the visible points; frames with fewer than two do not count."""
    known = seen.sum(-1) > 1
    sizes = (_from_middle(points, seen).square().sum((-1, -2)) for points in (pixels, truth))
    drawn, given = (torch.where(known, size, 1.0).clamp(min=LEAST_SIZE).log() / 2 for size in sizes)
    error = drawn - given
    middle = (error * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
    return _mean((error - middle).abs(), known)


def approach_trend(truth: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """How much nearer people come during a clip, from the growth of their limbs in the image.

    A person who comes nearer grows in all parts. A person who bends or crouches shortens some of them: the torso, or
    thighs and shins. The trend of the distance is the smaller one of two: that of the torso, and the median of torso,
    thighs and shins.

    Args:
        truth: (B, F, J, 2) keypoints, pixels.
        seen: (B, F, J) bool.

    Returns:
        (B,) logarithm of the distance at the start over that at the end, and (B,) bool: whether each of the three parts
        is visible in half of the frames.
    """
    trends, known = [], []
    for upper, lower in ((SHOULDERS, HIPS), (HIPS, KNEES), (KNEES, ANKLES)):
        ends = [truth[..., rows, :] for rows in (upper, lower)]
        if upper == SHOULDERS:  # one part, between the midpoints
            ends = [points.mean(-2, keepdim=True) for points in ends]
        there = seen[..., upper + lower].all(-1)
        length = torch.where(there, (ends[0] - ends[1]).norm(dim=-1).mean(-1), 1.0).clamp(min=LEAST_SIZE)
        trends.append(_trend(length.log(), there))
        known.append(2 * there.sum(1) >= there.shape[1])
    torso, middle = trends[0], torch.stack(trends).median(0).values
    return torch.where(torso.abs() < middle.abs(), torso, middle), torch.stack(known).all(0)


def _approach_error(depth: Tensor, observed: Observed, seen: Tensor) -> Tensor:
    nearer, known = approach_trend(observed.pixels, seen)
    return _mean((_trend(depth.clamp(min=LEAST_DEPTH).log(), observed.frames) + nearer).abs(), known)


def _trend(values: Tensor, known: Tensor) -> Tensor:
    """Slope of the least-squares line through the known values (B, F), times the number of frames: (B,)."""
    count = known.sum(1, keepdim=True).clamp(min=1)
    time = torch.arange(values.shape[1], device=values.device).expand_as(values)
    time = torch.where(known, time - (time * known).sum(1, keepdim=True) / count, 0.0)
    values = torch.where(known, values, 0.0)
    return (time * values).sum(1) / time.square().sum(1).clamp(min=1.0) * values.shape[1]


def _facing_error(pixels: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    both = seen[..., LEFT] & seen[..., RIGHT]
    drawn, given = (points[..., LEFT, :] - points[..., RIGHT, :] for points in (pixels, truth))
    error = _distance(drawn, given, both) / box_heights(truth, seen)[..., None, None]
    return error.sum() / (2 * both.sum()).clamp(min=1)


def _front_error(root: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    """Mean missing sideways rotation of the root (B, F, 3, 3), as a sine; the required sine comes from the nose's
    direction."""
    nose, ears, shoulders, hips = (truth[..., rows, :].mean(-2) for rows in (NOSE, EARS, SHOULDERS, HIPS))
    known = seen[..., NOSE + EARS + SHOULDERS + HIPS].all(-1)
    torso = (shoulders - hips).norm(dim=-1).clamp(min=LEAST_HEIGHT)
    sine = torch.where(known, (nose - ears)[..., 0] / (NOSE_REACH * torso), 0.0).clamp(-1, 1)
    return _mean((FRONT_SHARE * sine.abs() - sine.sign() * root[..., 0, 2]).relu(), known)


def _from_middle(points: Tensor, seen: Tensor) -> Tensor:
    """Points (B, F, J, 2) relative to the mean of the visible points of each frame; 0 for invisible points."""
    shown = torch.where(seen[..., None], points, 0.0)
    middle = shown.sum(2, keepdim=True) / seen.sum(2)[..., None, None].clamp(min=1)
    return torch.where(seen[..., None], shown - middle, 0.0)


def box_heights(pixels: Tensor, seen: Tensor) -> Tensor:
    """Height (B, F) from the highest to the lowest visible keypoint, pixels, at least LEAST_HEIGHT."""
    y = pixels[..., 1]
    low = torch.where(seen, y, torch.inf).amin(-1)
    high = torch.where(seen, y, -torch.inf).amax(-1)
    return torch.where(seen.any(-1), high - low, LEAST_HEIGHT).clamp(min=LEAST_HEIGHT)


def _velocity_error(pixels: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    both = seen[:, 1:] & seen[:, :-1]
    error = _distance(pixels.diff(dim=1), truth.diff(dim=1), both)
    return error.sum() / (2 * both.sum()).clamp(min=1)


def _path_length(pixels: Tensor, visible: Tensor, pairs: Tensor) -> Tensor:
    both = visible[:, 1:] & visible[:, :-1] & pairs[..., None]
    steps = torch.where(both[..., None], pixels.diff(dim=1), 0.0).abs()
    return steps.sum() / (2 * pixels.shape[2] * len(pixels))


def _boundary_error(pixels: Tensor, observed: Observed, seen: Tensor) -> Tensor:
    last = (observed.frames.sum(-1) - 1).clamp(min=0)
    rows = torch.arange(len(pixels), device=pixels.device)
    total = pixels.new_zeros(())
    for frame in (torch.zeros_like(last), last):
        total = total + _distance(pixels[rows, frame], observed.pixels[rows, frame], seen[rows, frame]).sum()
    return total / len(pixels)


def _distance(pixels: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    """Absolute differences (..., J, 2); 0 for invisible points, whose values are arbitrary."""
    return (torch.where(seen[..., None], pixels, 0.0) - torch.where(seen[..., None], truth, 0.0)).abs()


def _bend(values: Tensor, frames: Tensor) -> Tensor:
    """Mean absolute second difference over time of values (B, F, C)."""
    inside = frames[:, 2:] & frames[:, 1:-1] & frames[:, :-2]
    return _mean(values.diff(n=2, dim=1).abs().sum(-1), inside)


def _slowest(feet: Tensor) -> Tensor:
    """v / (v + FLIGHT_SPEED) for the speed v of the slowest point of feet (B, F, K, 3): (B, F - 1).

    The value hardly rises for faster feet, so that the flight of people who run or jump has little weight.
    """
    speed = feet.diff(dim=1).square().sum(-1).clamp(min=LEAST_SPEED**2).sqrt().amin(-1)
    return speed / (speed + FLIGHT_SPEED)


def _spread(values: Tensor, frames: Tensor) -> Tensor:
    """Mean absolute deviation of values (B, F, C) from their mean over each clip."""
    mask = frames[..., None].to(values)
    mean = (values * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return _mean((values - mean).abs().mean(-1), frames)
