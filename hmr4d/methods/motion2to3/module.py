"""The Lightning module of Motion-2-to-3: starting weights, freezing, steps that generate; no algorithm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from hmr4d.methods.motion2to3.checkpoints import load_weights
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.motion.motion import MotionBatch
from hmr4d.nn import training
from hmr4d.nn.text import pack_features
from hmr4d.utils.releases import model_facts

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
    training.freeze_parameters(denoiser, group, FREEZE_GROUPS)


class Motion2to3Module(training.PipelineModule):
    """Trains and runs a `Motion2to3Pipeline`.

    Args:
        pipeline: the method.
        optimizer, warmup_steps, decay_steps, final_lr, seed: see `PipelineModule`.
        freeze: group of FREEZE_GROUPS.
    """

    def __init__(
        self, pipeline: Motion2to3Pipeline, *, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        warmup_steps: int = 0, decay_steps: int | None = None, final_lr: float = 1.0, freeze: str = "none",
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            pipeline, optimizer=optimizer, warmup_steps=warmup_steps, decay_steps=decay_steps, final_lr=final_lr,
            seed=seed,
        )  # fmt: skip
        freeze_parameters(pipeline.denoiser, freeze)

    def load_start(self, path: str | Path | Sequence[str | Path], ckpt_type: str = "pl", *, is_training: bool) -> None:
        """Takes the weights of a checkpoint, see `load_weights`; in training, 2D weights may start the views."""
        load_weights(self.pipeline, path, ckpt_type, may_start_views=is_training)
        for one in [path] if isinstance(path, (str, Path)) else path:
            self.pipeline.about |= model_facts(one, Path(one))

    def on_fit_start(self) -> None:
        dataset = self.trainer.datamodule.dataset("train")  # type: ignore[attr-defined]
        if dataset.text_cache is not None:
            cache = dataset.text_cache
            row = cache.null_caption
            self.pipeline.set_null_text(pack_features([cache.tokens(row)], cache.pooled(row)[None]))
        super().on_fit_start()

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> MotionBatch:
        """Motion for the prompts of a batch: `text`, `seconds` (B,), `seed` (B,)."""
        return self.pipeline.sample(batch["text"], seconds=batch["seconds"].tolist(), seed=batch["seed"].tolist())

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> MotionBatch:
        """Motion for the captions of a batch, as `predict_step`; callbacks score it."""
        return self.predict_step(batch, batch_idx)
