"""Lightning modules that train evaluators: movement autoencoder, matching of text and motion, motion length."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hmr4d.evaluators.evaluator import EvaluatorRecipe, build_networks
from hmr4d.evaluators.losses import decomposition_loss, length_loss
from hmr4d.evaluators.networks import ROWS_PER_TOKEN, LengthEstimator, MovementDecoder
from hmr4d.evaluators.objectives import MatchingObjective
from hmr4d.evaluators.text_input import GloveInput, TextInput, TokenStateInput
from hmr4d.evaluators.word_vectorizer import WordVectorizer
from hmr4d.nn.training import cosine_rate
from hmr4d.representation.hml263 import EVALUATOR_BIAS
from hmr4d.utils.randomness import mix_seed
from hmr4d.utils.weights import DAMAGED, load_inert, load_strictly, short_reason

logger = logging.getLogger(__name__)

FREEZE_GROUPS = ("none", "movement")
SEEN_BEYOND = 4  # padded rows that affect the result; the last token of a clip depends on three of them


@dataclass(frozen=True)
class FittingOptions:
    """Options of the optimization.

    Attributes:
        optimizer: parameters -> optimizer.
        final_lr: final learning rate relative to the first, reached by cosine decay; 1: constant rate.
        feature_bias: extra weight of root and contact channels of 3D features, see `with_evaluator_bias`; 1 for
            features of 2D keypoints, which have no such channels.
        seed: seed of all random draws; step s of epoch e depends on (seed, e, s, rank) alone.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    final_lr: float = 1.0
    feature_bias: float = EVALUATOR_BIAS
    seed: int = 0


