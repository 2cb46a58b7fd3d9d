"""Resuming a training: no batch twice, and with the settings that the configuration names now."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

logger = logging.getLogger(__name__)


class ResumeTraining(pl.Callback):
    """Prepares a checkpoint for going on, before Lightning reads it.

    A checkpoint written at the end of an epoch resumes at the start of the next one. Where `max_steps` ends the
    training and nothing validates, Lightning takes such a checkpoint for an unfinished epoch and trains one batch more
    in it; the progress in the checkpoint is put past the epoch.

    The checkpoint also brings the optimizer's settings of the earlier run. Those that the configuration names replace
    them; every change is logged.

    Args:
        optimizer: settings of the optimizer by name, such as `lr` and `weight_decay`.
    """

    def __init__(self, optimizer: Mapping[str, Any] | None = None) -> None:
        self.optimizer = dict(optimizer or {})

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._renew_optimizers(checkpoint)
        loop = checkpoint["loops"]["fit_loop"]
        epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
        if not batches["is_last_batch"] or batches["current"]["completed"] != batches["current"]["ready"]:
            return
        for part in ("total", "current"):
            epochs[part]["completed"] = epochs[part]["processed"]
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False

    def _renew_optimizers(self, checkpoint: dict[str, Any]) -> None:
        """Writes the settings of the configuration into the saved states of optimizers and schedules."""
        changes: dict[str, tuple[Any, Any]] = {}
        for state in checkpoint["optimizer_states"]:
            for group in state["param_groups"]:
                base = group.get("initial_lr", group["lr"])
                for name, value in self.optimizer.items():
                    wanted = tuple(value) if isinstance(value, list) else value
                    saved = base if name == "lr" else group.get(name, wanted)
                    if (tuple(saved) if isinstance(saved, list) else saved) == wanted:
                        continue
                    changes[name] = (saved, wanted)
                    if name != "lr":
                        group[name] = wanted
                        continue
                    group["lr"] *= wanted / base  # where the schedule is; its next step follows from the new base
                    if "initial_lr" in group:
                        group["initial_lr"] = wanted
        if "lr" in changes:
            for schedule in checkpoint["lr_schedulers"]:
                schedule["base_lrs"] = [changes["lr"][1]] * len(schedule["base_lrs"])
        for name, (saved, wanted) in changes.items():
            logger.info("optimizer.%s is %s from here on; the checkpoint had %s.", name, wanted, saved)
