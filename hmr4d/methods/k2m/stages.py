"""The four trainings: random draws, losses and validation metrics."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hmr4d.body.keypoint_body import load_keypoint_body
from hmr4d.body.pose_limits import load_pose_limits
from hmr4d.masked_modeling.masks import corrupt, draw_hidden, residual_layers, token_loss
from hmr4d.methods.k2m.checks import body_checks, token_checks
from hmr4d.methods.k2m.keypoint_input import image_size
from hmr4d.methods.k2m.losses import Drawn, LossOptions, LossWeights, Observed, loss_terms, weighted
from hmr4d.methods.k2m.network import K2MNetwork
from hmr4d.methods.k2m.placement import solved_shift
from hmr4d.methods.k2m.projection import FOCAL_LENGTH, MAX_SIDES, MIN_DEPTH, project
from hmr4d.methods.k2m.smpl_head import BodyParameters
from hmr4d.methods.k2m.turned_views import ViewCritic, turned_pixels, view_terms
from hmr4d.methods.k2m.world import FEET


@dataclass(frozen=True)
class TrainingOptions:
    """Training options of the parts.

    Attributes:
        weights: weights of the tokenizer's losses.
        losses: options of the tokenizer's losses.
        body: body model whose keypoints are projected, see `load_keypoint_body`.
        body_options: options of that body, such as `path`.
        pose_limits: JSON file; None: the packaged table.
        focal: focal length, pixels.
        turn: largest rotation of bodies for `turned_views` to either side, degrees.
        drop_text: probability that the masked transformer trains without the caption.
        drop_text_residual: the same for the residual transformer.
        text_noise: length of the noise that is added to text vectors in training, relative to theirs.
        smoothing: label smoothing of both transformers.
    """

    weights: LossWeights = field(default_factory=LossWeights)
    losses: LossOptions = field(default_factory=LossOptions)
    body: str = "anny"
    body_options: dict[str, Any] = field(default_factory=dict)
    pose_limits: str | None = None
    focal: float = FOCAL_LENGTH
    turn: float = 180.0
    drop_text: float = 0.1
    drop_text_residual: float = 0.2
    text_noise: float = 0.0
    smoothing: float = 0.0


class Stage(ABC):
    """The training of one part.

    Args:
        network: network that contains the part.
        options: training options.
        critic: critic of turned views; used by the tokenizer if its weight is not 0.
    """

    def __init__(self, network: K2MNetwork, options: TrainingOptions, critic: ViewCritic | None = None) -> None:
        self.network, self.options, self.critic = network, options, critic

    @abstractmethod
    def draw(self, batch: dict[str, Any], generator: torch.Generator) -> Any:
        """Draws all random numbers of a step."""

    @abstractmethod
    def loss(self, batch: dict[str, Any], draws: Any) -> dict[str, Tensor]:
        """Loss terms by name; the trainer minimizes "loss"."""

    def monitor(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Validation metrics by name."""
        return self.loss(batch, self.draw(batch, generator))


