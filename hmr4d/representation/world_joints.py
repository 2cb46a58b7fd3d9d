"""3D motion in the world of a calibrated camera as features: root-relative joints and the root position."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton

PLACE_UNIT = 5.0  # meters; scales root positions to the variation of root-relative joints


class WorldJointsCodec:
    """Joints (..., L, J, 3) in meters to D = 3 (J + 1) features and back: joints less the root, then the root / 5 m.

    Args:
        skeleton: of the joints.
    """

    num_token_features = 3

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton

    @property
    def num_features(self) -> int:
        return 3 * (self.skeleton.num_joints + 1)

    def encode(self, joints3d: Tensor) -> Tensor:
        """(..., L, J, 3) -> (..., L, D)."""
        root = joints3d[..., list(self.skeleton.root_joints), :].mean(-2)
        return torch.cat([(joints3d - root[..., None, :]).flatten(-2), root / PLACE_UNIT], -1)

    def decode(self, features: Tensor) -> Tensor:
        """(..., L, D) -> (..., L, J, 3) meters."""
        place = features[..., -3:] * PLACE_UNIT
        return features[..., :-3].unflatten(-1, (-1, 3)) + place[..., None, :]
