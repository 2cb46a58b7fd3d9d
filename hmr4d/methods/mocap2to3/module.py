"""The Lightning module of Mocap-2-to-3: starting weights, freezing, monitors; no algorithm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from hmr4d.geometry.rigs import Rig
from hmr4d.methods.mocap2to3.checkpoints import load_weights
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.motion.motion import MotionBatch
from hmr4d.nn.training import PipelineModule, freeze_parameters

# Parts that the first stage brings along; what stays free is what several views add.
FREEZE_GROUPS = {
    "none": (),
    "prior": (
        "embed_step", "embed_cam", "null_cam", "embed_motion", "embed_patch", "null_map", "norm", "self_attention",
        "self_norm", "memory_attention", "memory_norm", "feed_forward", "motion_head",
    ),
}  # fmt: skip


class Mocap2to3Module(PipelineModule):
    """Trains and tests a `Mocap2to3Pipeline`.

    Args:
        pipeline: the method.
        optimizer, warmup_steps, decay_steps, final_lr, seed: see `PipelineModule`.
        freeze: group of FREEZE_GROUPS.
    """

    def __init__(
        self, pipeline: Mocap2to3Pipeline, *, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        warmup_steps: int = 0, decay_steps: int | None = None, final_lr: float = 1.0, freeze: str = "none",
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            pipeline, optimizer=optimizer, warmup_steps=warmup_steps, decay_steps=decay_steps, final_lr=final_lr,
            seed=seed,
        )  # fmt: skip
        freeze_parameters(pipeline.denoiser, freeze, FREEZE_GROUPS)

    def load_start(self, path: str | Path | Sequence[str | Path], ckpt_type: str = "pl", *, is_training: bool) -> None:
        """Takes the weights of a checkpoint, see `load_weights`; in training, those of one view may start several."""
        load_weights(self.pipeline, path, ckpt_type, may_start_views=is_training)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> MotionBatch:
        """Lifts the clips of a batch of `hmr4d.evaluation.lifting_data.ScoredLifts`; callbacks score the motions."""
        return self.pipeline.sample(
            batch["kp2d_obs"], batch["conf"], Rig(batch["size"], batch["K4"], batch["T_w2c"]),
            fps=float(batch["fps"][0]), lengths=batch["lengths"], seed=batch["seed"].tolist(),
            num_samples=int(batch["num_samples"][0]),
        )  # fmt: skip
