"""What lifting returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.rigs import Rig


@dataclass(frozen=True)
class LiftOutput:
    """Motion of B tracks in the world that view 0 anchors: y up, floor y = 0, metres. On the CPU.

    Attributes:
        joints3d: (B, L, J, 3) mean of the samples, zero beyond `lengths`.
        lengths: (B,) int64 frames of each track.
        fps: frames per second, those of the track.
        skeleton: joint meaning of axis J.
        rig: the V cameras, batched (B, V, ...); view 0 is the real one.
        joints2d: (B, V, L, J, 2) pixels: `joints3d` seen by the rig.
        spread: (B, L, J) metres, root mean square distance of the samples from their mean; 0 for one sample.
        residual: (B, L, J) metres, how far the views of a joint disagree at its distance from view 0, mean of samples.
        joint_convention: where the joints are in the body, see `joint_conventions`; None: where the bodies have them.
        extras: "samples" (B, K, L, J, 3), every sample by itself.
    """

    joints3d: Tensor
    lengths: Tensor
    fps: float
    skeleton: Skeleton
    rig: Rig
    joints2d: Tensor
    spread: Tensor
    residual: Tensor
    joint_convention: str | None = None
    extras: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lengths)

    def motion(self, index: int) -> Tensor:
        """(L, J, 3) joints of one track, cut to its length."""
        return self.joints3d[index, : int(self.lengths[index])]
