"""The Lightning module: learning rate and losses that are no numbers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import open_dict
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from hmr4d.engine.compose import compose_config
from hmr4d.methods.motion2to3.method import METHOD
from hmr4d.methods.motion2to3.module import Motion2to3Module
from hmr4d.methods.motion2to3.options import TrainingOptions
from tests.methods.motion2to3.tiny import tiny_batch, tiny_pipeline

LR = 1e-3


class Batches(pl.LightningDataModule):
    """A list of ready batches without a text cache."""

    text_cache = None

    def __init__(self, *batches: dict[str, Any]) -> None:
        super().__init__()
        self.batches = list(batches)

    def dataset(self, name: str) -> Batches:
        return self

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


class Rates(pl.Callback):
    """The rate that every step used."""

    def __init__(self) -> None:
        self.used: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.used.append(trainer.optimizers[0].param_groups[0]["lr"])


def module(**settings: Any) -> Motion2to3Module:
    training = TrainingOptions(velocity_weight=0.1)
    return Motion2to3Module(tiny_pipeline(training=training), optimizer=partial(torch.optim.SGD, lr=LR), **settings)


def trainer(*callbacks: pl.Callback, **settings: Any) -> pl.Trainer:
    checkpoints = any(isinstance(one, ModelCheckpoint) for one in callbacks)
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=checkpoints,
        callbacks=list(callbacks),
        **settings,
    )


@pytest.mark.parametrize(
    "ends", [{"max_steps": 6, "max_epochs": -1}, {"max_epochs": 3}, {"max_epochs": 9, "max_steps": 6}]
)
def test_the_rate_ends_where_the_training_ends(ends: dict[str, int]) -> None:
    run = trainer(rates := Rates(), **ends)
    run.fit(module(warmup_steps=2, final_lr=0.1), datamodule=Batches(tiny_batch(), tiny_batch(seed=1)))
    assert run.global_step == 6
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * LR)
    assert rates.used[:3] == pytest.approx([LR / 2, LR, LR])
    assert rates.used[4] == pytest.approx(LR * (0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2))


def test_the_rate_is_constant_by_default() -> None:
    rates = Rates()
    trainer(rates, max_epochs=2).fit(module(), datamodule=Batches(tiny_batch()))
    assert rates.used == [LR, LR]


def test_a_given_decay_may_end_before_the_training() -> None:
    rates = Rates()
    trainer(rates, max_epochs=4).fit(module(decay_steps=2, final_lr=0.5), datamodule=Batches(tiny_batch()))
    assert rates.used == pytest.approx([LR, 0.75 * LR, 0.5 * LR, 0.5 * LR])


def test_decay_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"final_lr=0\.1 needs a defined end of the training"):
        trainer(max_epochs=-1).fit(module(final_lr=0.1), datamodule=Batches(tiny_batch()))


def test_a_nan_loss_stops_before_the_checkpoint(tmp_path: Any) -> None:
    bad = tiny_batch(seed=1)
    bad["joints2d"][0, 0, 2] = math.nan
    keep = ModelCheckpoint(tmp_path, "last", every_n_train_steps=1, save_top_k=1, enable_version_counter=False)
    run = trainer(keep, max_epochs=2)
    with pytest.raises(FloatingPointError, match=r"simple_loss.*in epoch 0, step 2, batch 2"):
        run.fit(module(), datamodule=Batches(tiny_batch(), tiny_batch(), bad))
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert all(torch.isfinite(v).all() for v in saved["state_dict"].values())


def test_the_width_of_the_network_follows_from_the_codec() -> None:
    cfg = compose_config(["exp=motion2to3/finetune_mv", "text=hash", "network=32x2"])
    pipeline = METHOD.build(cfg)
    assert pipeline.denoiser.num_features == pipeline.codec.num_features == 2 * 22
    assert not {"num_features", "_partial_", "_target_"} & METHOD.settings(cfg)["network"].keys()
    with open_dict(cfg):  # as runs of earlier versions saved it
        del cfg.network["_partial_"]
        cfg.network.num_features = 44
    assert METHOD.build(cfg).denoiser.num_features == 44
