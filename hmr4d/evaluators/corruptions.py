"""Known corruptions of real motion, which a reliable evaluator must detect."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hmr4d.data.datasets import stretch_linear
from hmr4d.motion.canonical import face_first_frame, mirror

Corruption = Callable[[Tensor, torch.Generator], Tensor]  # (L, 22, 3) meters, y up -> the same shape

ROOT_STRETCH = 1.5
SMOOTHING_FRAMES = 11  # odd; about half a second at 20 fps


def _unchanged(joints3d: Tensor, generator: torch.Generator) -> Tensor:
    return joints3d


def _mirrored(joints3d: Tensor, generator: torch.Generator) -> Tensor:
    return mirror(joints3d)


def _reversed(joints3d: Tensor, generator: torch.Generator) -> Tensor:
    return joints3d.flip(0)


def _frozen(joints3d: Tensor, generator: torch.Generator) -> Tensor:
    return joints3d[len(joints3d) // 2].expand_as(joints3d).clone()


def _half_speed(joints3d: Tensor, generator: torch.Generator) -> Tensor:
    return stretch_linear(joints3d[: (len(joints3d) + 1) // 2], len(joints3d))


def _smoothed(joints3d: Tensor, generator: torch.Generator) -> Tensor:
    half = SMOOTHING_FRAMES // 2
    padded = torch.cat([joints3d[:1].expand(half, -1, -1), joints3d, joints3d[-1:].expand(half, -1, -1)])
    return padded.unfold(0, SMOOTHING_FRAMES, 1).mean(-1)


def _stretched_path(joints3d: Tensor, generator: torch.Generator) -> Tensor:
    faced = face_first_frame(joints3d)
    travel = faced[:, :1] * faced.new_tensor([ROOT_STRETCH - 1.0, 0.0, ROOT_STRETCH - 1.0])
    return faced + travel


def _shaken(meters: float) -> Corruption:
    def shake(joints3d: Tensor, generator: torch.Generator) -> Tensor:
        return joints3d + meters * torch.randn(joints3d.shape, generator=generator)

    return shake


CORRUPTIONS: dict[str, Corruption] = {
    "unchanged": _unchanged,
    "left and right exchanged": _mirrored,
    "backwards in time": _reversed,
    "half speed": _half_speed,
    "smoothed over half a second": _smoothed,
    "path 1.5 times as long": _stretched_path,
    "shaken by 5 mm": _shaken(0.005),
    "shaken by 20 mm": _shaken(0.02),
    "one frame held": _frozen,
}
