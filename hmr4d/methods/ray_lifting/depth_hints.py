"""Depth estimates of the detector: joints moved along their rays toward the detected depth.

A network that reads only keypoints predicts a leaning body as upright and a raised leg as a standing one. A detector
that reads the image estimates depth better in these cases, but has errors of about a decimeter. Both errors are of
similar size and constant over a clip, so this module takes a mean of both depths with fixed weights for each limb.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.methods.ray_lifting.features import Prediction
from hmr4d.methods.ray_lifting.ray_frame import HIPS, RayFrame
from hmr4d.motion.tracks import resample_track

# Weights of the detector, from both errors along the ray on seven tracks of two people (benchmarks/lift_videos.py).
TORSO_SHARE, ARM_SHARE, LEG_SHARE = 0.6, 0.5, 0.3
_ARMS, _LEGS = ("elbow", "wrist"), ("knee", "ankle", "foot")
_SHARES = torch.tensor(
    [LEG_SHARE if n.endswith(_LEGS) else ARM_SHARE if n.endswith(_ARMS) else TORSO_SHARE for n in SMPL22.joint_names]
)


def resample_depth(depth: Tensor, fps: float, target_fps: float) -> Tensor:
    """Depth (B, L, 22) of a track at another frame rate, by linear interpolation; NaN if both neighbors are NaN."""
    known = depth.isfinite()
    values = torch.where(known, depth, 0.0)[..., None]
    moved, conf = resample_track(values, known.to(depth), fps, target_fps)
    return torch.where(conf > 0, moved[..., 0], torch.nan)


def with_depth(predicted: Prediction, frame: RayFrame, depth: Tensor) -> Prediction:
    """A prediction with joints moved along their rays towards the depth of a detector.

    Args:
        predicted, frame: prediction and ray frame of a track (B, L, ...).
        depth: (B, L, 22) meters, depth relative to the midpoint of the hips, along the ray to it; NaN where unknown.
    """
    joints3d = frame.to_world(predicted.plane, predicted.along)
    camera = torch.stack([torch.zeros_like(frame.height), frame.height, torch.zeros_like(frame.height)], -1)[:, :, None]
    rays = joints3d - camera
    middle = rays[:, :, list(HIPS)].mean(2, keepdim=True)
    ahead = middle / middle.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    own, away = (rays * ahead).sum(-1), (middle * ahead).sum(-1)  # along the ray to the hips
    depth_from_plane = away + depth - depth[:, :, list(HIPS)].mean(-1, keepdim=True)
    share = _SHARES.to(own) * depth_from_plane.isfinite()
    scale = 1 + share * (torch.where(depth_from_plane.isfinite(), depth_from_plane, own) - own) / own.clamp(min=0.1)
    _, along = frame.from_world(camera + rays * scale[..., None])
    return replace(predicted, along=along)
