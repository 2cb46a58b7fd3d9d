"""Quality metrics of the tokenizer: pixel errors, code usage, pose limits, upside-down and mirrored frames."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.pose_limits import PoseLimits
from hmr4d.body.viewpoint import CLEAR_TURN, frontness
from hmr4d.methods.k2m.losses import Drawn, Observed, box_heights
from hmr4d.nn.residual_vq import Quantized

LIMIT_SLACK = 0.01  # radians; tolerance of the limits
_HEAD, _HIPS = [0, 1, 2, 3, 4], [11, 12]


def body_checks(drawn: Drawn, observed: Observed, limits: PoseLimits, min_conf: float) -> dict[str, Tensor]:
    """Metrics as means over the valid frames; 0 if no frame is valid.

    Returns: `pixels`: distance of keypoints, pixels. `coordinate_pixels`: mean error of x and y, pixels.
        `height_share`: distance of keypoints relative to the height of the person's box. `limits`: fraction of pose
        components outside their limits. `upside_down`: fraction of frames whose body has the head below the hips
        although the image shows it above. `mirrored`: fraction of the frames with a clear front or back view whose body
        faces the opposite direction. `behind`: fraction of points that cannot be projected. `depth`, `depth_spread`:
        mean and standard deviation of the depth of the translation, meters; the depth of the root differs by its
        position in the rest pose.
    """
    frames = observed.frames
    seen = (observed.conf >= min_conf) & drawn.visible & frames[..., None]
    off = torch.where(seen[..., None], drawn.pixels - observed.pixels, 0.0)
    error = off.norm(dim=-1)
    heights = box_heights(observed.pixels, (observed.conf >= min_conf) & frames[..., None])
    count = seen.sum().clamp(min=1)
    up = -drawn.root[..., 1, 1]  # vertical image component of the body's up axis
    head_above = observed.pixels[..., _HEAD, 1].mean(-1) < observed.pixels[..., _HIPS, 1].mean(-1)
    whole = (observed.conf >= min_conf).all(-1) & frames
    turn = frontness(observed.pixels)
    clear = whole & (turn.abs() > CLEAR_TURN)
    faces_us = drawn.root[..., 2, 2] < 0
    depth = drawn.translation[..., 2]
    mean_depth = _mean(depth, frames)
    return {
        "pixels": error.sum() / count,
        "coordinate_pixels": off.abs().sum() / (2 * count),
        "height_share": (error / heights[..., None]).sum() / count,
        "limits": _mean((limits.excess(drawn.pose) > LIMIT_SLACK).float().mean(-1), frames),
        "upside_down": _share((up < 0) & head_above, whole),
        "mirrored": _share(faces_us != (turn > 0), clear),
        "behind": _share(~drawn.visible, frames[..., None].expand_as(drawn.visible)),
        "depth": mean_depth,
        "depth_spread": _mean((depth - mean_depth).square(), frames).sqrt(),
    }


def token_checks(quantized: Quantized, num_codes: int) -> dict[str, Tensor]:
    """Perplexity and fraction of unused codes in the batch, for each layer."""
    checks = {}
    for layer, perplexity in enumerate(quantized.perplexity):
        used = quantized.indices[..., layer].unique()
        checks[f"perplexity_{layer}"] = perplexity
        checks[f"unused_{layer}"] = perplexity.new_tensor(1 - int((used >= 0).sum()) / num_codes)
    return checks


def _share(what: Tensor, among: Tensor) -> Tensor:
    return (what & among).sum() / among.sum().clamp(min=1)


def _mean(values: Tensor, among: Tensor) -> Tensor:
    return torch.where(among, values, 0.0).sum() / among.sum().clamp(min=1)
