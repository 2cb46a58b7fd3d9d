"""The diffused feature: root-relative 2D points without the root, standardized by fixed statistics.

D = 2 (J - 1) + 2 numbers a frame: joints 1..J-1 as (x, y), then the next root as (x, y).
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

STATISTICS_FOLDER = Path(__file__).parent / "statistics"
MIN_STD = 1e-4  # channels that vary less are left unscaled
AnyStatistics = TypeVar("AnyStatistics", bound="Statistics")


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation (D,) of a feature and their origin.

    Attributes:
        name: identifies the set in logs, cards and checkpoints.
        representation, skeleton, fps: origin of the numbers; fps 0 means not recorded.
    """

    name: str
    mean: np.ndarray
    std: np.ndarray
    representation: str = "motion2d"
    skeleton: str = "smpl22"
    fps: float = 0.0

    @classmethod
    def load(cls: type[AnyStatistics], name_or_path: str | Path) -> AnyStatistics:
        """Reads `<name>.npz` from the packaged folder, or any path.

        Raises:
            FileNotFoundError: the file does not exist; the message lists the packaged names.
            ValueError: the file is damaged.
        """
        path = Path(name_or_path)
        if path.suffix != ".npz":
            path = STATISTICS_FOLDER / f"{name_or_path}.npz"
        if not path.is_file():
            known = sorted(p.stem for p in STATISTICS_FOLDER.glob("*.npz"))
            raise FileNotFoundError(f"No statistics '{name_or_path}'. Give a path to an .npz file or one of {known}.")
        try:
            with np.load(path, allow_pickle=False) as data:
                known = {f.name for f in fields(cls)}  # other keys of extended statistics are ignored
                about = {key: value for key, value in json.loads(str(data["about"])).items() if key in known}
                return cls(mean=data["mean"].astype(np.float32), std=data["std"].astype(np.float32), **about)
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError) as error:
            raise ValueError(
                f"{path} is no readable statistics file ({error}). Expected an .npz with mean, std and about."
            ) from error

    def save(self, path: str | Path) -> None:
        about = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("mean", "std")}
        np.savez(path, mean=self.mean, std=self.std, about=json.dumps(about))

    @classmethod
    def measure(cls, frames: np.ndarray, *, name: str, fps: float) -> Statistics:
        """Statistics of frames (N, D); channels with a deviation under MIN_STD get 1."""
        mean = frames.mean(0, dtype=np.float64)
        std = frames.std(0, dtype=np.float64)
        std[std < MIN_STD] = 1.0
        return cls(name=name, mean=mean.astype(np.float32), std=std.astype(np.float32), fps=fps)

    def normalize(self, features: Tensor) -> Tensor:
        """(..., D) features -> mean 0, deviation 1."""
        return (features - torch.from_numpy(self.mean).to(features)) / torch.from_numpy(self.std).to(features)


class Motion2DCodec(nn.Module):
    """Encodes local 2D points to features and back; statistics travel as buffers outside the state dict.

    Args:
        statistics: packaged name, path, or the value itself.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: str | Path | Statistics) -> None:
        super().__init__()
        self.statistics = statistics if isinstance(statistics, Statistics) else Statistics.load(statistics)
        if self.statistics.representation != "motion2d":
            raise ValueError(
                f"Statistics '{self.statistics.name}' are of representation "
                f"'{self.statistics.representation}', expected 'motion2d'. Choose others."
            )
        self.register_buffer("mean", torch.from_numpy(self.statistics.mean), persistent=False)
        self.register_buffer("std", torch.from_numpy(self.statistics.std), persistent=False)

    @property
    def num_features(self) -> int:
        return self.mean.numel()

    def encode(self, points2d: Tensor) -> Tensor:
        """(..., L, P, 2) points without the root, box units -> (..., L, D = 2 P)."""
        if 2 * points2d.shape[-2] != self.num_features:
            raise ValueError(
                f"Got {points2d.shape[-2]} points a frame, statistics '{self.statistics.name}' have "
                f"{self.num_features // 2}. Drop the root point, or choose statistics of the same skeleton."
            )
        return (points2d.flatten(-2) - self.mean) / self.std

    def decode(self, x: Tensor) -> Tensor:
        """(..., L, D) -> (..., L, P, 2) points without the root, box units."""
        return (x * self.std + self.mean).unflatten(-1, (-1, 2))

    def encode_with_root(self, points2d: Tensor) -> Tensor:
        """(..., L, 1 + P, 2) with the root at point 0, which is always zero, -> (..., L, D)."""
        return self.encode(points2d[..., 1:, :])

    def decode_with_root(self, x: Tensor) -> Tensor:
        """(..., L, D) -> (..., L, 1 + P, 2) with a zero root at point 0."""
        points = self.decode(x)
        return torch.cat([torch.zeros_like(points[..., :1, :]), points], -2)
