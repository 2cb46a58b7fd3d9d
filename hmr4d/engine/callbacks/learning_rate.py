"""Callback that logs the learning rate."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class LogLearningRate(pl.Callback):
    """Logs the learning rate of each step with its loss: `lr`, and `lr_1`, `lr_2`, ... for additional optimizers."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        for number, optimizer in enumerate(trainer.optimizers):
            pl_module.log(f"lr_{number}" if number else "lr", optimizer.param_groups[0]["lr"])
