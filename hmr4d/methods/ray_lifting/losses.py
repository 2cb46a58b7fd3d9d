"""Training losses: errors in meters, and the likelihood of the predicted error scales."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.methods.ray_lifting.features import Prediction, RayTrack
from hmr4d.utils.options import check_at_least

METER = 10.0  # losses are in units of 0.1 m
_PARENTS, _CHILDREN = (list(ends) for ends in zip(*SMPL22.bones, strict=True))


@dataclass(frozen=True)
class RayTrainingOptions:
    """Weights of the loss terms; the distance of joints from the ground truth has weight 1.

    Attributes:
        pose: weight of that distance after alignment of the pelvis.
        bone: weight of the absolute error of bone lengths.
        velocity: weight of the error of joint displacements between frames at 20 frames per second.
        scale: weight of the negative log likelihood of the errors.
        contact: weight of the cross entropy of standing feet.
    """

    pose: float = 1.0
    bone: float = 0.5
    velocity: float = 1.5
    scale: float = 0.2
    contact: float = 0.1

    def __post_init__(self) -> None:
        check_at_least(self, 0, "pose", "bone", "velocity", "scale", "contact")


def laplace_scores(predicted: Prediction, plane: Tensor, along: Tensor) -> Tensor:
    """Negative log likelihood (B, L, 22) of the errors along and across the ray, up to constants.

    Along, errors are Laplace distributed; across, their density falls exponentially with the distance. Only the scales
    are asked: errors are what they are.
    """
    far = (predicted.along - along).abs().detach()
    wide = (predicted.plane - plane).norm(dim=-1).detach()
    return (
        far * torch.exp(-predicted.log_along)
        + predicted.log_along
        + wide * torch.exp(-predicted.log_across)
        + 2 * predicted.log_across
    )


def loss_terms(
    predicted: Prediction,
    track: RayTrack,
    joints3d: Tensor,
    contact: Tensor,
    valid: Tensor,
    options: RayTrainingOptions,
) -> dict[str, Tensor]:
    """Loss terms by name. The trainer minimizes "loss"; "abs_mpjpe" and "mpjpe" are in meters.

    Args:
        predicted: prediction of the network.
        track: input track.
        joints3d: (B, L, 22, 3) ground truth, meters, world of the camera.
        contact: (B, L, 4) bool, true contacts.
        valid: (B, L) bool.
        options: weights.
    """
    lifted = track.frame.to_world(predicted.plane, predicted.along)
    plane, along = track.frame.from_world(joints3d)
    error = lifted - joints3d
    count = valid.sum().clamp(min=1)

    def mean(x: Tensor) -> Tensor:
        """Mean of (B, L, ...) over valid frames."""
        return (x.flatten(2).mean(-1) * valid).sum() / count

    own = error - error[:, :, :1]
    steps = torch.diff(error, dim=1).norm(dim=-1)
    both = valid[:, 1:] & valid[:, :-1]
    bones = [(x[:, :, _CHILDREN] - x[:, :, _PARENTS]).norm(dim=-1) for x in (lifted, joints3d)]
    terms = {
        "abs_mpjpe": mean(error.norm(dim=-1)),
        "mpjpe": mean(own.norm(dim=-1)),
        "bone": mean((bones[0] - bones[1]).abs()),
        "velocity": (steps.mean(-1) * both).sum() / both.sum().clamp(min=1),
        "scale": mean(laplace_scores(predicted, plane, along)),
        "contact": mean(F.binary_cross_entropy_with_logits(predicted.contact, contact.to(lifted), reduction="none")),
    }
    meters = terms["abs_mpjpe"] + options.pose * terms["mpjpe"] + options.bone * terms["bone"]
    meters = meters + options.velocity * terms["velocity"]
    loss = METER * meters + options.scale * terms["scale"] + options.contact * terms["contact"]
    return {"loss": loss} | terms
