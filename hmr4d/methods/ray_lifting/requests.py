"""Validation of lifting requests."""

from __future__ import annotations

from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.rigs import Rig


def check_tracks(
    kp2d: Tensor, conf: Tensor, lengths: Tensor, rate: float, skeleton: Skeleton, depth: Tensor | None = None
) -> None:
    """Raises ValueError unless tracks (B, L, J, 2), confidences and depths (B, L, J) and lengths (B,) match."""
    if depth is not None and depth.shape != conf.shape:
        raise ValueError(f"depth has shape {tuple(depth.shape)}; expected one value per joint, {tuple(conf.shape)}.")
    if kp2d.ndim != 4 or kp2d.shape[2:] != (skeleton.num_joints, 2) or conf.shape != kp2d.shape[:-1]:
        raise ValueError(
            f"kp2d has shape {tuple(kp2d.shape)} and conf {tuple(conf.shape)}; expected (B, L, {skeleton.num_joints}, "
            "2) and "
            f"(B, L, {skeleton.num_joints}) of '{skeleton.name}'."
        )
    if len(lengths) != len(kp2d) or not bool(((lengths >= 1) & (lengths <= kp2d.shape[1])).all()):
        raise ValueError(f"lengths are {lengths.tolist()}; expected one per track, from 1 to {kp2d.shape[1]} frames.")
    if not rate > 0:
        raise ValueError(f"fps is {rate}; expected more than 0.")


def rigs_for_all(rig: Rig, count: int) -> Rig:
    """The rigs (B, V, ...) of `count` tracks. Raises ValueError unless there is one rig for all or one per track."""
    parts = [x if rig.K4.ndim == 3 else x[None] for x in (rig.size, rig.K4, rig.T_w2c)]
    if len(parts[1]) not in (1, count):
        raise ValueError(f"There are {len(parts[1])} rigs for {count} tracks; give one for all or one per track.")
    return Rig(*(x.expand(count, *x.shape[1:]) for x in parts))
