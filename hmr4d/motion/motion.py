"""The motion value that pipelines return and that every writer, viewer and metric reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton


@dataclass(frozen=True)
class MotionOutput:
    """A batch of generated motions.

    Attributes:
        joints3d: (B, L, J, 3) metres, world, y up, zero padded beyond `lengths`. None for 2D-only samples.
        lengths: (B,) int64 valid frames per motion.
        fps: frames per second of every motion in the batch.
        text: B prompts.
        skeleton: joint meaning of axis J.
        joint_convention: where the joints are in the body, see `joint_conventions`; None: where the bodies have them.
        about: what is known of the model, such as its name and the licence of its motion; files keep it.
        joints2d: (B, V, L, J+1, 2) or None: per-view 2D joints and the next-root point, normalised image units.
        extras: tensors a method wants to hand on (progress of sampling, raw local motion); keys are documented there.
    """

    joints3d: Tensor | None
    lengths: Tensor
    fps: float
    text: list[str]
    skeleton: Skeleton = SMPL22
    joint_convention: str | None = None
    about: dict[str, str] = field(default_factory=dict)
    joints2d: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.text)

    def motion(self, index: int) -> Tensor:
        """(L, J, 3) joints of one motion, cut to its length."""
        if self.joints3d is None:
            raise ValueError("This output holds 2D motion only; sample with a multi-view pipeline to get joints3d.")
        return self.joints3d[index, : int(self.lengths[index])]
