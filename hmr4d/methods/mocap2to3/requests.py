"""Lifting requests: validation, and conversion of tracks to the frame rate of the network."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.rigs import Rig
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.methods.mocap2to3.values import Track
from hmr4d.motion.resampling import resampled_length
from hmr4d.motion.tracks import MIN_FRAMES, reflected_frames, resample_track, smooth_track


def check_request(
    kp2d: Tensor, conf: Tensor, rig: Rig, lengths: Tensor, rate: float, num_samples: int, *, draws_views: bool
) -> None:
    """Raises ValueError for an invalid request."""
    if kp2d.ndim != 4 or kp2d.shape[-1] != 2 or conf.shape != kp2d.shape[:-1]:
        raise ValueError(
            f"kp2d has shape {tuple(kp2d.shape)} and conf {tuple(conf.shape)}; expected (B, L, J, 2) and (B, L, J)."
        )
    if rig.K4.ndim == 3 and len(rig.K4) not in (1, len(kp2d)):
        raise ValueError(f"{len(rig.K4)} rigs for {len(kp2d)} tracks. Give one for all, or one per track.")
    if draws_views and rig.num_views < 2:
        raise ValueError(
            "The rig has one camera, but this model generates the views of other cameras. Add virtual cameras with "
            "hmr4d.camera.rig_samplers.virtual_rig."
        )
    if len(lengths) != len(kp2d) or not bool(((lengths >= 1) & (lengths <= kp2d.shape[1])).all()):
        raise ValueError(f"lengths are {lengths.tolist()}; expected one per track, from 1 to {kp2d.shape[1]} frames.")
    if not rate > 0 or num_samples < 1:
        raise ValueError(f"fps is {rate} and num_samples {num_samples}; expected more than 0 and at least 1.")


def track_at_rate(
    kp2d: Tensor, conf: Tensor, lengths: Tensor, rate: float, own_rate: float, options: LiftSamplingOptions
) -> Track:
    """Tracks at the frame rate of the network: smoothed, finite, short tracks extended by reflection.

    Args:
        kp2d: (B, L, J, 2) pixels.
        conf: (B, L, J) in [0, 1].
        lengths: (B,) frames, on the CPU.
        rate, own_rate: frame rates of the tracks and of the network.
        options: confidence threshold and smoothing.
    """
    kp2d, conf = kp2d.float(), conf.float()
    inside = torch.arange(kp2d.shape[1]) < lengths[:, None]
    conf = conf * (conf >= options.min_conf) * kp2d.isfinite().all(-1) * inside.to(kp2d.device)[..., None]
    kp2d = torch.where(conf[..., None] > 0, kp2d, 0.0)
    kp2d, conf = resample_track(kp2d, conf, rate, own_rate)
    own = torch.tensor([resampled_length(int(n), rate, own_rate) for n in lengths], device=kp2d.device)
    conf = conf * (torch.arange(conf.shape[1], device=kp2d.device) < own[:, None])[..., None]
    kp2d = smooth_track(kp2d, conf, own, options.smooth_observed * own_rate)
    place = reflected_frames(own, kp2d.shape[1])
    rows = torch.arange(len(own), device=kp2d.device)[:, None]
    return Track(kp2d[rows, place], conf[rows, place], own.clamp(min=MIN_FRAMES))
