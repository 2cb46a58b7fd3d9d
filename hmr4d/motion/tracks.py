"""Tracks in time: other frame rates, short ones made longer, long ones cut into windows and joined again."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hmr4d.motion.resampling import resample_positions, resampled_length
from hmr4d.utils.tensors import interpolate_gaps

MIN_FRAMES = 16  # shorter tracks are continued by reflection


def _neighbors(times: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
    """The frame before each time, and the fraction toward the next one; more than 1 beyond the last frame."""
    before = times.floor().clamp(0, max(num_frames - 2, 0)).long()
    return before, times - before


def resample_track(kp2d: Tensor, conf: Tensor, fps: float, target_fps: float) -> tuple[Tensor, Tensor]:
    """A track at another rate, linear in time.

    If one of two neighbors is missing, the other is used, with a confidence proportional to its proximity.

    Args:
        kp2d: (B, L, J, 2).
        conf: (B, L, J), 0 for missing.
        fps, target_fps: rates.

    Returns:
        kp2d (B, M, J, 2) and conf (B, M, J), M = floor((L - 1) target_fps / fps) + 1.
    """
    if fps == target_fps or kp2d.shape[1] == 1:
        return kp2d, conf
    num = kp2d.shape[1]
    count = resampled_length(num, fps, target_fps)
    times = torch.arange(count, dtype=torch.float64, device=kp2d.device) * (fps / target_fps)
    before, way = _neighbors(times, num)
    way = way.to(kp2d)[:, None]
    first, second = (1 - way) * (conf[:, before] > 0), way * (conf[:, before + 1] > 0)
    total = (first + second).clamp(min=torch.finfo(kp2d.dtype).tiny)
    pixels = (first[..., None] * kp2d[:, before] + second[..., None] * kp2d[:, before + 1]) / total[..., None]
    return pixels, first * conf[:, before] + second * conf[:, before + 1]


def smooth_track(kp2d: Tensor, conf: Tensor, lengths: Tensor, sigma: float) -> Tensor:
    """Observed joints (B, L, J, 2) smoothed by a Gaussian of `sigma` frames, with linear interpolation over gaps.

    Missing joints are not changed.
    """
    if sigma == 0:
        return kp2d
    filled = interpolate_gaps(kp2d.transpose(1, 2), (conf > 0).transpose(1, 2)).transpose(1, 2)
    return torch.where(conf[..., None] > 0, smooth_in_time(filled, lengths, sigma), kp2d)


def resample_motion(x: Tensor, fps: float, target_fps: float, num_frames: int) -> Tensor:
    """(B, L, ...) at `fps` -> (B, num_frames, ...) at `target_fps`, by splines, straight on beyond the last frame."""
    if x.shape[1] == 1:
        return x.expand(-1, num_frames, *x.shape[2:])
    if fps == target_fps and num_frames <= x.shape[1]:
        return x[:, :num_frames]
    times = torch.arange(num_frames, dtype=torch.float64, device=x.device) * (fps / target_fps)
    before, way = _neighbors(times, x.shape[1])
    way = way.to(x).reshape(-1, *[1] * (x.ndim - 2))
    straight = x[:, before] + way * (x[:, before + 1] - x[:, before])
    curve = torch.from_numpy(resample_positions(x.movedim(1, 0).cpu().numpy(), fps, target_fps)).to(x).movedim(0, 1)
    return torch.cat([curve, straight[:, curve.shape[1] :]], 1)[:, :num_frames]


def reflected_frames(lengths: Tensor, num_frames: int) -> Tensor:
    """(B, max(num_frames, MIN_FRAMES)) source frame of each position, so that short tracks are reflected.

    Tracks of MIN_FRAMES or more keep their frames; positions beyond the length then use the last padded one.

    Args:
        lengths: (B,) valid frames.
        num_frames: L of the padded batch.
    """
    place = torch.arange(max(num_frames, MIN_FRAMES), device=lengths.device).expand(len(lengths), -1)
    turn = (lengths - 1).clamp(min=1)[:, None]
    there = place % (2 * turn)
    reflected = torch.minimum(there, 2 * turn - there).clamp(max=lengths[:, None] - 1)
    short = (lengths < MIN_FRAMES)[:, None] & (place < MIN_FRAMES)
    return torch.where(short, reflected, place.clamp(max=num_frames - 1))


def window_starts(num_frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows that cover a track; each has `overlap` frames in common with the one before.

    Raises:
        ValueError: windows do not move on, or are shorter than the shortest track.
    """
    if not 0 <= overlap < window or window < MIN_FRAMES:
        raise ValueError(
            f"window is {window} frames and overlap {overlap}; expected at least {MIN_FRAMES} frames and an overlap "
            "shorter than the window."
        )
    return [0, *range(window - overlap, num_frames - overlap, window - overlap)]


def fade_out(overlap: int, like: Tensor) -> Tensor:
    """(overlap,) weights of the earlier window over the frames in common, from almost 1 to almost 0."""
    return 1 - (torch.arange(overlap, device=like.device, dtype=like.dtype) + 1) / (overlap + 1)


def join(earlier: Tensor, later: Tensor) -> Tensor:
    """Cross-fade (B, N, J, 3) of two windows over their frames in common."""
    weight = fade_out(earlier.shape[1], earlier).reshape(-1, *[1] * (earlier.ndim - 2))
    return weight * earlier + (1 - weight) * later


def smooth_in_time(x: Tensor, lengths: Tensor, sigma: float) -> Tensor:
    """x (B, L, ...) smoothed in time by local straight lines under a Gaussian of `sigma` frames.

    Away from the ends this is the mean under the Gaussian; at the ends, where that would lag, the line is extrapolated.
    Padding beyond `lengths` (B,) is ignored and not changed.
    """
    if sigma == 0:
        return x
    reach = math.ceil(4 * sigma)
    away = torch.arange(-reach, reach + 1, device=x.device, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (away / sigma).square())
    moments = torch.stack([kernel, kernel * away, kernel * away.square()])[:, None]  # (3, 1, 2 reach + 1)
    inside = torch.arange(x.shape[1], device=x.device) < lengths[:, None].to(x.device)
    flat = x.flatten(2).movedim(1, -1).double() * inside[:, None]  # (B, C, L)
    w0, w1, w2 = F.conv1d(inside[:, None].double(), moments, padding=reach).unbind(1)  # (B, L) each
    sums = F.conv1d(flat.flatten(0, 1)[:, None], moments[:2], padding=reach).unflatten(0, flat.shape[:2])
    value, slope = sums.unbind(2)  # (B, C, L) each
    spread = (w0 * w2 - w1.square())[:, None]
    line = (w2[:, None] * value - w1[:, None] * slope) / torch.where(spread > 1e-9, spread, 1.0)
    mean = value / w0[:, None].clamp(min=1e-9)
    smooth = torch.where(spread > 1e-9, line, mean).movedim(-1, 1).reshape(x.shape).to(x)
    return torch.where(inside.reshape(*inside.shape, *[1] * (x.ndim - 2)), smooth, x)
