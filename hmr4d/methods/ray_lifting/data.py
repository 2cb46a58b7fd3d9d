"""Training batches generated as a whole: motion, cameras and simulated detections."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hmr4d.data.store import NoClipsError
from hmr4d.methods.ray_lifting.cameras import CameraVariety, place_before_cameras
from hmr4d.methods.ray_lifting.detections import DetectionVariety, detect
from hmr4d.methods.ray_lifting.motions import BodyVariety, MotionSource, MotionWindows, standing
from hmr4d.utils.randomness import mix_seed

logger = logging.getLogger(__name__)


class RayBatches(Dataset[dict[str, Any]]):
    """Batches indexed by seed.

    Keys: `joints3d` (B, L, 22, 3) meters in the world of the camera, `valid` (B, L) bool, `lengths` (B,), `contact` (B,
        L, 4) bool, `rest` (B, 4) meters, `size`, `K4`, `T_w2c` of the rig (B, 1, ...), and the detections of view 0:
        `kp2d_obs` (B, L, 22, 2) pixels and `conf` (B, L, 22), 0 for missing.

    Args:
        windows: source of motion windows.
        batch_size: B.
        body, camera, detection: distributions of bodies, cameras and detection errors.
    """

    def __init__(
        self,
        windows: MotionWindows,
        batch_size: int,
        *,
        body: BodyVariety,
        camera: CameraVariety,
        detection: DetectionVariety,
    ) -> None:
        self.windows, self.batch_size = windows, batch_size
        self.body, self.camera, self.detection = body, camera, detection

    def __getitem__(self, seed: int) -> dict[str, Any]:
        generator, fps = torch.Generator().manual_seed(seed), self.windows.fps
        joints3d, valid, rest = self.windows.draw(self.batch_size, self.body, generator)
        contact = standing(joints3d, fps=fps)
        rig, joints3d = place_before_cameras(joints3d, self.camera, generator)
        pixels, seen = detect(rig, joints3d, valid, self.detection, generator, fps=fps)
        return {
            "joints3d": joints3d,
            "valid": valid,
            "lengths": valid.sum(1),
            "contact": contact,
            "rest": rest,
            "size": rig.size,
            "K4": rig.K4,
            "T_w2c": rig.T_w2c,
            "kp2d_obs": pixels,
            "conf": seen.float(),
        }


class _Seeds(Sampler[int]):
    """Seeds of the batches of an epoch, which depend only on (seed, epoch)."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    @property
    def batch_sampler(self) -> _Seeds:
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return (mix_seed(self.seed, self.epoch, k) for k in range(self.count))


class RayData(pl.LightningDataModule):
    """Random training batches, different in every epoch, and fixed validation batches of other clips.

    Args:
        sources: motion stores.
        fps: frame rate of the windows.
        num_frames: frames per window.
        batch_size: windows per batch.
        batches_per_epoch, val_batches: number of batches.
        body, camera, detection: distributions of bodies, cameras and detection errors; None: defaults.
        num_workers: processes that generate batches.
        seed: seed of all random draws.
    """

    def __init__(
        self,
        sources: Sequence[MotionSource],
        *,
        fps: float,
        num_frames: int,
        batch_size: int,
        batches_per_epoch: int,
        val_batches: int = 4,
        body: BodyVariety | None = None,
        camera: CameraVariety | None = None,
        detection: DetectionVariety | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sources, self.fps, self.num_frames, self.batch_size = sources, fps, num_frames, batch_size
        self.batches_per_epoch, self.val_batches = batches_per_epoch, val_batches
        self.variety = {
            "body": body or BodyVariety(),
            "camera": camera or CameraVariety(),
            "detection": detection or DetectionVariety(),
        }
        self.num_workers, self.seed = num_workers, seed

    def batches(self, split: str) -> RayBatches:
        """The batches of a split."""
        windows = MotionWindows(self.sources, split, fps=self.fps, num_frames=self.num_frames)
        return RayBatches(windows, self.batch_size, **self.variety)  # type: ignore[arg-type]

    def _loader(self, split: str, count: int, seed: int) -> DataLoader[Any]:
        seeds = _Seeds(count, seed)
        if self.trainer and split == "train":
            seeds.set_epoch(self.trainer.current_epoch)
        workers = self.num_workers if split == "train" else 0
        return DataLoader(
            self.batches(split), batch_size=None, sampler=seeds, num_workers=workers, persistent_workers=workers > 0
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader("train", self.batches_per_epoch, mix_seed(self.seed, 1))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        try:
            return self._loader("val", self.val_batches, mix_seed(self.seed, 2))
        except NoClipsError as error:
            logger.warning("There is no validation loss: %s", error)
            return []
