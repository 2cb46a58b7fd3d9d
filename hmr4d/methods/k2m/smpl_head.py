"""Conversion of decoder outputs to body parameters in the camera frame: x right, y down, z forward, meters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hmr4d.body.keypoint_body import NUM_BETAS
from hmr4d.geometry.rotations import rot6d_cols_to_matrix, rotvec_to_matrix
from hmr4d.methods.k2m.projection import FOCAL_LENGTH
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.precision import full_precision

ROOT_ROWS = slice(NUM_BETAS, NUM_BETAS + 6)  # positions of the root's six numbers in the output
NUM_JOINTS = 24  # of SMPL
SHOULDERS = {16: -1.1, 17: 1.1}  # radians about z; initial rotation that lowers the arms
PERSON_HEIGHT = 1.7  # meters
IMAGE_SHARE = 0.4  # fraction of the longer image side that a person fills at the initial depth
MAX_LOG_DEPTH = 2.5
RAW_DEPTH = 20.0  # meters; initial depth of the "raw" translation
RotationKind = Literal["axis_angle", "root_6d", "6d"]
TranslationKind = Literal["image_scale", "raw", "path"]
PATH_UNIT = (0.05, 0.05, 0.25)  # meters per frame; the image shows depth least, so depth has the largest unit
_UPRIGHT_6D = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # first two columns of a half turn about x


def rest_pose() -> Tensor:
    """(69,) axis-angle components of the joints below the root of a standing person with hanging arms."""
    pose = torch.zeros(NUM_JOINTS - 1, 3)
    for joint, angle in SHOULDERS.items():
        pose[joint - 1, 2] = angle
    return pose.flatten()


def reference_depth(size: Tensor) -> Tensor:
    """Depth (B, 1), meters, at which a person fills IMAGE_SHARE of the longer side of an image of `size` (B, 2),
    pixels."""
    return FOCAL_LENGTH * PERSON_HEIGHT / (IMAGE_SHARE * size.amax(-1, keepdim=True))


@dataclass(frozen=True, eq=False)
class BodyParameters:
    """Body parameters of every frame, in the camera frame.

    Attributes:
        betas: (B, F, 10) shape coefficients.
        pose: (B, F, 72) axis-angle, root first.
        rotations: (B, F, 24, 3, 3) the pose as matrices.
        translation: (B, F, 3) meters.
    """

    betas: Tensor
    pose: Tensor
    rotations: Tensor
    translation: Tensor

    def packed(self) -> Tensor:
        """Concatenated betas, pose and translation (B, F, 85)."""
        return torch.cat([self.betas, self.pose, self.translation], -1)


class SmplHead(nn.Module):
    """Converts raw outputs (B, F, `dim`) to body parameters.

    Zeros give an upright person at the image center with lowered arms, facing the camera.

    Args:
        rotation: "axis_angle": 24 x 3 numbers. "root_6d": two matrix columns for the root, which are continuous over a
            full turn, and 23 x 3 numbers. "6d": 24 x 6 numbers.
        translation: "image_scale": image position of the root and logarithm of its depth. "raw": meters. "path":
            velocity, which is summed; the path is then centered in the image at the depth of an upright person and
            independent of the camera, see `placement`. Body height is not observable in this case, so the first shape
            coefficient is 0.
    """

    bias: Tensor

    def __init__(self, rotation: RotationKind = "axis_angle", translation: TranslationKind = "image_scale") -> None:
        super().__init__()
        sizes = {"axis_angle": 3 * NUM_JOINTS, "root_6d": 6 + 3 * (NUM_JOINTS - 1), "6d": 6 * NUM_JOINTS}
        if rotation not in sizes or translation not in ("image_scale", "raw", "path"):
            raise ValueError(
                f"rotation is '{rotation}' and translation '{translation}'; expected one of {list(sizes)} and of "
                "'image_scale', 'raw', 'path'."
            )
        self.rotation: RotationKind = rotation
        self.translation: TranslationKind = translation
        self.dim = NUM_BETAS + sizes[rotation] + 3
        self.register_buffer("bias", self._bias(), persistent=False)

    def _bias(self) -> Tensor:
        pose = torch.cat([torch.tensor([math.pi, 0.0, 0.0]), rest_pose()]).unflatten(0, (NUM_JOINTS, 3))
        if self.rotation == "6d":
            return rotvec_to_matrix(pose)[..., :2].mT.flatten()
        if self.rotation == "root_6d":
            return torch.cat([torch.tensor(_UPRIGHT_6D), pose[1:].flatten()])
        return pose.flatten()

    @full_precision
    def forward(self, raw: Tensor, size: Tensor) -> BodyParameters:
        """Body parameters from raw outputs (B, F, `dim`), in images of width and height `size` (B, 2), pixels."""
        raw = raw.float()
        betas, turns, place = raw.split([NUM_BETAS, self.dim - NUM_BETAS - 3, 3], -1)
        if self.translation == "path":
            betas = torch.cat([torch.zeros_like(betas[..., :1]), betas[..., 1:]], -1)
        turns = turns + self.bias.to(turns)
        if self.rotation == "axis_angle":
            rotations, pose = rotvec_to_matrix(turns.unflatten(-1, (NUM_JOINTS, 3))), turns
        elif self.rotation == "root_6d":
            root = rot6d_cols_to_matrix(turns[..., :6])
            below = rotvec_to_matrix(turns[..., 6:].unflatten(-1, (NUM_JOINTS - 1, 3)))
            rotations = torch.cat([root[..., None, :, :], below], -3)
            pose = torch.cat([roma.rotmat_to_rotvec(root.detach()), turns[..., 6:]], -1)
        else:
            rotations = rot6d_cols_to_matrix(turns.unflatten(-1, (NUM_JOINTS, 6)))
            pose = roma.rotmat_to_rotvec(rotations).flatten(-2)
        return BodyParameters(betas, pose, rotations, self._place(place, size))

    def _place(self, raw: Tensor, size: Tensor) -> Tensor:
        if self.translation == "raw":
            return raw + raw.new_tensor([0.0, 0.0, RAW_DEPTH])
        side, reference = size.amax(-1)[:, None, None], reference_depth(size)[..., None]
        if self.translation == "path":
            path = raw.new_tensor(PATH_UNIT) * raw.cumsum(1)
            path = path - path.mean(1, keepdim=True)
            return torch.cat([path[..., :2], path[..., 2:] + reference], -1)
        depth = reference * raw[..., 2:].clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH).exp()
        return torch.cat([raw[..., :2] * depth * side / (2 * FOCAL_LENGTH), depth], -1)
