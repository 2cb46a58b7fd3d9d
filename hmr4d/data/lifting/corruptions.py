"""Simulated detector errors of 2D joints: noise, missing limbs and frames, exchanged legs, outliers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import GROUND_PARTS, Skeleton
from hmr4d.utils.randomness import ItemRandom

LIMBS = ("left_arm", "right_arm", "left_leg", "right_leg")
LIMB_JOINTS = 3  # of a limb's chain, from its end
LONGEST_DROPOUT = 10  # frames without a detection at a time
REFERENCE_SIDE = 1080  # pixels
SWAPPED_PARTS = ("hip", "knee", *GROUND_PARTS)


@dataclass(frozen=True)
class KeypointCorruption:
    """Random errors of the track of one view. All zeros and False do not change it.

    Attributes:
        noise: standard deviation of joints over the side of the body's box; uniform per track from 0 to this.
            limb_prob: probability that a limb is missing for a period. dropout_prob: probability of a period without
            the whole body. swap_prob: probability of a period with exchanged legs. outlier_prob: probability of an
            outlier for each joint in each frame.
        outlier_size: standard deviation of such a joint, over the side of the box.
        hide_outside: joints beyond the image are missing.
        noise_px: standard deviation of joints in every track, in pixels of an image whose shorter side has
            REFERENCE_SIDE.
        missing_prob: probability that a joint is missing, for each joint in each frame.
    """

    noise: float = 0.02
    limb_prob: float = 0.2
    dropout_prob: float = 0.1
    swap_prob: float = 0.02
    outlier_prob: float = 0.002
    outlier_size: float = 0.3
    hide_outside: bool = True
    noise_px: float = 0.0
    missing_prob: float = 0.0

    def __post_init__(self) -> None:
        for name in ("limb_prob", "dropout_prob", "swap_prob", "outlier_prob", "missing_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a probability from 0 to 1.")
        for name in ("noise", "outlier_size", "noise_px"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a standard deviation of 0 or more.")

    def apply(
        self, pixels: Tensor, side: Tensor, size: Tensor, skeleton: Skeleton, rng: ItemRandom
    ) -> tuple[Tensor, Tensor]:
        """A damaged copy.

        Args:
            pixels: (L, J, 2).
            side: (L, 2) sides of the body's box in pixels.
            size: (2,) of the image.
            skeleton: of the joints.
            rng: the damage.

        Returns:
            pixels (L, J, 2), 0 where missing, and visible (L, J) bool.
        """
        num_frames, num_joints, _ = pixels.shape
        draws = rng.uniform(4 + len(LIMBS))
        spans = rng.uniform(2 + len(LIMBS), 2)
        if draws[0] < self.swap_prob:
            during = _span(spans[0], num_frames, num_frames)[:, None, None]
            pixels = torch.where(during, pixels[:, _swapped_legs(skeleton)], pixels)
        sigma = torch.full((num_frames, num_joints), float(draws[1]) * self.noise)
        sigma[rng.uniform(num_frames, num_joints) < self.outlier_prob] = self.outlier_size
        pixels = pixels + sigma[..., None] * side[:, None] * rng.normal(num_frames, num_joints, 2)
        if self.noise_px > 0:
            pixels = pixels + self.noise_px * size.amin() / REFERENCE_SIDE * rng.normal(num_frames, num_joints, 2)
        visible = torch.ones(num_frames, num_joints, dtype=torch.bool)
        if self.hide_outside:
            visible = ((pixels >= 0) & (pixels <= size - 1)).all(-1)
        if draws[2] < self.dropout_prob:
            visible = visible & ~_span(spans[1], num_frames, LONGEST_DROPOUT)[:, None]
        for limb, draw, span in zip(LIMBS, draws[4:], spans[2:], strict=True):
            if draw < self.limb_prob:
                hidden = torch.zeros(num_joints, dtype=torch.bool)
                hidden[list(skeleton.chain(limb)[-LIMB_JOINTS:])] = True
                visible = visible & ~(_span(span, num_frames, num_frames)[:, None] & hidden)
        if self.missing_prob > 0:
            visible = visible & (rng.uniform(num_frames, num_joints) >= self.missing_prob)
        return pixels * visible[..., None], visible


NO_CORRUPTION = KeypointCorruption(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, hide_outside=False)


def _span(u: Tensor, num_frames: int, longest: int) -> Tensor:
    """(L,) True in one stretch of 1 to `longest` frames from any frame on."""
    start = int(u[0] * num_frames)
    frames = torch.arange(num_frames)
    return (frames >= start) & (frames <= start + int(u[1] * longest))


def _swapped_legs(skeleton: Skeleton) -> list[int]:
    """Order of joints in which the legs have changed sides."""
    legs = {i for i, n in enumerate(skeleton.joint_names) if n.split("_", 1)[-1] in SWAPPED_PARTS}
    return [twin if i in legs else i for i, twin in enumerate(skeleton.mirror_order)]