class TokenizerStage(Stage):
    """Training of the tokenizer from keypoints in pixels.

    Batches: `keypoints` (B, F, 18, 3), `valid` (B, F) bool, `start` (B,) index of the first frame in its clip. Other
        keys are ignored.
    """

    def __init__(self, network: K2MNetwork, options: TrainingOptions, critic: ViewCritic | None = None) -> None:
        super().__init__(network, options, critic)
        self.limits = load_pose_limits() if options.pose_limits is None else load_pose_limits(options.pose_limits)
        self.body = load_keypoint_body(options.body, **options.body_options)

    def draw(self, batch: dict[str, Any], generator: torch.Generator) -> int:
        """Draws the seed of the quantizer. Its numbers are drawn for the whole batch, so those of an item depend
        on its position in the batch."""
        return int(torch.randint(0, 2**62, (1,), generator=generator))

    def loss(self, batch: dict[str, Any], draws: int) -> dict[str, Tensor]:
        terms, _, _, quantized = self._terms(batch, draws)
        logged = {"perplexity": quantized.perplexity[0].detach(), "rec_pixels": terms["rec"].detach()}
        return self._weighted(terms) | logged

    def monitor(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        terms, drawn, observed, quantized = self._terms(batch, self.draw(batch, generator))
        return {
            **self._weighted(terms),
            **body_checks(drawn, observed, self.limits, self.options.losses.min_conf),
            **token_checks(quantized, self.network.motion_tokenizer.num_codes),
        }

    def _weighted(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms and their sum. The critic has separate parameters, so its loss needs no weight."""
        losses = weighted(terms, self.options.weights)
        if self.critic is not None:
            losses |= {"loss": losses["loss"] + terms["critic"], "critic": terms["critic"]}
        return losses

    def _terms(self, batch: dict[str, Any], seed: int) -> tuple[dict[str, Tensor], Drawn, Observed, Any]:
        """All unweighted terms, with prediction, observation and quantization."""
        keypoints, valid = batch["keypoints"], batch["valid"]
        size, generator = image_size(keypoints), torch.Generator().manual_seed(seed)
        body, quantized = self.network.motion_tokenizer(
            keypoints, frame_offset=batch["start"], valid=None if valid.all() else valid, generator=generator
        )
        observed = Observed(keypoints[:, :, :-1, :2], keypoints[:, :, :-1, 2], valid)
        drawn = self.drawn(body, size, observed)
        terms = loss_terms(drawn, observed, self.limits, self.options.losses) | {"rvq": quantized.commitment}
        if self.critic is not None:
            terms |= self._view_terms(self.critic, body, drawn, size, generator)
        return terms, drawn, observed, quantized

    def _view_terms(
        self, critic: ViewCritic, body: BodyParameters, drawn: Drawn, size: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses of critic and bodies on half of the clips; this is as good as all clips at half the cost."""
        some = slice((len(size) + 1) // 2)
        points = self.body(body.betas[some], body.rotations[some], body.translation[some])[1]
        yaw = (2 * torch.rand(len(points), generator=generator).to(points) - 1) * math.radians(self.options.turn)
        turned = turned_pixels(points, yaw, size[some], focal=self.options.focal)
        return view_terms(critic, drawn.pixels[some], turned, size[some])

    def drawn(self, body: BodyParameters, size: Tensor, observed: Observed, window: int | None = None) -> Drawn:
        """The projection of a body to images of `size` (B, 2), pixels; a path is moved to its observed position.

        `window` is that of `solved_shift`.
        """
        joints3d, points = self.body(body.betas, body.rotations, body.translation)
        translation, feet = body.translation, joints3d[..., FEET, :] - body.translation[..., None, :]
        if self.network.motion_tokenizer.head.translation == "path":
            rules = {"min_conf": self.options.losses.min_conf, "focal": self.options.focal}
            shift = solved_shift(points, observed, size, window=window, **rules)
            points, translation = points + shift[:, :, None], translation + shift
        pixels, visible = project(points, size, focal=self.options.focal, min_depth=MIN_DEPTH, max_sides=MAX_SIDES)
        return Drawn(pixels, visible, body.pose[..., 3:], body.betas, body.rotations[..., 0, :, :], translation, feet)


@dataclass(frozen=True, eq=False)
class TextDraws:
    """Whether the captions are used (B,) bool, and the noise on their vectors (B, C) or None."""

    keeps_text: Tensor
    noise: Tensor | None

    @classmethod
    def draw(cls, pooled: Tensor, drop: float, noise: float, generator: torch.Generator) -> TextDraws:
        """Draws for text vectors (B, C): captions dropped with probability `drop`, noise of relative length `noise`."""
        keeps_text = torch.rand(len(pooled), generator=generator) >= drop
        if not noise:
            return cls(keeps_text.to(pooled.device), None)
        drawn = noise * pooled.shape[1] ** -0.5 * torch.randn(pooled.shape, generator=generator)
        return cls(keeps_text.to(pooled.device), drawn.to(pooled.device))

    def apply(self, pooled: Tensor) -> Tensor:
        """Text vectors (B, C) with noise; zeros where the caption is not used."""
        if self.noise is not None:
            pooled = pooled + self.noise * pooled.norm(dim=-1, keepdim=True)
        return pooled * self.keeps_text[:, None]


@dataclass(frozen=True, eq=False)
class MaskedDraws:
    """Hidden tokens (B, N) bool, their replacements (B, N), and the draws of the text."""

    hidden: Tensor
    ids: Tensor
    text: TextDraws


class MaskedStage(Stage):
    """Training of the masked transformer on hidden base tokens.

    Batches: `tokens` (B, N, Q), `valid` (B, N) bool, `text_pooled` (B, C).
    """

    def draw(self, batch: dict[str, Any], generator: torch.Generator) -> MaskedDraws:
        ids, network = batch["motion_tokens"][..., 0], self.network.masked_transformer
        hidden = draw_hidden(batch["valid"], generator)
        shown = corrupt(ids, hidden, num_tokens=network.num_tokens, mask_id=network.mask_id, generator=generator)
        options = self.options
        text = TextDraws.draw(batch["text_pooled"], options.drop_text, options.text_noise, generator)
        return MaskedDraws(hidden, shown, text)

    def loss(self, batch: dict[str, Any], draws: MaskedDraws) -> dict[str, Tensor]:
        network, valid = self.network.masked_transformer, batch["valid"]
        shown = torch.where(valid, draws.ids, network.pad_id)
        logits = network(shown, draws.text.apply(batch["text_pooled"]), valid)
        targets = torch.where(draws.hidden, batch["motion_tokens"][..., 0], network.mask_id)
        loss, accuracy = token_loss(logits, targets, ignore=network.mask_id, smoothing=self.options.smoothing)
        return {"loss": loss, "accuracy": accuracy}


@dataclass(frozen=True, eq=False)
class ResidualDraws:
    """Predicted layer (B,) of each item, and the draws of the text."""

    layer: Tensor
    text: TextDraws


class ResidualStage(Stage):
    """Training of the residual transformer on one layer per item; batches as for `MaskedStage`."""

    def draw(self, batch: dict[str, Any], generator: torch.Generator) -> ResidualDraws:
        tokens = batch["motion_tokens"]
        noise = torch.rand(len(tokens), generator=generator)
        layer = residual_layers(noise, self.network.residual_transformer.num_quantizers).to(tokens.device)
        options = self.options
        text = TextDraws.draw(batch["text_pooled"], options.drop_text_residual, options.text_noise, generator)
        return ResidualDraws(layer, text)

    def loss(self, batch: dict[str, Any], draws: ResidualDraws) -> dict[str, Tensor]:
        network, tokens, valid = self.network.residual_transformer, batch["motion_tokens"], batch["valid"]
        logits = network(tokens, draws.layer, draws.text.apply(batch["text_pooled"]), valid)
        wanted = tokens.gather(-1, draws.layer[:, None, None].expand(-1, tokens.shape[1], 1))[..., 0]
        targets = torch.where(valid, wanted, network.pad_id)
        loss, accuracy = token_loss(logits, targets, ignore=network.pad_id, smoothing=self.options.smoothing)
        return {"loss": loss, "accuracy": accuracy}


class LengthStage(Stage):
    """Training of the length estimator, which predicts the number of tokens from a caption.

    Batches: `lengths` (B,), `text_pooled` (B, C)."""

    def draw(self, batch: dict[str, Any], generator: torch.Generator) -> None:
        return None

    def loss(self, batch: dict[str, Any], draws: None) -> dict[str, Tensor]:
        network = self.network.length_estimator
        logits, lengths = network(batch["text_pooled"]), batch["lengths"]
        if int(lengths.max()) >= network.num_classes:
            raise ValueError(
                f"A clip has {int(lengths.max())} tokens; the length estimator supports up to "
                f"{network.num_classes - 1}. "
                "Raise network.length.num_classes or lower data.train.max_tokens."
            )
        miss = (logits.softmax(-1) @ torch.arange(network.num_classes).to(logits) - lengths).abs().mean()
        return {"loss": F.cross_entropy(logits, lengths), "tokens_off": miss.detach()}


STAGES: dict[str, type[Stage]] = {
    "tokenizer": TokenizerStage,
    "masked": MaskedStage,
    "residual": ResidualStage,
    "length": LengthStage,
}
