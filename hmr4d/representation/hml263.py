"""The 263-number motion features of HumanML3D (Guo et al., CVPR 2022): joints to features and back.

Joints are those of skeleton smpl22 in meters, world, y up, at 20 frames per second. L frames give L - 1 rows, since
velocities look one frame ahead. Velocities are per frame, not per second. docs/hml263.md describes the whole format.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rotations import component_planes, quat_wxyz_to_rot6d_cols, rot6d_cols_to_matrix
from hmr4d.motion.canonical import repeat_last_valid
from hmr4d.representation.hml263_kinematics import (
    REST_DIRECTIONS,
    ROTATION_PARENTS,
    Variant,
    body_heading,
    bone_rotations,
    joint_rotations,
    place,
    published_target_offsets,
    retarget,
    turn,
)
from hmr4d.representation.motion2d import MIN_STD
from hmr4d.representation.variant_statistics import VariantStatistics
from hmr4d.utils.precision import full_precision
from hmr4d.utils.tensors import as_tensor

logger = logging.getLogger(__name__)
NUM_FEATURES = 263
FPS = 20.0
SLICES = {
    "root_yaw": slice(0, 1),  # radians per frame, half the change of the heading
    "root_velocity": slice(1, 3),  # meters per frame; x and z in the heading of the next frame
    "root_height": slice(3, 4),  # meters
    "positions": slice(4, 67),  # meters; joints 1..21, x and z from the root, in the heading of the frame
    "rotations": slice(67, 193),  # 6D columns of joints 1..21
    "velocities": slice(193, 259),  # meters per frame; joints 0..21, in the heading of the frame
    "contacts": slice(259, 263),  # 1 on the ground: left ankle, left toe, right ankle, right toe
}
VARIANTS: tuple[str, ...] = get_args(Variant)
FEET = SMPL22.indices("left_ankle", "left_foot", "right_ankle", "right_foot")
CONTACT_SQUARED = 0.002  # square meters; a joint with less movement per frame is in contact
EVALUATOR_BIAS = 25.0  # divisor of the deviations of root and contacts in the published evaluators
CHUNK = 32  # motions encoded at once: intermediate results of more exceed the cache of a core


class Hml263Codec:
    """Encodes joints to features and back.

    Args:
        variant: "humanml3d", the published features, used to train the published evaluators, or "corrected_hips", the
            same with a consistent heading of hips and shoulders.
        target_offsets: (22, 3) meters along the rest directions, the skeleton to which every motion is retargeted
            first. None: the published one.
    """

    def __init__(self, variant: str = "humanml3d", *, target_offsets: Tensor | None = None) -> None:
        self.variant: Variant = _checked_variant(variant)
        self.target_offsets = published_target_offsets() if target_offsets is None else _checked_offsets(target_offsets)

    def encode(
        self,
        joints3d: Tensor | ArrayLike,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        degenerate: Literal["raise", "nan"] = "raise",
    ) -> Tensor:
        """Features of motions; the rows of a motion do not depend on the rest of the batch.

        Args:
            joints3d: (B, L, 22, 3) or (L, 22, 3) meters, world, y up, 20 fps, any position, heading and body size; a
                tensor or an array.
            lengths: (B,) valid frames of each motion, at least 2; None: all. Padding is ignored.
            degenerate: handling of a motion without defined features, because a bone has no length or is exactly
                opposite to its rest direction, or because hips and shoulders do not determine a heading. "nan" writes
                NaN in its rows, like the published files.

        Returns:
            (B, L - 1, 263) or (L - 1, 263) float32, rows from lengths - 1 on zero.

        Raises:
            ValueError: wrong joint count, NaN or infinite positions, too few frames, degenerate motions.
        """
        joints3d = as_tensor(joints3d)
        batch = joints3d[None] if joints3d.ndim == 3 else joints3d
        frames = _checked_lengths(batch, lengths)
        features = torch.zeros(
            (batch.shape[0], batch.shape[1] - 1, NUM_FEATURES), dtype=torch.float32, device=batch.device
        )
        is_bad = torch.zeros(len(batch), dtype=torch.bool, device=batch.device)
        for start in range(0, len(batch), CHUNK):
            chunk = slice(start, start + CHUNK)
            longest = int(frames[chunk].max())
            rows = self._encode_chunk(batch[chunk, :longest], frames[chunk], start)
            features[chunk, : longest - 1] = rows
            is_bad[chunk] = ~_is_finite(rows)
        if degenerate == "raise":
            _refuse(
                is_bad,
                "have no features: a bone has no length or points exactly "
                "against its rest direction, or hips and shoulders give no heading. Drop them, or pass "
                "degenerate='nan'",
            )
        return features[0] if joints3d.ndim == 3 else features

    @full_precision
    def decode(self, features: Tensor) -> Tensor:
        """Joints by the stored positions; the inverse of `encode` up to its placement and retargeting.

        Args:
            features: (..., F, 263), not normalized. Rows of zeros, which pad shorter motions, give a resting root.

        Returns:
            (..., F, 22, 3) meters, y up, above the origin and facing +z in frame 0.
        """
        heading, root = root_path(features)
        local = features[..., SLICES["positions"]].unflatten(-1, (-1, 3))
        joints = turn(_inverse(heading)[..., None, :], local) + _flat(root)[..., None, :]
        return torch.cat([root[..., None, :], joints], -2)

    @full_precision
    def decode_rotations(self, features: Tensor) -> Tensor:
        """Joints (..., F, 22, 3) of features (..., F, 263) as by `decode`, but from the stored rotations and the bone
        lengths of the target skeleton."""
        heading, root = root_path(features)
        offsets = self.target_offsets.to(features)
        local = rot6d_cols_to_matrix(features[..., SLICES["rotations"]].unflatten(-1, (-1, 6)))  # (..., F, 21, 3, 3)
        rotations = [rot6d_cols_to_matrix(quat_wxyz_to_rot6d_cols(heading))]
        joints = [root]
        for bone, (parent, child) in enumerate(SMPL22.bones):
            rotations.append(rotations[ROTATION_PARENTS[bone]] @ local[..., bone, :, :])
            joints.append(joints[parent] + rotations[child] @ offsets[child])
        return torch.stack(joints, -2)

    def _encode_chunk(self, joints3d: Tensor, lengths: Tensor, first: int) -> Tensor:
        """(b, L, 22, 3) with lengths (b,) -> (b, L - 1, 263), rows beyond lengths - 1 zero."""
        num_frames = joints3d.shape[1]
        is_padded = bool((lengths < num_frames).any())
        if is_padded:
            joints3d = repeat_last_valid(joints3d, lengths)
        _refuse(~_is_finite(joints3d), "contain NaN or infinite positions. Repair or drop them", first)
        joints3d = joints3d if joints3d.dtype == torch.float64 else joints3d.float()
        joints = component_planes(joints3d.permute(2, 0, 1, 3))  # (22, b, L, 3)
        placed = place(retarget(joints, self.target_offsets.to(joints), self.variant), self.variant)
        heading = body_heading(placed, self.variant)
        rows = features_of_placed(placed, heading, self.variant)
        if not is_padded:
            return rows
        valid = torch.arange(num_frames - 1, device=rows.device) < (lengths - 1)[:, None]
        return torch.where(valid[..., None], rows, 0.0)


def features_of_placed(placed: Tensor, heading: Tensor, variant: Variant) -> Tensor:
    """Rows (B, L - 1, 263) of motions (22, B, L, 3), retargeted and placed, and their headings (B, L, 4)."""
    now, ahead = heading[:, :-1], heading[:, 1:]
    w, y = now[..., 0], now[..., 2]
    half_yaw = torch.asin((ahead[..., 2] * w - ahead[..., 0] * y).clamp(-1, 1))  # y of ahead conj(now)
    steps = placed[:, :, 1:] - placed[:, :, :-1]
    rotations = quat_wxyz_to_rot6d_cols(joint_rotations(heading, bone_rotations(placed, variant)))
    positions = local_positions(placed, heading)
    feet = steps[list(FEET)]
    parts = [  # (n, B, L - 1) each
        half_yaw[None],
        turn(ahead, steps[0]).movedim(-1, 0)[[0, 2]],
        placed[:1, :, :-1, 1],
        _joints_of_planes(positions[1:, :, :-1]),
        _joints_of_planes(rotations[:, :, :-1]),
        _joints_of_planes(turn(now, steps)),
        ((feet * feet).sum(-1) < CONTACT_SQUARED).float(),
    ]
    return torch.cat(parts).permute(1, 2, 0)


def local_positions(placed: Tensor, heading: Tensor) -> Tensor:
    """Joints (22, B, L, 3) with the root above the origin and facing +z in every frame."""
    return turn(heading, placed - _flat(placed[:1]))


def root_path(features: Tensor) -> tuple[Tensor, Tensor]:
    """Heading quaternions (..., F, 4) and root positions (..., F, 3) in meters, summed up from features (..., F, 263).

    The first row has heading +z, above the origin; yaw and velocity of the last row are not used.
    """
    if features.shape[-1] != NUM_FEATURES:
        raise ValueError(
            f"Features have {features.shape[-1]} numbers a row, expected {NUM_FEATURES}: "
            "joints of 22 points in the HumanML3D format, not normalized."
        )
    half_yaw = features[..., :-1, 0].cumsum(-1)
    half_yaw = torch.cat([torch.zeros_like(features[..., :1, 0]), half_yaw], -1)
    zero = torch.zeros_like(half_yaw)
    heading = torch.stack([half_yaw.cos(), zero, half_yaw.sin(), zero], -1)
    vx, vz = features[..., :-1, SLICES["root_velocity"]].unbind(-1)
    steps = turn(_inverse(heading[..., 1:, :]), torch.stack([vx, torch.zeros_like(vx), vz], -1))
    path = torch.cat([torch.zeros_like(features[..., :1, :3]), steps.cumsum(-2)], -2)
    return heading, torch.stack([path[..., 0], features[..., 3], path[..., 2]], -1)


@dataclass(frozen=True)
class Hml263Statistics(VariantStatistics):
    """Mean and deviation (263,) float32 that features are normalized with; `variant` is that of `Hml263Codec`."""

    representation: str = "hml263"
    fps: float = FPS
    variant: str = "humanml3d"

    def __post_init__(self) -> None:
        self._check("hml263", NUM_FEATURES)
        _checked_variant(self.variant)


def load_statistics(name: str) -> Hml263Statistics:
    """Packaged ones: "hml263_evaluator" of the published evaluators, "hml263_dataset" of the published data set."""
    return Hml263Statistics.load(name)


def fit_statistics(
    features: Iterable[np.ndarray | str | Path],
    *,
    name: str = "measured",
    variant: str = "humanml3d",
    fps: float = FPS,
    source: str = "",
) -> Hml263Statistics:
    """Mean and population deviation over all rows, in float64; deviations are averaged within each of `SLICES`.

    Args:
        features: per clip (F, 263), or the path of such an .npy file. Clips with NaN are excluded, with a warning.
            name, variant, fps, source: recorded with the numbers.

    Raises:
        ValueError: no rows are left, or a clip is not (F, 263).
    """
    num_rows, skipped = 0, []
    mean, squares = np.zeros(NUM_FEATURES), np.zeros(NUM_FEATURES)  # squares: summed squared deviations from the mean
    for number, clip in enumerate(features):
        is_file = isinstance(clip, str | Path)
        rows = np.load(clip, allow_pickle=False) if is_file else np.asarray(clip)
        if rows.ndim != 2 or rows.shape[1] != NUM_FEATURES:
            raise ValueError(
                f"Clip {clip if is_file else number} has shape {rows.shape}, expected (F, {NUM_FEATURES})."
            )
        if not np.isfinite(rows).all():
            skipped.append(str(clip) if is_file else f"number {number}")
        elif len(rows):  # two sets of rows into one, Chan et al. 1983
            own_mean = rows.mean(0, dtype=np.float64)
            share = len(rows) / (num_rows + len(rows))
            squares += np.square(rows - own_mean).sum(0) + np.square(own_mean - mean) * num_rows * share
            mean += (own_mean - mean) * share
            num_rows += len(rows)
    if skipped:
        logger.warning(
            "%d clips contain NaN and are excluded from the statistics: %s", len(skipped), ", ".join(skipped[:8])
        )
    if not num_rows:
        raise ValueError("There are no feature rows to measure; give at least one clip without NaN.")
    std = np.sqrt(squares / num_rows)
    for part in SLICES.values():
        std[part] = std[part].mean()
    std[std < MIN_STD] = 1.0
    return Hml263Statistics(
        name=name,
        mean=mean.astype(np.float32),
        std=std.astype(np.float32),
        variant=variant,
        fps=fps,
        source=source,
        num_rows=num_rows,
        num_skipped=len(skipped),
    )


def with_evaluator_bias(std: np.ndarray, bias: float = EVALUATOR_BIAS) -> np.ndarray:
    """Deviations (263,) as evaluators use them: those of root and contacts divided, by 25 (twice 5) as published."""
    std = std.copy()
    for part in (slice(SLICES["root_yaw"].start, SLICES["root_height"].stop), SLICES["contacts"]):
        std[part] /= bias
    return std


def _inverse(heading: Tensor) -> Tensor:
    return heading * heading.new_tensor([1.0, -1.0, -1.0, -1.0])


def _flat(points: Tensor) -> Tensor:
    """Points (..., 3) with y = 0."""
    return points * points.new_tensor([1.0, 0.0, 1.0])


def _joints_of_planes(x: Tensor) -> Tensor:
    """(J, B, L, C) -> (J C, B, L)."""
    return x.movedim(-1, 1).flatten(0, 1)


def _checked_offsets(offsets: Tensor) -> Tensor:
    """Offsets (22, 3) if they lie along the rest directions."""
    rest = offsets.new_tensor(REST_DIRECTIONS)
    if offsets.shape != rest.shape or not torch.allclose(rest * (rest * offsets).sum(-1, keepdim=True), offsets):
        raise ValueError(
            f"target_offsets {tuple(offsets.shape)} must be (22, 3) in meters, each along its joint's "
            "rest direction; make them with skeleton_offsets(pose)."
        )
    return offsets


def _checked_variant(variant: str) -> Variant:
    if variant not in VARIANTS:
        raise ValueError(f"Unknown variant '{variant}' of the 263 features; choose one of {VARIANTS}.")
    return cast(Variant, variant)


def _checked_lengths(joints3d: Tensor, lengths: Tensor | Sequence[int] | None) -> Tensor:
    """(B,) valid frames, on the device of the joints (B, L, 22, 3)."""
    if joints3d.ndim != 4 or joints3d.shape[-2:] != (SMPL22.num_joints, 3):
        raise ValueError(
            f"joints3d has shape {tuple(joints3d.shape)}, the 263 features need (B, L, 22, 3) or "
            "(L, 22, 3) of skeleton smpl22. Of a body with hands pass joints3d[..., :22, :]."
        )
    if lengths is None:
        lengths = [joints3d.shape[1]] * len(joints3d)
    frames = torch.as_tensor(lengths, device=joints3d.device)
    if frames.dtype.is_floating_point:
        raise ValueError(f"lengths are {frames.dtype}; expected whole numbers of frames, such as int64.")
    if frames.shape != joints3d.shape[:1] or (frames > joints3d.shape[1]).any():
        raise ValueError(
            f"lengths {frames.tolist()} do not fit {len(joints3d)} motions of {joints3d.shape[1]} frames: "
            "expected one length a motion, none longer than the tensor."
        )
    _refuse(frames < 2, "have fewer than 2 frames, from which no velocity can be taken. Drop them")
    return frames


def _is_finite(x: Tensor) -> Tensor:
    """(B, ...) -> (B,) bool, by one sum: several times as fast as asking every number."""
    return x.detach().sum(tuple(range(1, x.ndim))).isfinite()


def _refuse(is_bad: Tensor, why: str, first: int = 0) -> None:
    """ValueError that names the motions (B,) that are bad."""
    if is_bad.any():
        numbers = (is_bad.nonzero().flatten() + first).tolist()
        shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        raise ValueError(f"{len(numbers)} of the motions (number {shown}) {why}.")
