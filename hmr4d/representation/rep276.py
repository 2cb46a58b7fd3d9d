"""The 276-number motion features of reference motions: a posed body to features and back.

Bodies are in a world with z up, in meters, with the 22 joints of SMPL-X. L frames give L - 1 rows, since velocities
look one frame ahead; they are per frame, not per second, and along the axes of the world. Rotations are stored as
`rot6d_block` (see `published_rotations`). docs/reference_motion.md describes the whole format.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.published_rotations import matrix_to_rot6d_block, rot6d_block_to_matrix
from hmr4d.representation.motion2d import Statistics

NUM_FEATURES = 276
NUM_EXTENDED = 426  # the last 150 columns repeat joints, root and translation in the original frame
FPS = 20.0  # rate of the models and data sets with these features
MIN_STD = 1e-8
SLICES = {
    "body_pose": slice(0, 126),  # rot6d_block of joints 1..21 relative to their parents
    "joints": slice(126, 192),  # meters; joints 0..21
    "joint_velocities": slice(192, 258),  # meters per frame
    "root_rotation": slice(258, 264),  # rot6d_block, body to world
    "root_step": slice(264, 270),  # rot6d_block of R[t + 1] R[t]^T
    "translation": slice(270, 273),  # meters; the pelvis less its place at rest
    "translation_velocity": slice(273, 276),  # meters per frame
}
CONDITION = np.r_[0:126, 258:270]  # columns that a generator is conditioned on: pose, root rotation and its step


@dataclass(frozen=True, eq=False)
class PosedBody276:
    """Content of the features.

    Attributes:
        rotations: (L, 22, 3, 3) of each joint in the frame of its parent; the root's in the world.
        translation: (L, 3) meters; the pelvis minus its rest position.
        joints3d: (L, 22, 3) meters.
    """

    rotations: Tensor
    translation: Tensor
    joints3d: Tensor


def encode(rotations: Tensor, translation: Tensor, joints3d: Tensor) -> Tensor:
    """Features (L - 1, 276) of a posed body, see `PosedBody276`.

    Raises:
        ValueError: shapes that do not belong together, or fewer than two frames.
    """
    shape = (len(joints3d), SMPL22.num_joints)
    given = tuple(rotations.shape), tuple(translation.shape), tuple(joints3d.shape)
    if given != ((*shape, 3, 3), (shape[0], 3), (*shape, 3)):
        raise ValueError(
            f"rotations, translation and joints3d have shapes {given}; expected (L, 22, 3, 3), (L, 3) and (L, 22, 3)."
        )
    if shape[0] < 2:
        raise ValueError("There is one frame, of which no velocity can be taken. Give a motion of at least two frames.")
    root = rotations[:, 0]
    return torch.cat(
        [
            matrix_to_rot6d_block(rotations[:-1, 1:]).flatten(1),
            joints3d[:-1].flatten(1),
            joints3d.diff(dim=0).flatten(1),
            matrix_to_rot6d_block(root[:-1]),
            matrix_to_rot6d_block(root[1:] @ root[:-1].mT),
            translation[:-1],
            translation.diff(dim=0),
        ],
        -1,
    )


def decode(features: Tensor, *, from_velocities: bool = False, extra_frame: bool = False) -> PosedBody276:
    """The posed body of features (N, 276) or (N, 426).

    Args:
        features: not normalized.
        from_velocities: root rotation, translation and joints are integrated from the first row; the pose of the body
            is always read directly. Generated features are decoded like this because their velocities are smoother.
        extra_frame: also return the frame after the last row, with the body pose of the last row; positions are then
            integrated, independent of `from_velocities`.

    Returns:
        N frames, or N + 1, in the dtype of the features.

    Raises:
        ValueError: another width, or no rows.
    """
    features = checked_features(features)
    parts = {name: features[:, part] for name, part in SLICES.items()}
    body = rot6d_block_to_matrix(parts["body_pose"].unflatten(-1, (-1, 6)))
    root = rot6d_block_to_matrix(parts["root_rotation"])
    places = torch.cat([parts["translation"], parts["joints"]], -1)
    if from_velocities or extra_frame:
        count = len(features) + extra_frame
        steps = torch.cat([parts["translation_velocity"], parts["joint_velocities"]], -1)
        places = torch.cat([places[:1], steps]).cumsum(0)[:count]
        root = _turned(root[0], rot6d_block_to_matrix(parts["root_step"]))[:count]
    if extra_frame:
        body = torch.cat([body, body[-1:]])
    joints3d = places[:, 3:].unflatten(-1, (-1, 3))
    return PosedBody276(torch.cat([root[:, None], body], 1), places[:, :3], joints3d)


def _turned(first: Tensor, steps: Tensor) -> Tensor:
    """(N + 1, 3, 3): a rotation (3, 3), then that after each of the steps (N, 3, 3)."""
    turned = [first]
    for step in steps:
        turned.append(step @ turned[-1])
    return torch.stack(turned)


def checked_features(features: Tensor) -> Tensor:
    """The (N, 276) features of (N, 276) or (N, 426) ones; ValueError for anything else."""
    if features.ndim != 2 or features.shape[-1] not in (NUM_FEATURES, NUM_EXTENDED) or not len(features):
        raise ValueError(
            f"Features have shape {tuple(features.shape)}; expected (N, {NUM_FEATURES}), or (N, {NUM_EXTENDED}) of the "
            "extended form, at least one row."
        )
    return features[:, :NUM_FEATURES]


def rest_joints(features: Tensor, pelvis: Tensor) -> Tensor:
    """Rest joints (22, 3) of the body that features (N, 276) were made with.

    The offset of each joint is that in the frame of its parent, the median over the rows; the pelvis is not in the
    features.

    Args:
        features: features of one body. pelvis: (3,) meters, its rest position.
    """
    body = decode(features.double())
    world = [body.rotations[:, 0]]
    rest = [pelvis.double()]
    for joint, parent in enumerate(SMPL22.parents[1:], 1):
        offset = world[parent].mT @ (body.joints3d[:, joint] - body.joints3d[:, parent])[..., None]
        rest.append(rest[parent] + offset[..., 0].median(0).values)
        world.append(world[parent] @ body.rotations[:, joint])
    return torch.stack(rest).to(features)


@dataclass(frozen=True)
class Rep276Statistics(Statistics):
    """Mean and deviation (276,) float32 that features are normalized with."""

    representation: str = "rep276"
    fps: float = FPS

    def __post_init__(self) -> None:
        shapes = self.mean.shape, self.std.shape
        if self.representation != "rep276" or shapes != ((NUM_FEATURES,), (NUM_FEATURES,)):
            raise ValueError(
                f"Statistics '{self.name}' are of representation '{self.representation}' with shapes {shapes}; "
                f"expected 'rep276' and ({NUM_FEATURES},) each."
            )


def load_statistics(place: str | Path) -> Rep276Statistics:
    """Statistics from our .npz, or from a published folder with mean.npy and std.npy.

    Raises:
        FileNotFoundError: missing files; the message lists all of them. ValueError: damaged, or of other features.
    """
    place = Path(place)
    if not place.is_dir():
        return Rep276Statistics.load(place)
    paths = [place / f"{name}.npy" for name in ("mean", "std")]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"Statistics not found: {', '.join(missing)}.")
    try:
        mean, std = (np.load(path, allow_pickle=False).astype(np.float32).reshape(-1) for path in paths)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{place} contains no readable mean.npy and std.npy ({error}).") from error
    return Rep276Statistics(place.name, mean, std)


def measure_statistics(rows: np.ndarray, *, name: str, fps: float = FPS) -> Rep276Statistics:
    """Mean and sample deviation (one less in the divisor) of rows (N, 276), N > 1; deviations are at least MIN_STD."""
    if rows.ndim != 2 or rows.shape[1] != NUM_FEATURES or len(rows) < 2:
        raise ValueError(f"Rows have shape {rows.shape}; expected (N, {NUM_FEATURES}) with at least two of them.")
    mean, std = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64, ddof=1).clip(min=MIN_STD)
    return Rep276Statistics(name, mean.astype(np.float32), std.astype(np.float32), fps=fps)
