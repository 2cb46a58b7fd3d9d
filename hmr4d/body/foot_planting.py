"""Root trajectories that agree with the feet: a standing foot does not slide, and nobody floats away."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton

CONTACT_HEIGHT = 0.05  # metres above the lower foot; a foot higher than this does not stand
CONTACT_SPEED = 1.0  # metres per second; a foot faster than this does not stand
AIRBORNE = 0.8  # seconds; longer than a leap takes, so within any such window something touches the floor
SMOOTHING = (0.25, 0.5, 0.25)  # over frames, so that a change of the standing foot makes no jerk


def plant_feet(joints3d: Tensor, *, fps: float, lengths: Tensor | None = None, skeleton: Skeleton = SMPL22) -> Tensor:
    """Motion (B, L, J, 3) whose root steps cancel the movement of the standing feet; poses stay as they are.

    A foot joint stands with weight max(0, 1 - height / CONTACT_HEIGHT) max(0, 1 - speed / CONTACT_SPEED)^(1/2), where
    height is measured from the lowest foot joint of its kind in that frame. The weighted mean velocity of the standing
    joints, smoothed, is taken from the root's step. Frames in which no foot stands, as in the flight of a run, keep
    their step.

    Args:
        joints3d: metres, y up.
        fps: frames per second.
        lengths: (B,) valid frames; None counts all.
    """
    feet = joints3d[:, :, list(skeleton.indices("left_foot", "right_foot"))]
    height = feet[..., 1] - feet[..., 1].amin(-1, keepdim=True)
    velocity = feet[:, 1:] - feet[:, :-1]  # (B, L - 1, 2, 3) metres per frame
    height = torch.maximum(height[:, 1:], height[:, :-1])
    weight = (1.0 - height / CONTACT_HEIGHT).clamp(min=0.0)
    weight = weight * (1.0 - velocity.norm(dim=-1) * fps / CONTACT_SPEED).clamp(min=0.0).sqrt()
    total = weight.sum(-1, keepdim=True)
    slide = (weight[..., None] * velocity).sum(-2) / total.clamp(min=1.0)  # fades out as the feet lift
    inside = torch.ones_like(total)
    if lengths is not None:
        frames = torch.arange(slide.shape[1], device=slide.device)
        inside = inside * (frames < (lengths.to(slide.device) - 1)[:, None])[..., None]
    slide = _smooth(slide * inside) / _smooth(inside).clamp(min=SMOOTHING[0]) * inside
    moved = torch.cat([torch.zeros_like(slide[:, :1]), slide.cumsum(1)], 1)
    return joints3d - moved[:, :, None]


def remove_floating(joints3d: Tensor, *, fps: float, lengths: Tensor | None = None) -> Tensor:
    """Motion (B, L, J, 3) without slow rising or sinking: its lowest joint reaches y = 0 in any window of AIRBORNE.

    The morphological opening over time of the lowest joint's height (window minimum, then window maximum), averaged
    over the window, is taken from all joints. It follows slow drift and skips steps, runs and hops.

    Args:
        joints3d: metres, y up.
        fps: frames per second.
        lengths: (B,) valid frames; None counts all.
    """
    lowest = joints3d[..., 1].amin(-1)  # (B, L)
    inside = torch.ones_like(lowest)
    if lengths is not None:
        frames = torch.arange(lowest.shape[1], device=lowest.device)
        inside = (frames < lengths.to(lowest.device)[:, None]).to(lowest)
    half = round(AIRBORNE * fps / 2)
    window = 2 * half + 1
    masked = lowest.masked_fill(inside == 0, float("inf"))
    eroded = -F.max_pool1d(-masked[:, None], window, stride=1, padding=half)
    eroded = eroded.masked_fill(inside[:, None] == 0, -float("inf"))
    touched = F.max_pool1d(eroded, window, stride=1, padding=half).masked_fill(inside[:, None] == 0, 0.0)
    weight = F.avg_pool1d(inside[:, None], window, stride=1, padding=half)
    floor = F.avg_pool1d(touched, window, stride=1, padding=half) / weight.clamp(min=0.5 / window)
    shift = floor[:, 0] * inside
    return joints3d - torch.stack([torch.zeros_like(shift), shift, torch.zeros_like(shift)], -1)[:, :, None]


def _smooth(x: Tensor) -> Tensor:
    """(B, L, C) averaged over neighbouring frames with the weights SMOOTHING, zeros beyond the ends."""
    kernel = x.new_tensor(SMOOTHING).expand(x.shape[-1], 1, -1)
    return F.conv1d(x.mT, kernel, padding=len(SMOOTHING) // 2, groups=x.shape[-1]).mT
