"""Resuming without training a batch twice."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class ResumeAtEpochStart(pl.Callback):
    """A checkpoint written at the end of an epoch resumes at the start of the next one.

    Where `max_steps` ends the training and nothing validates, Lightning takes such a checkpoint for an unfinished epoch
    and trains one batch more in it. The progress in the checkpoint is put past the epoch before Lightning reads it.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        loop = checkpoint["loops"]["fit_loop"]
        epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
        if not batches["is_last_batch"] or batches["current"]["completed"] != batches["current"]["ready"]:
            return
        for part in ("total", "current"):
            epochs[part]["completed"] = epochs[part]["processed"]
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
