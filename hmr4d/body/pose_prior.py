"""What poses people take: a bank of examples and a Gaussian over joint rotations, learned from motion."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.inverse_kinematics import clip_rest_joints, solve_pose
from hmr4d.body.joint_conventions import METADATA_KEY, convention_metadata, convention_of
from hmr4d.body.kinematics import posed_joints
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.files import atomic_path
from hmr4d.utils.tensors import as_tensor

FORMAT = "hmr4d-pose-prior"
DEVIATION_FLOOR = 0.05  # added to every standard deviation of a rotation's entries: unseen poses stay possible
POOL_SIZE = 12_000  # poses from which the bank is chosen


@dataclass(frozen=True)
class PosePrior:
    """Poses of one body that faces +z, its pelvis at the origin.

    Attributes:
        rest_joints: (22, 3) meters, rest pose: the median proportions of the motion at the size of the neutral body.
        rotations: (K, 22, 3, 3) of the bank's poses, each joint in the frame of its parent. mean: (126,) mean rotations
            of all joints except the root, first two columns of each.
        whitening: (126, 126) W with |W (x - mean)|^2 the squared Mahalanobis distance.
        source: origin and license of the poses.
        joint_convention: of the motion, see `joint_conventions`; None: that of the bodies.
    """

    rest_joints: Tensor
    rotations: Tensor
    mean: Tensor
    whitening: Tensor
    source: str
    joint_convention: str | None = None

    @cached_property
    def joints3d(self) -> Tensor:
        """(K, 22, 3) meters."""
        nowhere = self.rotations.new_zeros(len(self.rotations), 3)
        joints3d = posed_joints(self.rotations, nowhere, self.rest_joints)
        return joints3d - joints3d[:, :1]

    def distance(self, rot6d_cols: Tensor) -> Tensor:
        """(...) squared Mahalanobis distance per dimension of joint rotations (..., 21, 6); about 1 for usual poses."""
        return ((rot6d_cols.flatten(-2) - self.mean) @ self.whitening.mT).square().mean(-1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an `.npz` file."""
        arrays = {n: getattr(self, n).numpy().astype(np.float32) for n in ("rest_joints", "mean", "whitening")}
        arrays["rotations"] = self.rotations.numpy().astype(np.float16)
        with atomic_path(path) as temporary:
            convention_entries = convention_metadata(self.joint_convention)
            np.savez_compressed(temporary, format=FORMAT, source=self.source, **convention_entries, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PosePrior:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: the file does not exist; the message explains how to create it. ValueError: the file is
                damaged or not a pose prior.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"Pose prior not found: {path}. Create it with: hmr4d prepare pose-prior --store "
                f"inputs/bandai_namco --out {path}"
            )
        try:
            with np.load(path, allow_pickle=False) as data:
                if str(data["format"]) != FORMAT:
                    raise ValueError(f"its format is {data['format']}")
                values = {
                    n: torch.from_numpy(data[n].astype(np.float32))
                    for n in ("rest_joints", "rotations", "mean", "whitening")
                }
                convention = convention_of({k: str(data[k]) for k in (METADATA_KEY,) if k in data})
                return cls(**values, source=str(data["source"]), joint_convention=convention)
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no pose prior: {error}. Make it again (docs/data.md).") from error


def fit_pose_prior(
    clips: Iterable[Tensor | np.ndarray],
    *,
    source: str,
    joint_convention: str | None = None,
    size: int = 1024,
    stride: int = 4,
    seed: int = 0,
) -> PosePrior:
    """A prior from motion.

    The bank is selected by farthest-point sampling, so that it contains rare and common poses.

    Args:
        clips: (L, 22, 3) meters, y up, any body size and heading.
        source: origin and license.
        joint_convention: convention of their joints; None: that of the bodies.
        size: most poses in the bank.
        stride: every which frame is looked at.
        seed: of the pool that a bank is chosen from.

    Raises:
        ValueError: no clips.
    """
    template = load_light_body().rest_joints.float()
    found = [_local_rotations(as_tensor(clip).float()[::stride], template) for clip in clips]
    if not found:
        raise ValueError("There is no motion to learn poses from; give a store with clips.")
    rotations = torch.cat([clip for clip, _ in found])
    rest = torch.stack([_resized(own, template) for _, own in found]).median(0).values
    x = rotations[:, 1:, :, :2].mT.flatten(1).double()
    mean = x.mean(0)
    covariance = (x - mean).mT @ (x - mean) / len(x) + DEVIATION_FLOOR**2 * torch.eye(x.shape[-1], dtype=x.dtype)
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance))
    order = torch.randperm(len(rotations), generator=torch.Generator().manual_seed(seed))[:POOL_SIZE]
    pool = rotations[order]
    chosen = pool[_farthest(posed_joints(pool, pool.new_zeros(len(pool), 3), rest), size)]
    return PosePrior(rest, chosen, mean.float(), whitening.float(), source, joint_convention)


def heading_rotation(yaw: Tensor) -> Tensor:
    """(..., 3, 3) turns about +y by (...,) radians."""
    return roma.rotvec_to_rotmat(yaw[..., None] * yaw.new_tensor([0.0, 1.0, 0.0]))


def _resized(rest: Tensor, template: Tensor) -> Tensor:
    """Rest joints (22, 3) scaled so that all bones together are as long as the template's."""
    starts, ends = (list(joints) for joints in zip(*SMPL22.bones, strict=True))
    total, wanted = ((j[ends] - j[starts]).norm(dim=-1).sum() for j in (rest, template))
    return rest * (wanted / total)


def _local_rotations(joints3d: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 22, 3, 3) of a clip (n, 22, 3), the root rotated so that the hips face +z, and its rest joints (22, 3)."""
    rest = clip_rest_joints(joints3d, template)
    rotations = solve_pose(joints3d, rest).rotations.clone()
    left, right = SMPL22.indices("left_hip", "right_hip")
    across = joints3d[:, left] - joints3d[:, right]  # to +x of a body that faces +z
    yaw = torch.atan2(across[:, 2], across[:, 0])
    rotations[:, 0] = heading_rotation(yaw) @ rotations[:, 0]
    return rotations, rest


def _farthest(joints3d: Tensor, count: int) -> Tensor:
    """Indices of poses (K, 22, 3), each the one farthest from those before it; the first is nearest to the mean."""
    x = (joints3d - joints3d[:, :1]).flatten(1)
    chosen = [int((x - x.mean(0)).square().sum(-1).argmin())]
    distance = (x - x[chosen[0]]).square().sum(-1)
    while len(chosen) < min(count, len(x)):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (x - x[chosen[-1]]).square().sum(-1))
    return torch.tensor(chosen)
