"""2D motion of one view as a pose relative to the bounding box and two tokens for its position in the image.

Per frame: J local points (p - root) / S with S the half sides of a box around the body, then the offset
2 root / (W, H) - 1 and the scale 2 f - 1 with f = 2 S / (W, H), each as (x, y): D = 2 (J + 2) numbers. In normalized
image coordinates x_n = 2 u / W - 1, y_n = 2 v / H - 1 a point is local * (scale + 1) / 2 + offset, which is equation 2
of Mocap-2-to-3 (arXiv 2503.03222). The margin of the box and its square shape are choices of this implementation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.representation.bbox import BOX_MARGIN
from hmr4d.utils.tensors import interpolate_gaps

BOXES = ("square", "tight")
NUM_TOKENS = 2  # offset and scale, stored like two more points
MIN_SIDE_RATIO = 0.15  # of a tight box: the short half side over the longer half extent
MIN_FRACTION = 1e-3  # fraction of the image side; minimum box size
MAX_ROOT_GAP = 15  # maximum gap of the root that is interpolated; longer ones hold the last known value
DILATION = 5  # frames of the moving maximum of a smoothed box
SMOOTHING = 2.0  # frames, standard deviation of the Gaussian after it


class BboxPose2DCodec:
    """Pixels of a view to features and back. Decoding inverts encoding for every box, so the choice of boxes is free.

    Args:
        skeleton: of the points; its root joints center the box.
        box: "square" keeps angles in pixels; "tight" fits width and height separately.
        margin: box over body; locals stay within 1 / margin.
        smooth: widen and smooth the box over time, so that single bad joints do not disturb the tokens.
        isotropic: normalize both axes of the image by its longer side, (u - W / 2) / (max(W, H) / 2), not each by its
            own.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        box: str = "square",
        margin: float = BOX_MARGIN,
        smooth: bool = False,
        isotropic: bool = False,
    ) -> None:
        if box not in BOXES:
            raise ValueError(f"Unknown box '{box}'; known: {', '.join(map(repr, BOXES))}.")
        if not margin > 0:
            raise ValueError(f"margin is {margin}; expected a number above 0, usually {BOX_MARGIN}.")
        self.skeleton, self.box, self.margin = skeleton, box, margin
        self.smooth, self.isotropic = smooth, isotropic

    @property
    def num_features(self) -> int:
        """D = 2 (J + 2)."""
        return 2 * (self.skeleton.num_joints + NUM_TOKENS)

    @property
    def num_token_features(self) -> int:
        """Number of the last features, which give the position in the image."""
        return 2 * NUM_TOKENS

    @property
    def num_condition_features(self) -> int:
        """D + J + 2: features and their visibilities."""
        return self.num_features + self.skeleton.num_joints + NUM_TOKENS

    def encode(self, pixels: Tensor, size: Tensor, visible: Tensor | None = None) -> Tensor:
        """Features (..., L, D) of points.

        Args:
            pixels: (..., L, J, 2); invisible ones may be NaN, and become local points of 0.
            size: (..., 2) width and height of the image.
            visible: (..., L, J) bool; None for all. Invisible joints do not affect box and root, which are interpolated
                over frames without them.

        Raises:
            ValueError: the number of joints differs from the skeleton.
        """
        if visible is not None:
            return self._encode(pixels, size, visible)[0]
        self._check(pixels)
        root = pixels[..., list(self.skeleton.root_joints), :].mean(-2)
        away = pixels - root[..., None, :]
        return self._join(root, away, self._half_sides(away.abs().amax(-2), size), size)

    def encode_condition(self, pixels: Tensor, size: Tensor, visible: Tensor) -> Tensor:
        """Condition (..., L, D + J + 2): features with missing locals 0, then visibilities of J points and 2 tokens.

        The offset token is visible if the root is visible in the frame, the scale token if another joint is visible
        too.
        """
        x, root_seen = self._encode(pixels, size, visible)
        scale_seen = root_seen & (visible.sum(-1) > len(self.skeleton.root_joints))
        visibility = torch.cat([visible, root_seen[..., None], scale_seen[..., None]], -1)
        return torch.cat([x, visibility.to(x.dtype)], -1)

    def decode(self, features: Tensor, size: Tensor) -> Tensor:
        """Pixels (..., L, J, 2) of features (..., L, D); size (..., 2)."""
        fraction = ((self.scale(features) + 1) / 2).clamp(min=MIN_FRACTION)
        points_norm = self.local_points(features) * fraction[..., None, :] + self.offset(features)[..., None, :]
        return (points_norm * self._unit(size)[..., None, None, :] + size[..., None, None, :]) / 2

    def local_points(self, features: Tensor) -> Tensor:
        """(..., L, J, 2) box units."""
        return features[..., : -2 * NUM_TOKENS].unflatten(-1, (-1, 2))

    def offset(self, features: Tensor) -> Tensor:
        """(..., L, 2) root in normalized image coordinates."""
        return features[..., -4:-2]

    def scale(self, features: Tensor) -> Tensor:
        """(..., L, 2): twice the box side over the image side, less one."""
        return features[..., -2:]

    def box_side(self, features: Tensor, size: Tensor) -> Tensor:
        """(..., L, 2) sides of the box in pixels."""
        return ((self.scale(features) + 1) / 2).clamp(min=MIN_FRACTION) * self._unit(size)[..., None, :]

    def _unit(self, size: Tensor) -> Tensor:
        """(..., 2) pixels that two units of normalized image coordinates are."""
        return size.amax(-1, keepdim=True).expand_as(size) if self.isotropic else size

    def _encode(self, pixels: Tensor, size: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Features (..., L, D) and whether the root is visible (..., L)."""
        self._check(pixels)
        root, root_seen = self._root(pixels, visible)
        away = torch.where(visible[..., None], pixels - root[..., None, :], 0.0)  # (..., L, J, 2)
        extent = interpolate_gaps(away.abs().amax(-2), visible.any(-1))
        return self._join(root, away, self._half_sides(extent, size), size), root_seen

    def _check(self, pixels: Tensor) -> None:
        if pixels.shape[-2] != self.skeleton.num_joints:
            raise ValueError(
                f"Got {pixels.shape[-2]} joints, skeleton '{self.skeleton.name}' has {self.skeleton.num_joints}. "
                "Choose the skeleton of the points or convert them (hmr4d.body.joint_conversion)."
            )

    def _join(self, root: Tensor, away: Tensor, half: Tensor, size: Tensor) -> Tensor:
        """Features (..., L, D) of roots (..., L, 2), joints from there (..., L, J, 2) and half sides (..., L, 2)."""
        unit = self._unit(size)[..., None, :]
        tokens = torch.stack([(2 * root - size[..., None, :]) / unit, 4 * half / unit - 1], -2)
        return torch.cat([away / half[..., None, :], tokens], -2).flatten(-2)

    def _root(self, pixels: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Root (..., L, 2) in pixels and whether it was seen (..., L).

        If only one hip is visible, the root is this hip plus the temporal median of half the vector between both hips.
        """
        joints = list(self.skeleton.root_joints)
        ends, seen = pixels[..., joints, :], visible[..., joints]
        root, root_seen = ends.mean(-2), seen.all(-1)
        if len(joints) == 2:
            half = (ends[..., 1, :] - ends[..., 0, :]) / 2
            usual = half.masked_fill(~root_seen[..., None], torch.nan).nanmedian(-2, keepdim=True).values
            usual = usual.nan_to_num(0.0)
            for i, sign in ((0, 1.0), (1, -1.0)):
                only = (seen[..., i] & ~seen[..., 1 - i])[..., None]
                root = torch.where(only, ends[..., i, :] + sign * usual, root)
            root_seen = seen.any(-1)
        return interpolate_gaps(root, root_seen, MAX_ROOT_GAP), root_seen

    def _half_sides(self, extent: Tensor, size: Tensor) -> Tensor:
        """Half sides (..., L, 2) of the boxes of bodies that reach `extent` (..., L, 2) from their roots, pixels."""
        longest = extent.amax(-1, keepdim=True)
        half = longest.expand_as(extent) if self.box == "square" else extent
        half = torch.maximum(self.margin * half, MIN_SIDE_RATIO * longest)
        if self.smooth:
            half = _smoothed(half)
        return torch.maximum(half, MIN_FRACTION / 2 * size.amax(-1)[..., None, None])


def _smoothed(half: Tensor) -> Tensor:
    """Moving maximum over `DILATION` frames, then a Gaussian; (..., L, 2), ends held."""
    flat = half.movedim(-2, -1).reshape(-1, 1, half.shape[-2])
    reach = round(4 * SMOOTHING)
    time = torch.arange(-reach, reach + 1, dtype=half.dtype, device=half.device)
    kernel = torch.exp(-0.5 * (time / SMOOTHING) ** 2)
    held = torch.nn.functional.pad(flat, [reach + DILATION // 2] * 2, mode="replicate")
    wide = torch.nn.functional.max_pool1d(held, DILATION, stride=1)
    smooth = torch.nn.functional.conv1d(wide, (kernel / kernel.sum())[None, None])
    return smooth.reshape(half.movedim(-2, -1).shape).movedim(-1, -2)
