"""Callback that logs the progress of a training, for runs without a terminal."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl

from hmr4d.utils.progress import LineClock

logger = logging.getLogger(__name__)


class ProgressLines(pl.Callback):
    """Logs step, loss and remaining time every half minute."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.clock, self.first = LineClock(), trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.clock.is_due():
            return
        step, total = trainer.global_step, trainer.estimated_stepping_batches
        loss = trainer.callback_metrics.get("train/loss")
        shown = f", loss {float(loss):.4g}" if loss is not None else ""
        rest = ""
        if 0 < total < float("inf"):
            rest = f" of {total:.0f}, {self.clock.remaining(step - self.first, int(total) - self.first)} left"
        logger.info("Step %d%s%s.", step, rest, shown)
