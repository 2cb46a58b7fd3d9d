"""Short gaps in keypoint tracks closed before lifting: detectors lose single joints for a moment all the time."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.utils.tensors import interpolate_gaps

SURE = 0.3  # confidence; detections below count as missing
BRIDGED_SECONDS = 0.2  # longer gaps are left to the lifting method


def drop_unsure(kp2d: Tensor, conf: Tensor, least: float = SURE) -> tuple[Tensor, Tensor]:
    """A track in which joints below the minimum confidence are missing: at 0 with confidence 0.

    Call it before conversion of joints and filling of gaps, since these treat every confidence above 0 as visible.

    Args:
        kp2d: (..., J, 2).
        conf: (..., J).
        least: minimum confidence.
    """
    seen = (conf >= least) & (conf > 0)
    return torch.where(seen[..., None], kp2d, 0.0), torch.where(seen, conf, 0.0)


def longest_unseen(conf: Tensor) -> tuple[int, int]:
    """First frame and length of the longest period in which no joint of a track (L, J) is visible."""
    seen = torch.nn.functional.pad((conf > 0).any(-1).long(), (1, 1), value=1)
    at = seen.nonzero().flatten()
    gaps = at.diff() - 1
    longest = int(gaps.argmax())
    return int(at[longest]), int(gaps[longest])


def bridge_gaps(kp2d: Tensor, conf: Tensor, fps: float) -> tuple[Tensor, Tensor]:
    """A track whose short gaps are filled, joint by joint.

    Gaps of up to BRIDGED_SECONDS are interpolated linearly; before the first and after the last detection of a joint,
    its position is held for up to half as long. Filled joints have the lower confidence of both ends. Longer gaps are
    not changed.

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
