"""One view's 2D motion as plain points in normalized image coordinates: what `BboxPose2DCodec` is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.representation.bbox import BOX_MARGIN


class ImagePose2DCodec:
    """Pixels of a view to 2 u / W - 1, 2 v / H - 1 of every joint and back, D = 2 J; used like `BboxPose2DCodec`.

    Args:
        skeleton: of the points; its root joints are the middle of the box.
        margin: box over body.
    """

    num_token_features = 0

    def __init__(self, skeleton: Skeleton, *, margin: float = BOX_MARGIN) -> None:
        self.skeleton, self.margin = skeleton, margin

    @property
    def num_features(self) -> int:
        """D = 2 J."""
        return 2 * self.skeleton.num_joints

    @property
    def num_condition_features(self) -> int:
        """D + J: features and visibilities."""
        return self.num_features + self.skeleton.num_joints

    def encode(self, pixels: Tensor, size: Tensor, visible: Tensor | None = None) -> Tensor:
        """Features (..., L, D) of pixels (..., L, J, 2), size (..., 2); 0 where not `visible` (..., L, J)."""
        if pixels.shape[-2] != self.skeleton.num_joints:
            raise ValueError(
                f"Got {pixels.shape[-2]} joints, skeleton '{self.skeleton.name}' has {self.skeleton.num_joints}. "
                "Choose the skeleton of the points or convert them (hmr4d.body.joint_conversion)."
            )
        points = 2 * pixels / size[..., None, None, :] - 1
        return (points if visible is None else torch.where(visible[..., None], points, 0.0)).flatten(-2)

    def encode_condition(self, pixels: Tensor, size: Tensor, visible: Tensor) -> Tensor:
        """Condition (..., L, D + J): features with missing points 0, then visibilities."""
        return torch.cat([self.encode(pixels, size, visible), visible.to(pixels.dtype)], -1)

    def decode(self, features: Tensor, size: Tensor) -> Tensor:
        """Pixels (..., L, J, 2) of features (..., L, D); size (..., 2)."""
        return (features.unflatten(-1, (-1, 2)) + 1) / 2 * size[..., None, None, :]

    def box_side(self, features: Tensor, size: Tensor) -> Tensor:
        """(..., L, 2) sides in pixels of a square box around the root that contains the body."""
        pixels = self.decode(features, size)
        root = pixels[..., list(self.skeleton.root_joints), :].mean(-2, keepdim=True)
        side = 2 * self.margin * (pixels - root).abs().amax((-1, -2))
        return side[..., None].expand(*side.shape, 2)
