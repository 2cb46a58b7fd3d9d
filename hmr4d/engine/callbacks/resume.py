"""Callback for resumed trainings: no batch is repeated, and current optimizer settings apply."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl

logger = logging.getLogger(__name__)


class ResumeTraining(pl.Callback):
    """Prepares a checkpoint for resuming, before Lightning reads it.

    A checkpoint written at the end of an epoch resumes at the start of the next one. If `max_steps` ends the training
    and there is no validation, Lightning treats such a checkpoint as an unfinished epoch and trains one more batch of
    it. This callback sets the progress in the checkpoint to the end of the epoch.

    The checkpoint also contains the optimizer settings of the earlier run. Settings of the configuration replace them;
    every change is logged.

    Args:
        optimizer: name -> optimizer setting, such as `lr` and `weight_decay`.
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

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resets the learning rates to their base if the earlier run had a schedule and this one has none."""
        if trainer.lr_scheduler_configs:
            return
        for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
            if group.get("initial_lr", group["lr"]) != group["lr"]:
                logger.info("The learning rate is %s from here on, without a schedule.", group["initial_lr"])
                group["lr"] = group["initial_lr"]

    def _renew_optimizers(self, checkpoint: dict[str, Any]) -> None:
        """Writes the settings of the configuration into the saved states of optimizers and schedules.

        The first parameter group determines which settings changed. Groups with another learning rate keep their ratio
        to the first group. Other settings change in all groups that had the value of the first group.
        """
        groups = [group for state in checkpoint["optimizer_states"] for group in state["param_groups"]]
        for name, value in self.optimizer.items() if groups else ():
            key = "initial_lr" if name == "lr" and "initial_lr" in groups[0] else name
            saved, wanted = (_comparable(x) for x in (groups[0].get(key, value), value))
            if saved == wanted:
                continue
            logger.info("optimizer.%s is %s from here on; the checkpoint had %s.", name, wanted, saved)
            if name == "lr":
                _scale_rates(checkpoint, groups, saved, wanted)
                continue
            for group in groups:
                if name in group and _comparable(group[name]) == saved:
                    group[name] = wanted


def _comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _scale_rates(checkpoint: dict[str, Any], groups: Sequence[dict[str, Any]], saved: float, wanted: float) -> None:
    """Scales all learning rates, and the base rates of schedules, by `wanted` / `saved`."""
    if not saved:
        raise ValueError(
            f"The checkpoint was trained with optimizer.lr=0, so optimizer.lr={wanted} cannot replace it. Start a new "
            "run from it with ckpt_path=."
        )

    def scaled(rate: float) -> float:
        return wanted if rate == saved else rate * wanted / saved

    for group in groups:
        for key in ("lr", "initial_lr"):
            if key in group:
                group[key] = scaled(
                    group[key]
                )  # "lr" is the current value of the schedule; the base rate determines the next one
    for schedule in checkpoint["lr_schedulers"]:
        if "base_lrs" in schedule:
            schedule["base_lrs"] = [scaled(rate) for rate in schedule["base_lrs"]]