class EvaluatorTraining(pl.LightningModule):
    """Common parts of the three trainings: normalization, optimizer, clipping, seeds, logging, initial weights.

    Mean and standard deviation of the training split are computed at the start, unless the training starts from another
    one. They are buffers and therefore part of checkpoints.

    Args:
        recipe: settings of the evaluator.
        fitting: options of the optimization.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: EvaluatorRecipe, fitting: FittingOptions) -> None:
        super().__init__()
        self.recipe, self.fitting = recipe, fitting
        self.register_buffer("mean", torch.zeros(recipe.features.num_features))
        self.register_buffer("std", torch.zeros(recipe.features.num_features))  # zeros: not computed yet

    def losses(self, batch: dict[str, Any], seed: int) -> dict[str, Tensor]:
        """Loss terms of a batch by name, including "loss"."""
        raise NotImplementedError

    def normalize(self, batch: dict[str, Any]) -> Tensor:
        """(B, L, D) normalized rows of a batch, zero after the end of each clip."""
        return (batch["features"] - self.mean) / self.std * batch["valid"][..., None]

    def on_fit_start(self) -> None:
        if not bool(self.std.any()):
            source = self.trainer.datamodule.dataset("train").source  # type: ignore[attr-defined]
            statistics = source.statistics(self.fitting.feature_bias)
            self.mean.copy_(torch.as_tensor(statistics.mean))
            self.std.copy_(torch.as_tensor(statistics.std))
        free = sum(p.numel() for p in self.parameters() if p.requires_grad)
        logger.info("Parameters: %d trainable, %d frozen.", free, sum(p.numel() for p in self.parameters()) - free)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(
            self._step_seed(batch_idx)
        )  # seeds dropout, so that a resumed run equals an uninterrupted one

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        terms = self.losses(batch, self._step_seed(batch_idx))
        if wrong := [name for name, value in terms.items() if not torch.isfinite(value)]:
            raise FloatingPointError(
                f"{', '.join(wrong)} is not finite in epoch {self.current_epoch}, step {self.global_step}. The last "
                "checkpoint is older; lower optimizer.lr."
            )
        size = len(batch["lengths"])
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, prog_bar=True, batch_size=size, on_epoch=True)
        return terms["loss"]

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        terms = self.losses(batch, mix_seed(self.fitting.seed, batch_idx))
        self.log_dict({f"val/{k}": v for k, v in terms.items()}, batch_size=len(batch["lengths"]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = self.fitting.optimizer([p for p in self.parameters() if p.requires_grad])
        if self.fitting.final_lr == 1.0:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, partial(cosine_rate, num_steps=steps, final_lr=self.fitting.final_lr))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the gradient norm of each network separately, as published."""
        if gradient_clip_val:
            for network in self.children():
                nn.utils.clip_grad_norm_(network.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = asdict(self.recipe)

    def load_start(self, path: str | Path, ckpt_type: str = "pl", *, is_training: bool = True) -> None:
        """Loads the statistics and the shared networks from the checkpoint of another training.

        Args:
            path: checkpoint of an evaluator training.
            ckpt_type: must be "pl".
            is_training: must be True.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged, was trained on other features, or has no network of this training.
        """
        if ckpt_type != "pl" or not is_training:
            raise ValueError("An evaluator training takes ckpt_type=pl and task=fit; score with global/task=.../test.")
        state, recipe = read_training(path)
        for what in ("variant", "fps"):
            if recipe.get(what) != getattr(self.recipe, what):
                raise ValueError(
                    f"{path} was trained on features of {what} {recipe.get(what)!r}, this training uses "
                    f"{getattr(self.recipe, what)!r}. Train every stage with the same evaluator=<choice>."
                )
        networks = dict(self.named_children())
        shared = [name for name in networks if any(key.startswith(f"{name}.") for key in state)]
        if not shared:
            raise ValueError(
                f"{path} has none of the networks {', '.join(networks)}; it belongs to another stage. "
                "Give a checkpoint of a matching stage."
            )
        for name in shared:
            part = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
            load_strictly(networks[name], part, (), source=str(path))
        self.mean.copy_(state["mean"])
        self.std.copy_(state["std"])

    def _step_seed(self, batch_idx: int) -> int:
        return mix_seed(self.fitting.seed, self.current_epoch, batch_idx, self.global_rank)


def read_training(path: str | Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Parameters and buffers by name, and the recipe as a dict, from a checkpoint of an evaluator training.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged or belongs to another method.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Checkpoint not found: {path}. Give checkpoints/last.ckpt of an evaluator training.")
    try:
        content = load_inert(path)
        state, recipe = dict(content["state_dict"]), dict(content["recipe"])
        if not {"mean", "std"} <= state.keys():
            raise KeyError("mean and std")
    except DAMAGED as error:
        raise ValueError(
            f"{path} is not a readable checkpoint of an evaluator training ({short_reason(error)}). Give one of "
            "exp=evaluator/decomposition or exp=evaluator/matching."
        ) from error
    return state, recipe


class DecompositionTraining(EvaluatorTraining):
    """Trains movement encoder and decoder as an autoencoder of short windows; the encoder gets no foot contacts."""

    def __init__(self, recipe: EvaluatorRecipe, fitting: FittingOptions) -> None:
        super().__init__(recipe, fitting)
        self.movement_encoder = build_networks(recipe).movement_encoder
        self.decoder = MovementDecoder(recipe.movement_dim, recipe.movement_hidden, recipe.features.num_features)

    def losses(self, batch: dict[str, Any], seed: int) -> dict[str, Tensor]:
        rows = self.normalize(batch)
        movements = self.movement_encoder(rows[..., : self.recipe.features.num_seen])
        total, *terms = decomposition_loss(self.decoder(movements), rows, movements)
        return {"loss": total, **dict(zip(("reconstruction", "sparsity", "smoothness"), terms, strict=True))}


def build_text_input(recipe: EvaluatorRecipe, glove_folder: str | Path) -> TextInput:
    """The text input for a recipe; only GloVe uses `glove_folder`."""
    if recipe.text == "glove":
        return GloveInput(WordVectorizer(glove_folder))
    return TokenStateInput(recipe.text_encoder, recipe.text_dim)


class CaptionTraining(EvaluatorTraining):
    """Common part of trainings with captions; token states come from the cache of the store if it has one.

    Args:
        recipe, fitting: see `EvaluatorTraining`.
        text_input: converter of captions to network input.
    """

    def __init__(self, recipe: EvaluatorRecipe, fitting: FittingOptions, *, text_input: TextInput) -> None:
        super().__init__(recipe, fitting)
        if text_input.dim != recipe.text_dim:
            raise ValueError(
                f"The evaluator needs words of {recipe.text_dim} dimensions, the text input has {text_input.dim}. Set "
                "evaluator.text_dim, or choose the matching text side with text=."
            )
        self.text_input = text_input

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if isinstance(self.text_input, TokenStateInput):
            self.text_input.use_cache(self.trainer.datamodule.dataset("train").store)  # type: ignore[attr-defined]

    def words(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of a text encoder for the captions of a batch."""
        words = self.text_input(batch["text"], batch["tokens"])
        pos_onehot = None if words.pos_onehot is None else words.pos_onehot.to(self.mean)
        return {"words": words.words.to(self.mean), "lengths": words.lengths, "pos_onehot": pos_onehot}


class MatchingTraining(CaptionTraining):
    """Trains motion and text encoder to embed a motion and its caption close together.

    Args:
        recipe, fitting, text_input: see `CaptionTraining`.
        objective: loss.
        freeze: "movement" keeps the movement encoder of the autoencoder, as published; "none" also trains it.
    """

    def __init__(
        self,
        recipe: EvaluatorRecipe,
        fitting: FittingOptions,
        *,
        text_input: TextInput,
        objective: MatchingObjective,
        freeze: str = "movement",
    ) -> None:
        super().__init__(recipe, fitting, text_input=text_input)
        if freeze not in FREEZE_GROUPS:
            raise ValueError(f"Unknown freeze group '{freeze}'; known: {FREEZE_GROUPS}.")
        self.movement_encoder, self.motion_encoder, self.text_encoder = build_networks(recipe)
        self.objective, self.is_frozen = objective, freeze == "movement"
        self.movement_encoder.requires_grad_(not self.is_frozen)

    def train(self, mode: bool = True) -> MatchingTraining:
        """Training mode for all parts except a frozen movement encoder."""
        super().train(mode)
        if self.is_frozen:
            self.movement_encoder.eval()
        return self

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if self.trainer.enable_validation and len(self.trainer.datamodule.dataset("val")) < 2:  # type: ignore[attr-defined]
            raise ValueError(
                "The validation split has a single clip, but matching needs two. Choose another split with "
                "datamodule.val.split=..., or disable validation with trainer.limit_val_batches=0 callbacks=default."
            )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        if len(batch["lengths"]) > 1:  # a single pair has no negative
            super().validation_step(batch, batch_idx)

    def embed_motions(self, batch: dict[str, Any]) -> Tensor:
        """Embeddings (B, E), equal to those of an `Evaluator`, which pads every clip to the recipe's `max_rows`."""
        rows = self.normalize(batch)[..., : self.recipe.features.num_seen]
        beyond = min(self.recipe.max_rows - rows.shape[1], SEEN_BEYOND)
        movements = self.movement_encoder(nn.functional.pad(rows, (0, 0, 0, beyond)))
        return self.motion_encoder(movements, batch["lengths"] // ROWS_PER_TOKEN)

    def losses(self, batch: dict[str, Any], seed: int) -> dict[str, Tensor]:
        text, motion = self.text_encoder(**self.words(batch)), self.embed_motions(batch)
        described = torch.tensor([[c in known for known in batch["captions"]] for c in batch["caption"].tolist()])
        described = described.to(text.device)
        terms = self.objective(text, motion, described, seed=seed)
        nearest = torch.cdist(text.detach(), motion.detach()).argmin(1)
        retrieved = described.gather(1, nearest[:, None]).float().mean()
        return {**terms, "top1": retrieved}


class LengthTraining(CaptionTraining):
    """Trains the prediction of the motion length from the caption."""

    def __init__(self, recipe: EvaluatorRecipe, fitting: FittingOptions, *, text_input: TextInput) -> None:
        super().__init__(recipe, fitting, text_input=text_input)
        num_classes = recipe.max_rows // ROWS_PER_TOKEN + 1
        self.length_estimator = LengthEstimator(recipe.text_dim, recipe.pos_dim, recipe.text_hidden, num_classes)

    def losses(self, batch: dict[str, Any], seed: int) -> dict[str, Tensor]:
        return {"loss": length_loss(self.length_estimator(**self.words(batch)), batch["lengths"])}
