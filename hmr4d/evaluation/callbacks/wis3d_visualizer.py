"""Generated motions as folders for the Wis3D viewer, in the published layout."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from hmr4d.evaluation.text_to_motion_data import ScoredClips
from hmr4d.motion.canonical import align_to_floor, face_first_frame
from hmr4d.motion.motion import MotionBatch
from hmr4d.motion.resampling import resample_positions
from hmr4d.visualization.wis3d_scene import import_wis3d, motion_figures, sequence_name, write_sequence

logger = logging.getLogger(__name__)


class Wis3DMotion2Dto3DVisualizer(pl.Callback):
    """Writes one Wis3D sequence per generated motion: `<number>_<first 20 characters of the text>`.

    A motion faces +z in its first frame, and its valid frames define the floor. The published viewer also used frames
    beyond the length of a motion, so short motions of a batch floated.

    Args:
        name: name of the source of the motions; part of the mesh names.
        subset: motions go to `<folder>_<subset>`; without a subset to `<folder>`.
        max_len: frames of a sequence; longer motions are cut, shorter ones hold their last frame.
        max_count: largest number of written motions.
        plot_2D: also write the views of the cameras and the 2D motion in front of each camera.
        folder: folder name without the subset.

    Raises:
        ImportError: wis3d is not installed.
        ValueError: `max_len` or `max_count` is not positive.
    """

    def __init__(
        self,
        name: str = "ours",
        subset: str | None = None,
        max_len: int = 300,
        max_count: int = 1000,
        plot_2D: bool = False,
        folder: str = "outputs/wis3d",
    ) -> None:
        if max_len < 1 or max_count < 1:
            raise ValueError(f"max_len is {max_len} and max_count {max_count}; both must be at least 1.")
        import_wis3d()  # fails before the motion is generated
        self.name, self.max_len, self.max_count, self.plot_2d = name, max_len, max_count, plot_2D
        self.folder = Path(f"{folder}_{subset}" if subset else folder)
        self.count = 0

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._write(trainer, outputs, [None] * len(outputs))

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        clips = trainer.datamodule.dataset("test")  # type: ignore[attr-defined]
        jobs = zip(batch["repeat"].tolist(), batch["item"].tolist(), strict=True)
        left = self._left(trainer)
        real = [real_motion(clips, *job, fps=outputs.fps) if i < left else None for i, job in enumerate(jobs)]
        self._write(trainer, outputs, real)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._say(trainer)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._say(trainer)

    def _say(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero and self.count:
            logger.info("To view the motions: wis3d --vis_dir %s --host 127.0.0.1 --port 19090", self.folder)

    def _write(self, trainer: pl.Trainer, outputs: MotionBatch, real: list[Tensor | None]) -> None:
        for row in range(min(len(outputs), self._left(trainer))):
            given = outputs[row]
            joints3d = align_to_floor(face_first_frame(given.joints3d.cpu(), given.skeleton))
            motion = replace(given, joints3d=joints3d, pose=None)
            figures = motion_figures(
                motion,
                name=self.name,
                num_frames=self.max_len,
                real=real[row],
                views=seen(outputs, row) if self.plot_2d else None,
            )
            if motion.num_frames > self.max_len:
                logger.warning("'%s' is shown up to frame %d of %d.", motion.text, self.max_len, motion.num_frames)
            number = (
                self.count * trainer.world_size + trainer.global_rank
            )  # unique, because all processes write to the folder
            write_sequence(self.folder, sequence_name(number, motion.text), figures, motion.skeleton)
            self.count += 1

    def _left(self, trainer: pl.Trainer) -> int:
        """Number of motions that this process may still write."""
        share = len(range(trainer.global_rank, self.max_count, trainer.world_size))
        return share - self.count


def seen(outputs: MotionBatch, row: int) -> dict[str, Any]:
    """Arguments of `motion_figures` for the views of a motion.

    Raises:
        ValueError: the motion has no views.
    """
    if outputs.joints2d is None or "T_w2c" not in outputs.extras:
        raise ValueError("plot_2D shows the views of a motion, but these motions have none. Set plot_2D=false.")
    length, extras = int(outputs.lengths[row]), outputs.extras
    return {
        "joints2d": outputs.joints2d[row, :, :length].cpu(),
        "camera_joints3d": extras["camera_joints3d"][row, :length].cpu(),
        "T_w2c": extras["T_w2c"][row].cpu(),
        "is_perspective": extras["is_perspective"],
    }


def real_motion(clips: ScoredClips, repeat: int, item: int, *, fps: float) -> Tensor:
    """Joints (L, J, 3), meters, of the recorded excerpt that an item is scored against, facing +z, at rate `fps`."""
    joints3d, rows = clips.real(item), clips.excerpt(repeat, item).rows
    if rows is not None:
        first, count = rows
        joints3d = joints3d[first : first + count + 1]  # a motion has one frame more than feature rows
    faced = face_first_frame(joints3d)
    return torch.from_numpy(resample_positions(faced.numpy(), clips.real_fps, fps))
