"""Callback that writes all generated motions to files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from hmr4d.utils.command_line import command_line
from hmr4d.visualization.motion_files import MotionWriter, check_exports


class MotionWriterCallback(pl.Callback):
    """Passes predicted motions to a `MotionWriter`.

    Args:
        out_dir, export: see `MotionWriter`.
        about: JSON text or object saved with every motion, in addition to model, seed and command.
    """

    def __init__(
        self,
        out_dir: str,
        export: Sequence[str] | str = ("npz", "mp4", "html"),
        about: dict[str, Any] | str | None = None,
    ) -> None:
        check_exports(export)
        self.out_dir, self.export = out_dir, export
        more = json.loads(about) if isinstance(about, str) else about
        self.about = {"command": command_line(), **(more or {})}
        self.writer: MotionWriter | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        items = trainer.datamodule.dataset("test").items  # type: ignore[attr-defined]
        self.writer = MotionWriter(
            self.out_dir,
            self.export,
            about=self.about,
            num_prompts=max(i["prompt"] for i in items) + 1,
            num_samples=max(i["sample"] for i in items) + 1,
        )

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        jobs = list(zip(batch["prompt"].tolist(), batch["sample"].tolist(), strict=True))
        rows = zip(batch["seed"].tolist(), batch["seconds"].tolist(), strict=True)
        about = [{"seed": seed, "seconds": seconds} for seed, seconds in rows]
        assert self.writer is not None
        self.writer.write(outputs, jobs, about)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.writer is not None:
            self.writer.finish()
