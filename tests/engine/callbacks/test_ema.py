"""Averaged weights of runs of any length."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hmr4d.engine.callbacks.ema import RampedWeightAveraging
from hmr4d.methods.motion2to3.weights import WEIGHTS
from tests.methods.motion2to3.tiny import tiny_denoiser, tiny_pipeline


class Falling(pl.LightningModule):
    """One weight that falls by 1 with every step, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def train(folder: Path, steps: int, *, decay: float = 0.998, resume: Path | None = None) -> tuple[float, dict]:
    """The weight after training, and the checkpoint."""
    module, loader = Falling(), DataLoader(torch.zeros(2, 1))
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=-1,
        max_steps=steps,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            RampedWeightAveraging(decay),
            ModelCheckpoint(folder, "last", every_n_train_steps=1, save_top_k=1, enable_version_counter=False),
        ],
    )
    trainer.fit(module, loader, ckpt_path=resume, weights_only=True if resume else None)
    return module.weight.item(), torch.load(folder / "last.ckpt", weights_only=True)


def test_a_short_run_saves_trained_weights(tmp_path: Path) -> None:
    left_in_model, checkpoint = train(tmp_path, 5)
    average, current = checkpoint["state_dict"]["weight"].item(), checkpoint["current_model_state"]["weight"].item()
    assert current == -5.0
    assert current < average < 0.0 and left_in_model == average
    wanted = -1.0
    for update in range(1, 5):
        keep = (1 + update) / (10 + update)
        wanted = keep * wanted + (1 - keep) * -(update + 1.0)
    assert average == pytest.approx(wanted)


def test_decay_is_the_upper_limit(tmp_path: Path) -> None:
    assert train(tmp_path, 4, decay=0.0)[0] == -4.0
    with pytest.raises(ValueError, match=r"decay is 1\.0"):
        RampedWeightAveraging(1.0)


def test_a_resumed_run_has_the_same_average(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 6)
    train(tmp_path / "first", 3)
    resumed = train(tmp_path / "second", 6, resume=tmp_path / "first" / "last.ckpt")
    assert resumed[0] == whole[0]
    assert resumed[1]["current_model_state"] == whole[1]["current_model_state"]


def test_checkpoints_of_the_plain_average_still_load(tmp_path: Path) -> None:
    class Owner(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.pipeline = tiny_pipeline()

    owner, plain, checkpoint = Owner(), EMAWeightAveraging(decay=0.9), {}
    plain.setup(pl.Trainer(logger=False, accelerator="cpu"), owner, "fit")
    checkpoint["state_dict"] = owner.state_dict()
    plain.on_save_checkpoint(None, owner, checkpoint)  # type: ignore[arg-type]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    pipeline = tiny_pipeline(tiny_denoiser(awake=False))
    WEIGHTS.load(pipeline, tmp_path / "last.ckpt")
    wanted = owner.pipeline.denoiser.state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in pipeline.denoiser.state_dict().items())
