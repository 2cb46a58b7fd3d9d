"""The Lightning module of Motion-2-to-3: optimiser, freezing, logging and steps, no algorithm."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hmr4d.body.motion import MotionOutput
from hmr4d.data.randomness import mix_seed
from hmr4d.models.motion2to3.checkpoints import load_weights
from hmr4d.models.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.text import pack_features

logger = logging.getLogger(__name__)

# Parts that a 2D checkpoint brings along; what stays free is what several views add.
FREEZE_GROUPS = {
    "none": (),
    "pretrained_2d": (
        "embed_motion", "embed_text", "embed_step", "motion_head", "self_attention", "self_norm", "memory_attention",
        "memory_norm", "feed_forward",
    ),
    "backbone": (
        "embed_motion", "embed_step", "motion_head", "self_attention", "self_norm", "memory_attention", "memory_norm",
        "feed_forward",
    ),
}  # fmt: skip


def freeze_parameters(denoiser: nn.Module, group: str) -> None:
    """Switches off the gradients of a group of FREEZE_GROUPS; ValueError lists the groups."""
    if group not in FREEZE_GROUPS:
        raise ValueError(f"Unknown freeze group '{group}'; known: {sorted(FREEZE_GROUPS)}.")
    for name, parameter in denoiser.named_parameters():
        frozen = any(part.startswith(known) for part in name.split(".") for known in FREEZE_GROUPS[group])
        parameter.requires_grad_(not frozen)


class Motion2to3Module(pl.LightningModule):
    """Trains and runs a `Motion2to3Pipeline`.

    Args:
        pipeline: the method.
        optimizer: parameters -> optimiser.
        warmup_steps: steps of linear warm-up.
        decay_steps: length of the cosine decay after the warm-up, down to `final_lr`; None lets it last until the
            training ends.
        final_lr: last rate over the first; 1 keeps the rate.
        freeze: group of FREEZE_GROUPS.
        seed: of the noise; step s of epoch e draws from (seed, e, s, rank) alone.
    """

    def __init__(
        self, pipeline: Motion2to3Pipeline, *, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        warmup_steps: int = 0, decay_steps: int | None = None, final_lr: float = 1.0, freeze: str = "none",
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pipeline, self.build_optimizer, self.seed = pipeline, optimizer, seed
        self.warmup_steps, self.decay_steps, self.final_lr = warmup_steps, decay_steps, final_lr
        freeze_parameters(pipeline.denoiser, freeze)

    def load_start(self, path: str | Path | Sequence[str | Path], ckpt_type: str = "pl", *, is_training: bool) -> None:
        """Takes the weights of a checkpoint, see `load_weights`; in training, 2D weights may start the views."""
        load_weights(self.pipeline, path, ckpt_type, may_start_views=is_training)

    def on_fit_start(self) -> None:
        dataset = self.trainer.datamodule.dataset("train")  # type: ignore[attr-defined]
        if dataset.text_cache is not None:
            cache = dataset.text_cache
            row = cache.null_caption
            self.pipeline.set_null_text(pack_features([cache.tokens(row)], cache.pooled(row)[None]))
        free = sum(p.numel() for p in self.parameters() if p.requires_grad)
        logger.info("Parameters: %d trainable, %d frozen.", free, sum(p.numel() for p in self.parameters()) - free)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        seed = mix_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        draws = self.pipeline.draw_training(batch, torch.Generator().manual_seed(seed))
        terms = self.pipeline.training_loss(batch, draws)
        if wrong := [name for name, value in terms.items() if not torch.isfinite(value).all()]:
            raise FloatingPointError(
                f"{', '.join(wrong)} is not a finite number in epoch {self.current_epoch}, step {self.global_step}, "
                f"batch {batch_idx}. The last checkpoint is from before; lower optimizer.lr, or find the cause with "
                "global/debug=detect_anomaly."
            )
        size = len(batch["lengths"])
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, prog_bar=True, batch_size=size, on_epoch=True)
        return terms["loss"]

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> MotionOutput:
        """Motion for the prompts of a batch: `text`, `seconds` (B,), `seed` (B,)."""
        return self.pipeline.sample(batch["text"], seconds=batch["seconds"].tolist(), seed=batch["seed"].tolist())

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> MotionOutput:
        """Motion for the captions of a batch, as `predict_step`; callbacks score it."""
        return self.predict_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer([p for p in self.parameters() if p.requires_grad])
        if not self.warmup_steps and self.final_lr == 1.0:
            return optimizer
        scheduler = LambdaLR(optimizer, partial(self._rate, decay_steps=self._decay_steps()))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _decay_steps(self) -> float:
        """Steps from the end of the warm-up to `final_lr`; ValueError when nothing says when that is."""
        if self.final_lr == 1.0:
            return math.inf
        if self.decay_steps is not None:
            return self.decay_steps
        steps = self.trainer.estimated_stepping_batches
        if not 0 <= steps < math.inf:  # endless training is inf or -1
            raise ValueError(
                f"final_lr={self.final_lr} needs an end of the training: set trainer.max_steps, trainer.max_epochs or "
                "model.decay_steps."
            )
        return steps - self.warmup_steps

    def _rate(self, step: int, *, decay_steps: float) -> float:
        """Learning rate at a step over the base rate."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = min((step - self.warmup_steps) / max(decay_steps, 1), 1.0)
        return self.final_lr + (1.0 - self.final_lr) * (1.0 + math.cos(math.pi * done)) / 2.0
