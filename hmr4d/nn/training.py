"""Common parts of all trainings: initial weights, freezing, optimizer, learning rate, noise, loss checks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hmr4d.geometry.rigs import Rig
from hmr4d.utils.randomness import mix_seed
from hmr4d.utils.releases import model_metadata
from hmr4d.utils.weights import WeightFiles

logger = logging.getLogger(__name__)
_ADAPTER = "pipeline.text_adapter."  # prefix of its parameters in a checkpoint


def freeze_parameters(network: nn.Module, group: str, groups: Mapping[str, Sequence[str]]) -> None:
    """Disables the gradients of parameters if a part of their name starts with an entry of `groups[group]`.

    Raises:
        ValueError: the group is unknown; the message lists the known ones.
    """
    if group not in groups:
        raise ValueError(f"Unknown freeze group '{group}'; known: {sorted(groups)}.")
    for name, parameter in network.named_parameters():
        frozen = any(part.startswith(known) for part in name.split(".") for known in groups[group])
        parameter.requires_grad_(not frozen)


def cosine_rate(step: int, *, num_steps: float, final_lr: float) -> float:
    """Learning rate at a step relative to the first: cosine decay to `final_lr` in `num_steps` steps, then constant."""
    done = min(step / max(num_steps, 1), 1.0)
    return final_lr + (1.0 - final_lr) * (1.0 + math.cos(math.pi * done)) / 2.0


class PipelineModule(pl.LightningModule):
    """Trains a pipeline with warm-up and cosine decay of the learning rate to `final_lr`; in other tasks it samples or
    lifts.

    Validation logs the metrics of `monitor`. A method derives its own module to define the parts that can be frozen and
    the file layout of its weights.

    Args:
        pipeline: an `nn.Module` with `draw_training(batch, generator)`, which draws all random numbers of a step,
            `training_loss(batch, draws)`, which returns "loss" and its terms, and `monitor(batch, generator)`, which
            returns the metrics of validation.
        optimizer: parameters -> optimizer.
        warmup_steps: steps of linear warm-up.
        decay_steps: length of the cosine decay to `final_lr` after the warm-up; None: until the end of the training.
        final_lr: final learning rate relative to the first; 1: constant rate.
        freeze: group of `freeze_groups` that is not trained.
        seed: seed of noise and dropout; step s of epoch e depends on (seed, e, s, rank) alone.

    Attributes:
        weights: file layout of the parameters.
        freeze_groups: group -> name prefixes of its parameters; see `freeze_parameters`.
    """

    weights: ClassVar[WeightFiles] = WeightFiles()
    freeze_groups: ClassVar[Mapping[str, Sequence[str]]] = {"none": ()}

    def __init__(
        self,
        pipeline: Any,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        warmup_steps: int = 0,
        decay_steps: int | None = None,
        final_lr: float = 1.0,
        freeze: str = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.pipeline, self.build_optimizer, self.seed = pipeline, optimizer, seed
        self.warmup_steps, self.decay_steps, self.final_lr = warmup_steps, decay_steps, final_lr
        freeze_parameters(self.weights.network_of(pipeline), freeze, self.freeze_groups)

    def load_start(self, path: str | Path | Sequence[str | Path], ckpt_type: str = "pl", *, is_training: bool) -> None:
        """Loads the weights of a checkpoint (`WeightFiles.load`); in training, single-view weights may initialize
        several views."""
        self.weights.load(self.pipeline, path, ckpt_type, is_start=is_training)
        for one in [path] if isinstance(path, (str, Path)) else path:
            self.pipeline.about |= model_metadata(one, Path(one))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """ValueError if the checkpoint of a resumed training has another text adapter than the pipeline: its weights
        would replace the requested ones."""
        adapter = getattr(self.pipeline, "text_adapter", None)
        own = {} if adapter is None else {_ADAPTER + name: value.cpu() for name, value in adapter.state_dict().items()}
        saved = {name: value.cpu() for name, value in checkpoint["state_dict"].items() if name.startswith(_ADAPTER)}
        same = own.keys() == saved.keys()
        if not same or any(not torch.allclose(own[name], saved[name], atol=1e-3) for name in own):
            raise ValueError(
                "The checkpoint was trained with another text adapter than pipeline.text_adapter, so its network reads "
                "other vectors. Give the adapter of the run, or start a new run in another output_dir from "
                "ckpt_path=<the checkpoint>."
            )

    def on_fit_start(self) -> None:
        free = sum(p.numel() for p in self.parameters() if p.requires_grad)
        logger.info("Parameters: %d trainable, %d frozen.", free, sum(p.numel() for p in self.parameters()) - free)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        seed = mix_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(seed)  # dropout; a resumed run drops what it would have
        draws = self.pipeline.draw_training(batch, torch.Generator().manual_seed(seed))
        terms = self.pipeline.training_loss(batch, draws)
        if wrong := [name for name, value in terms.items() if not torch.isfinite(value).all()]:
            raise FloatingPointError(
                f"{', '.join(wrong)} is not finite in epoch {self.current_epoch}, step {self.global_step}, "
                f"batch {batch_idx}. The last checkpoint is older; lower optimizer.lr, or find the cause with "
                "global/debug=detect_anomaly."
            )
        size = len(batch["lengths"])
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, prog_bar=True, batch_size=size, on_epoch=True)
        return terms["loss"]

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        values = self.pipeline.monitor(batch, torch.Generator().manual_seed(mix_seed(self.seed, batch_idx)))
        self.log_dict({f"val/{k}": v for k, v in values.items()}, batch_size=len(batch["lengths"]), sync_dist=True)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """Generates motion for the prompts of a batch: `text`, `seconds` (B,), `seed` (B,)."""
        return self.pipeline.sample(batch["text"], seconds=batch["seconds"].tolist(), seed=batch["seed"].tolist())

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """Generates motion for the captions, or lifts the 2D tracks, of a batch; callbacks score it.

        A batch of tracks has the keys of `hmr4d.evaluation.lifting_data.ScoredLifts`.
        """
        if "kp2d_obs" not in batch:
            return self.predict_step(batch, batch_idx)
        return self.pipeline.lift(
            batch["kp2d_obs"],
            batch["conf"],
            Rig(batch["size"], batch["K4"], batch["T_w2c"]),
            fps=float(batch["fps"][0]),
            lengths=batch["lengths"],
            seed=batch["seed"].tolist(),
            num_samples=int(batch["num_samples"][0]),
        )

    def trained_parameters(self) -> Any:
        """Parameters for the optimizer, or parameter groups with options."""
        return [p for p in self.parameters() if p.requires_grad]

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer(self.trained_parameters())
        if not self.warmup_steps and self.final_lr == 1.0:
            return optimizer
        scheduler = LambdaLR(optimizer, partial(self._rate, decay_steps=self._decay_steps()))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _decay_steps(self) -> float:
        """Steps from the end of the warm-up to `final_lr`. Raises ValueError if they are not determined."""
        if self.final_lr == 1.0:
            return math.inf
        if self.decay_steps is not None:
            return self.decay_steps
        steps = self.trainer.estimated_stepping_batches
        if not 0 <= steps < math.inf:  # endless training is inf or -1
            raise ValueError(
                f"final_lr={self.final_lr} needs a defined end of the training: set trainer.max_steps, "
                "trainer.max_epochs or "
                "model.decay_steps."
            )
        return steps - self.warmup_steps

    def _rate(self, step: int, *, decay_steps: float) -> float:
        """Learning rate at a step, relative to the base rate."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return cosine_rate(step - self.warmup_steps, num_steps=decay_steps, final_lr=self.final_lr)
