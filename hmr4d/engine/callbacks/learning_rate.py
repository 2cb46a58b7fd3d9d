"""The learning rate in the curves of a training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class LogLearningRate(pl.Callback):
    """Logs the learning rate of a step together with its loss: `lr`, of further optimizers `lr_1`, `lr_2`, ..."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        for number, optimizer in enumerate(trainer.optimizers):
            pl_module.log(f"lr_{number}" if number else "lr", optimizer.param_groups[0]["lr"])
