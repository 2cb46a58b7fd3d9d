"""Short gaps in keypoint tracks closed before lifting: detectors lose single joints for a moment all the time."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.utils.tensors import interpolate_gaps

SURE = 0.3  # confidence; detections below are worth no more than missing ones
BRIDGED_SECONDS = 0.2  # longer gaps stay, for the method of lifting to fill


def drop_unsure(kp2d: Tensor, conf: Tensor, least: float = SURE) -> tuple[Tensor, Tensor]:
    """A track without the joints of less than the least confidence: they are missing, at 0 with confidence 0.

    To be done before joints are mixed and gaps bridged, since these count every confidence above 0 as seen.

    Args:
        kp2d: (..., J, 2).
        conf: (..., J).
        least: confidence.
    """
    seen = (conf >= least) & (conf > 0)
    return torch.where(seen[..., None], kp2d, 0.0), torch.where(seen, conf, 0.0)


def longest_unseen(conf: Tensor) -> tuple[int, int]:
    """First frame and number of frames of the longest stretch in which no joint of a track (L, J) is seen."""
    seen = torch.nn.functional.pad((conf > 0).any(-1).long(), (1, 1), value=1)
    at = seen.nonzero().flatten()
    gaps = at.diff() - 1
    longest = int(gaps.argmax())
    return int(at[longest]), int(gaps[longest])


def bridge_gaps(kp2d: Tensor, conf: Tensor, fps: float) -> tuple[Tensor, Tensor]:
    """A track whose short gaps are filled, joint by joint.

    Joints missing for up to BRIDGED_SECONDS are put on the line between where they were seen before and after; before
    the first and after the last time that a joint was seen it stays there for up to half as long. What is filled in has
    the confidence of the less sure of both ends. Longer gaps stay as they are.

    Args:
        kp2d: (..., L, J, 2), 0 where missing.
        conf: (..., L, J), 0 for missing.
        fps: frames per second.

    Returns:
        kp2d (..., L, J, 2) and conf (..., L, J).
    """
    points, sure = kp2d.transpose(-3, -2), conf.transpose(-2, -1)  # (..., J, L, 2), (..., J, L)
    seen, num = sure > 0, sure.shape[-1]
    index = torch.arange(num, device=conf.device)
    before = torch.where(seen, index, -1).cummax(-1).values
    after = torch.where(seen, index, num).flip(-1).cummin(-1).values.flip(-1)
    is_inner = (before >= 0) & (after < num)
    gap = torch.where(is_inner, after - before - 1, torch.where(before >= 0, num - 1 - before, after))
    longest = torch.where(is_inner, int(BRIDGED_SECONDS * fps), int(BRIDGED_SECONDS * fps / 2))
    fills = ~seen & (gap <= longest) & seen.any(-1, keepdim=True)
    line = interpolate_gaps(points, seen)
    ends = [sure.gather(-1, i.clamp(0, num - 1)) for i in (before, after)]
    least = torch.where(is_inner, torch.minimum(*ends), torch.maximum(*ends))
    filled = torch.where(fills[..., None], line, points), torch.where(fills, least, sure)
    return filled[0].transpose(-3, -2), filled[1].transpose(-2, -1)
