"""Placement of a motion in the camera frame by a closed-form solution.

A motion without position in the image is translated so that its projection matches the keypoints. This uses only the
keypoints and the predicted body.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hmr4d.methods.k2m.losses import Observed
from hmr4d.methods.k2m.projection import FOCAL_LENGTH
from hmr4d.utils.precision import full_precision

LEAST_SPREAD = 1e-3  # meters or pixels; smallest spread of the points of a body
DRIFT_WINDOW = 15  # frames; window for lifting
NEAREST = 2.0  # meters; smallest depth of a placed body


@torch.no_grad()
@full_precision
def solved_shift(
    points: Tensor,
    observed: Observed,
    size: Tensor,
    *,
    min_conf: float,
    focal: float = FOCAL_LENGTH,
    window: int | None = None,
) -> Tensor:
    """Offset of the translation with which the projected bodies match size and position of the keypoints.

    Args:
        points: (B, F, J, 3) keypoints of the bodies, meters, camera frame.
        observed: observed keypoints.
        size: (B, 2) width and height of the image.
        min_conf: keypoints of lower confidence are ignored.
        focal: focal length, pixels.
        window: odd number of frames around each frame that determine its offset, which removes drift of summed
            velocities; None: one offset for the whole clip.

    Returns: (B, 1, 3) meters, or (B, F, 3) with a window. Frames without observation are interpolated linearly; clips
        without observation have 0. The result has no gradient.
    """
    seen = ((observed.conf >= min_conf) & observed.frames[..., None])[..., None]
    pixels = torch.where(seen, observed.pixels - size[:, None, None] / 2, 0.0)
    drawn = torch.where(seen, points[..., :2], 0.0)
    spread = _spread(drawn, seen).clamp(min=LEAST_SPREAD) / _spread(pixels, seen).clamp(min=LEAST_SPREAD)
    total = seen.sum((1, 2)).clamp(min=1)  # (B, 1)
    depth = torch.where(seen, points[..., 2:], 0.0).sum((1, 2)) / total
    deeper = (focal * spread[:, None]).clamp(min=NEAREST) - depth  # (B, 1)
    rays = pixels / focal * (points[..., 2:] + deeper[:, None, None])
    aside, count = _around(torch.where(seen, rays - drawn, 0.0).sum(2), seen.sum(2), window)
    aside = _bridged(aside / count.clamp(min=1), count[..., 0] > 0)
    shift = torch.cat([aside, deeper[:, None].expand(-1, aside.shape[1], 1)], -1)
    return torch.where((count > 0).any(1, keepdim=True), shift, 0.0)


def _around(values: Tensor, count: Tensor, window: int | None) -> tuple[Tensor, Tensor]:
    """Sums of (B, F, 2) and (B, F, 1) over all frames, (B, 1, ...), or over a window around each frame."""
    if window is None:
        return values.sum(1, keepdim=True), count.sum(1, keepdim=True)
    joined = F.pad(torch.cat([values, count.to(values)], -1).mT, (window // 2, window // 2))
    sums = (F.avg_pool1d(joined, window, 1) * window).mT
    return sums[..., :2], sums[..., 2:]


def _bridged(values: Tensor, known: Tensor) -> Tensor:
    """Fills unknown frames of values (B, F, C) by linear interpolation, or with the nearest known value at the ends."""
    count = known.shape[1]
    frame = torch.arange(count, device=known.device).expand_as(known)
    last = torch.where(known, frame, -1).cummax(1).values
    after = torch.where(known, frame, count).flip(1).cummin(1).values.flip(1)
    last, after = torch.where(last < 0, after, last), torch.where(after == count, last, after)
    way = (frame - last) / (after - last).clamp(min=1)
    ends = [values.gather(1, rows.clamp(0, count - 1)[..., None].expand_as(values)) for rows in (last, after)]
    return torch.lerp(ends[0], ends[1], way[..., None].to(values))


def _spread(values: Tensor, seen: Tensor) -> Tensor:
    """(B,) root mean square distance of the visible values (B, F, J, 2) from the center of their frame."""
    count = seen.sum(2, keepdim=True)
    away = torch.where(seen, values - values.sum(2, keepdim=True) / count.clamp(min=1), 0.0)
    return (away.square().sum((1, 2, 3)) / count.sum((1, 2, 3)).clamp(min=1)).sqrt()
