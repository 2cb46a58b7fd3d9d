"""What resuming writes into the saved states of optimizers and schedules."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from hmr4d.engine.callbacks.resume import ResumeTraining

DONE = {"is_last_batch": False, "current": {"ready": 1, "completed": 1}}


def checkpoint(*optimizers: Optimizer, schedules: tuple[Any, ...] = ()) -> dict[str, Any]:
    """What `ResumeTraining` reads of a checkpoint."""
    loops = {"fit_loop": {"epoch_progress": {}, "epoch_loop.batch_progress": DONE}}
    states = [optimizer.state_dict() for optimizer in optimizers]
    return {"loops": loops, "optimizer_states": states, "lr_schedulers": [s.state_dict() for s in schedules]}


def renewed(saved: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """The groups of parameters of a checkpoint after it was prepared for other settings."""
    ResumeTraining(settings).on_load_checkpoint(None, None, saved)  # type: ignore[arg-type]
    return [group for state in saved["optimizer_states"] for group in state["param_groups"]]


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(2))]


def test_groups_with_another_rate_keep_their_ratio() -> None:
    groups = [{"params": parameters()}, {"params": parameters(), "lr": 1e-4, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=1e-3, weight_decay=0.01)
    same = renewed(checkpoint(optimizer), lr=1e-3, weight_decay=0.01)
    assert [(g["lr"], g["weight_decay"]) for g in same] == [(1e-3, 0.01), (1e-4, 0.0)]
    other = renewed(checkpoint(optimizer), lr=5e-4, weight_decay=0.1)
    assert [g["weight_decay"] for g in other] == [0.1, 0.0]
    assert [g["lr"] for g in other] == pytest.approx([5e-4, 5e-5])


def test_several_optimizers_keep_the_ratio_of_their_rates_in_the_warm_up() -> None:
    optimizers = [AdamW(parameters(), lr=1e-3), SGD(parameters(), lr=1e-2)]
    schedules = tuple(LambdaLR(optimizer, lambda step: (step + 1) / 4) for optimizer in optimizers)
    saved = checkpoint(*optimizers, schedules=schedules)
    groups = renewed(saved, lr=2e-3)
    assert [g["initial_lr"] for g in groups] == pytest.approx([2e-3, 2e-2])
    assert [g["lr"] for g in groups] == pytest.approx([0.5e-3, 0.5e-2])  # the first of four steps
    assert [s["base_lrs"] for s in saved["lr_schedulers"]] == [pytest.approx([2e-3]), pytest.approx([2e-2])]


def test_a_schedule_without_base_rates_is_unchanged() -> None:
    optimizer = AdamW(parameters(), lr=1e-3)
    groups = renewed(checkpoint(optimizer, schedules=(ReduceLROnPlateau(optimizer),)), lr=1e-4)
    assert groups[0]["lr"] == 1e-4


def test_a_rate_of_zero_cannot_be_replaced() -> None:
    with pytest.raises(ValueError, match=r"trained with optimizer.lr=0"):
        renewed(checkpoint(AdamW(parameters(), lr=0.0)), lr=1e-4)


def test_without_a_schedule_the_rate_is_that_of_the_configuration() -> None:
    optimizer = AdamW(parameters(), lr=1e-3)
    LambdaLR(optimizer, lambda step: 0.1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)
    trainer = SimpleNamespace(lr_scheduler_configs=[], optimizers=[optimizer])
    ResumeTraining({"lr": 1e-3}).on_train_start(trainer, None)  # type: ignore[arg-type]
    assert optimizer.param_groups[0]["lr"] == 1e-3
