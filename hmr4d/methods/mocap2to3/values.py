"""What the stages of lifting hand to each other, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hmr4d.geometry.rigs import Rig


@dataclass(frozen=True)
class LiftDraws:
    """The random part of one training step: eps (B, V, L, D) noise, t (B,) steps, keep_camera (B,) bool."""

    eps: Tensor
    t: Tensor
    keep_camera: Tensor


@dataclass(frozen=True)
class CameraInputs:
    """What the network is told of the cameras: the rig, `cam` (B, V, C) and `memory` (B, V, M, dim) of the maps."""

    rig: Rig
    cam: Tensor
    memory: Tensor

    def select(self, rows: Tensor) -> CameraInputs:
        """Those of some items."""
        rig = Rig(self.rig.size[rows], self.rig.K4[rows], self.rig.T_w2c[rows])
        return CameraInputs(rig, self.cam[rows], self.memory if len(self.memory) == 1 else self.memory[rows])


@dataclass(frozen=True)
class Track:
    """What view 0 saw: `pixels` (B, L, J, 2), `conf` (B, L, J), 0 where missing, `lengths` (B,)."""

    pixels: Tensor
    conf: Tensor
    lengths: Tensor

    def cut(self, rows: Tensor, start: int, window: int) -> Track:
        """A window of some items, as long as the longest of them needs."""
        lengths = (self.lengths[rows] - start).clamp(max=window)
        end = start + int(lengths.max())
        return Track(self.pixels[rows, start:end], self.conf[rows, start:end], lengths)


@dataclass(frozen=True)
class Lifted:
    """World motion `joints3d` (B, L, J, 3) and `residual` (B, L, J), both metres."""

    joints3d: Tensor
    residual: Tensor


def check_request(
    kp2d: Tensor, conf: Tensor, rig: Rig, lengths: Tensor, rate: float, num_samples: int, *, draws_views: bool
) -> None:
    """ValueError with what is wrong in a request."""
    if kp2d.ndim != 4 or kp2d.shape[-1] != 2 or conf.shape != kp2d.shape[:-1]:
        raise ValueError(
            f"kp2d is {tuple(kp2d.shape)} and conf {tuple(conf.shape)}; expected (B, L, J, 2) and (B, L, J)."
        )
    if rig.K4.ndim == 3 and len(rig.K4) not in (1, len(kp2d)):
        raise ValueError(f"{len(rig.K4)} rigs for {len(kp2d)} tracks. Give one for all, or one per track.")
    if draws_views and rig.num_views < 2:
        raise ValueError(
            "The rig has one camera; this model draws what others would see. Put virtual ones beside it with "
            "hmr4d.camera.rig_samplers.virtual_rig."
        )
    if len(lengths) != len(kp2d) or not bool(((lengths >= 1) & (lengths <= kp2d.shape[1])).all()):
        raise ValueError(f"lengths are {lengths.tolist()}; expected one per track, from 1 to {kp2d.shape[1]} frames.")
    if not rate > 0 or num_samples < 1:
        raise ValueError(f"fps is {rate} and num_samples {num_samples}; expected more than 0 and at least 1.")
