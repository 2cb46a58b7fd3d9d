"""The same motion and the same training on a GPU."""

from __future__ import annotations

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from hmr4d.methods.motion2to3.module import Motion2to3Module
from hmr4d.methods.motion2to3.options import TrainingOptions
from tests.methods.motion2to3.tiny import tiny_batch, tiny_denoiser, tiny_pipeline

pytestmark = pytest.mark.gpu
SINGLE = {"use_views": False, "cam_dim": 0, "separate_root_head": False}


@pytest.mark.parametrize("settings", [{}, {"step": "ddim", "num_inference_steps": 4, "guidance_scale": 2.5}])
@pytest.mark.parametrize(("changes", "consistency"), [({}, False), (SINGLE, True)])
def test_samples_equal_those_of_the_cpu(changes: dict, consistency: bool, settings: dict) -> None:
    prompts, seconds = ["a person walks", "a person jumps twice"], [1.5, 2.0]
    pipeline = tiny_pipeline(tiny_denoiser(**changes), consistency=consistency, **settings)
    wanted = pipeline.sample(prompts, seconds=seconds, seed=3)
    got = pipeline.to("cuda").sample(prompts, seconds=seconds, seed=3)
    assert got.joints3d.device.type == "cpu"
    torch.testing.assert_close(got.joints3d, wanted.joints3d, atol=1e-4, rtol=0)


def module() -> Motion2to3Module:
    pipeline = tiny_pipeline(training=TrainingOptions(velocity_weight=0.1))
    return Motion2to3Module(pipeline, optimizer=partial(torch.optim.SGD, lr=1e-3))


class Batches(pl.LightningDataModule):
    """One batch without a text cache."""

    text_cache = None

    def dataset(self, name: str) -> Batches:
        return self

    def train_dataloader(self) -> DataLoader:
        return DataLoader([tiny_batch()], batch_size=None)  # type: ignore[arg-type]


def loss_of_one_step(accelerator: str, precision: str | int) -> tuple[float, Motion2to3Module]:
    """The loss of a step, and the module after it."""
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,
        max_steps=1,
        logger=False,  # type: ignore[arg-type]
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        gradient_clip_val=1.0,
    )
    trained = module()
    trainer.fit(trained, datamodule=Batches())
    return float(trainer.callback_metrics["train/loss"]), trained.cpu()


def test_one_training_step_equals_that_of_the_cpu() -> None:
    (cpu_loss, on_cpu), (gpu_loss, on_gpu) = loss_of_one_step("cpu", 32), loss_of_one_step("gpu", 32)
    assert gpu_loss == pytest.approx(cpu_loss, rel=1e-4)
    for name, value in on_gpu.state_dict().items():
        torch.testing.assert_close(value, on_cpu.state_dict()[name], atol=1e-5, rtol=1e-4)


def test_half_precision_trains_and_keeps_full_weights() -> None:
    full, half = loss_of_one_step("gpu", 32)[0], loss_of_one_step("gpu", "16-mixed")
    assert half[0] == pytest.approx(full, rel=0.05)
    assert all(v.dtype == torch.float32 and torch.isfinite(v).all() for v in half[1].parameters())
