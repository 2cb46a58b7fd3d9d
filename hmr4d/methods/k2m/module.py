"""The training module of K2M."""

from __future__ import annotations

import logging
from typing import Any

import torch

from hmr4d.methods.k2m.weights import WEIGHTS
from hmr4d.nn.training import PipelineModule

logger = logging.getLogger(__name__)
LEAST_SHARE = 0.01  # terms below this fraction of commitment plus reprojection have no effect
DOMINANT = ("rvq", "rec")
CRITIC_BETAS = (0.5, 0.9)  # of Adam; short memory, because the training data of the critic change
SCORES = ("turned",)  # terms whose magnitude is not meaningful


class K2MModule(PipelineModule):
    """Trains one part of a `K2MPipeline`.

    Args:
        balance_batches: number of batches for the comparison of the tokenizer's weighted losses before the first step;
            0: no comparison.
        critic_lr: learning rate of the critic of `turned_views`, which must learn faster than the bodies change.
        options: arguments of `PipelineModule`.
    """

    weights = WEIGHTS

    def __init__(self, pipeline: Any, *, balance_batches: int = 20, critic_lr: float = 1e-3, **options: Any) -> None:
        super().__init__(pipeline, **options)
        self.balance_batches, self.critic_lr = balance_batches, critic_lr

    def trained_parameters(self) -> Any:
        everything, critic = super().trained_parameters(), self.pipeline.view_critic
        if critic is None:
            return everything
        own = {id(p) for p in critic.parameters()}
        others = [p for p in everything if id(p) not in own]
        return [{"params": others}, {"params": list(critic.parameters()), "lr": self.critic_lr, "betas": CRITIC_BETAS}]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if self.pipeline.stage_name == "tokenizer" and self.balance_batches and not self.global_step:
            report_balance(self.loss_balance())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """ValueError where a resumed training has a critic and its checkpoint has none, or the other way round."""
        super().on_load_checkpoint(checkpoint)
        had = any(name.startswith("pipeline.view_critic.") for name in checkpoint["state_dict"])
        if had != (self.pipeline.view_critic is not None):
            raise ValueError(
                f"The checkpoint was trained {'with' if had else 'without'} the critic of turned views, so that a "
                f"resumed training cannot {'leave it out' if had else 'have one'}. Keep "
                "pipeline.training.weights.turned, or start a new run in another output_dir from "
                "ckpt_path=<the checkpoint>."
            )

    def on_train_start(self) -> None:
        """Warns about a slow critic, and gives that of a resumed training the learning rate of the configuration."""
        if self.pipeline.view_critic is None:
            return
        bodies, critic = self.trainer.optimizers[0].param_groups
        base = bodies.get("initial_lr", bodies["lr"])
        if self.critic_lr < base:
            logger.warning(
                "model.critic_lr=%g is below optimizer.lr=%g: a critic that learns slower than the bodies change tells "
                "them nothing. Raise it.",
                self.critic_lr,
                base,
            )
        if critic.get("initial_lr", critic["lr"]) == self.critic_lr:
            return
        logger.info("The critic learns with model.critic_lr=%g from here on.", self.critic_lr)
        critic["lr"] = self.critic_lr * bodies["lr"] / base
        if "initial_lr" in critic:
            critic["initial_lr"] = self.critic_lr
        for config in self.trainer.lr_scheduler_configs:
            config.scheduler.base_lrs[1] = self.critic_lr  # type: ignore[union-attr]

    @torch.no_grad()
    def loss_balance(self) -> dict[str, float]:
        """Mean of each weighted loss over the first training batches; the network is not changed."""
        was_training = self.training
        self.eval()
        sums: dict[str, float] = {}
        count = 0
        for batch in self.trainer.datamodule.train_dataloader():  # type: ignore[attr-defined]
            moved = self.transfer_batch_to_device(batch, self.device, 0)
            draws = self.pipeline.draw_training(moved, torch.Generator().manual_seed(count))
            for name, value in self.pipeline.training_loss(moved, draws).items():
                sums[name] = sums.get(name, 0.0) + float(value)
            count += 1
            if count == self.balance_batches:
                break
        self.train(was_training)
        weights = dict(self.pipeline.training_options.weights.items())
        return {name: value / max(count, 1) for name, value in sums.items() if name in weights}


def report_balance(terms: dict[str, float]) -> list[str]:
    """Logs the weighted losses and returns warnings about terms that dominate commitment and reprojection or are
    negligible."""
    logger.info("Weighted losses at the start: %s.", ", ".join(f"{k} {v:.4g}" for k, v in terms.items()))
    dominant = sum(terms.get(name, 0.0) for name in DOMINANT)
    warnings = []
    for name, value in terms.items():
        if name in (*DOMINANT, *SCORES) or not dominant:
            continue
        if value > dominant:
            warnings.append(
                f"{name} ({value:.3g}) outweighs commitment and reprojection ({dominant:.3g}); lower its weight."
            )
        elif value < LEAST_SHARE * dominant:
            warnings.append(
                f"{name} ({value:.3g}) is below 1 % of commitment and reprojection ({dominant:.3g}); "
                "raise its weight or remove it."
            )
    for warning in warnings:
        logger.warning("Loss %s", warning)
    return warnings
