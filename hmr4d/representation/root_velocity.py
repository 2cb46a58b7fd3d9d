"""Motion in the root frame with the root's next position as one more point ("next root"), and back.

A local motion has J + 1 points a frame: the joints relative to the root of that frame, then the root of the following
frame relative to it. The sum of the last point over time is the trajectory. This is the split into local motion
and root velocity of Motion-2-to-3 (ICCV 2025, arXiv 2412.13111).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton

NEUTRAL_HEIGHT = 1.6787  # meters; mean leg chain plus spine chain of the neutral SMPL body, betas = 0
MAX_HEIGHT_SCALE = 5.0


def to_root_velocity(joints3d: Tensor) -> Tensor:
    """(..., L, J, 3) -> local (..., L, J + 1, 3); point 0 is zero, the last frame's next root is zero."""
    root = joints3d[..., :1, :]
    following = torch.cat([root[..., 1:, :, :], root[..., -1:, :, :]], -3)
    return torch.cat([joints3d, following], -2) - root


def from_root_velocity(local: Tensor) -> Tensor:
    """Local (..., L, J + 1, C) -> global (..., L, J, C): each frame is moved by the steps of the frames before it."""
    steps = local[..., -1:, :]
    moved = steps.cumsum(-3) - steps
    return local[..., :-1, :] + moved


def body_height(local: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """(..., L) length of the mean leg chain plus the spine chain of local or global joints (..., L, >=J, 3)."""

    def length(name: str) -> Tensor:
        chain = list(skeleton.chain(name))
        return (local[..., chain[1:], :] - local[..., chain[:-1], :]).norm(dim=-1).sum(-1)

    return (length("left_leg") + length("right_leg")) / 2 + length("spine")


def normalize_height(
    local: Tensor,
    *,
    height: float = NEUTRAL_HEIGHT,
    lengths: Tensor | None = None,
    per_frame: bool = True,
    skeleton: Skeleton = SMPL22,
) -> Tensor:
    """Local motion (B, L, J + 1, 3) scaled to one body height.

    Args:
        height: target `body_height` in meters.
        lengths: (B,) valid frames, needed for the per-clip scale; None counts every frame.
        per_frame: True scales each frame separately, including the next root, as published; False uses one scale per
            clip from the mean height over its valid frames, which keeps the shape of the trajectory.
    """
    measured = body_height(local, skeleton)
    if not per_frame:
        if lengths is None:
            measured = measured.mean(-1, keepdim=True)
        else:
            valid = torch.arange(local.shape[1], device=local.device) < lengths.to(local.device)[:, None]
            measured = (measured * valid).sum(-1, keepdim=True) / valid.sum(-1, keepdim=True).clamp(min=1)
    scale = (height / (measured + 1e-9)).clamp(0.0, MAX_HEIGHT_SCALE)
    return local * scale[..., None, None]
