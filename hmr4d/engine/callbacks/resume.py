"""Resuming a training: no batch twice, and with the settings that the configuration names now."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
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

        What the configuration changes is told by the first group of parameters. Groups with a rate of their own keep
        their share of the first one's; other settings change in the groups that had the value of the first.
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
    """Brings all rates, and the base rates that schedules start from, from `saved` to `wanted`."""
    if not saved:
        raise ValueError(
            f"The checkpoint was trained with optimizer.lr=0, so that optimizer.lr={wanted} cannot be put in its "
            "place. Start a new run from it with ckpt_path=."
        )

    def scaled(rate: float) -> float:
        return wanted if rate == saved else rate * wanted / saved

    for group in groups:
        for key in ("lr", "initial_lr"):
            if key in group:
                group[key] = scaled(group[key])  # "lr" is where the schedule is; its next step follows from the base
    for schedule in checkpoint["lr_schedulers"]:
        if "base_lrs" in schedule:
            schedule["base_lrs"] = [scaled(rate) for rate in schedule["base_lrs"]]
