"""A linear recognizer of actions: pooled vector of a sentence -> a score for each known action.

The directions of a text adapter separate actions, but the nearest mean direction is a weak decision: it cannot give up
words that two actions share. A recognizer weighs every dimension of the encoder's vector for every action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hmr4d.nn.text_adapter import LabeledCaptions, caption_votes
from hmr4d.utils.progress import progress


@dataclass(frozen=True)
class ActionRecognizer:
    """Scores of A actions, linear in the encoder's pooled vector.

    Attributes:
        weight: (A, C).
        bias: (A,).
    """

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(
                f"A recognizer needs weights (A, C) and biases (A,); got {tuple(self.weight.shape)} and "
                f"{tuple(self.bias.shape)}."
            )

    def __call__(self, pooled: Tensor) -> Tensor:
        """(B, C) pooled vectors -> (B, A) logarithms of probabilities, up to a constant for each vector."""
        if pooled.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"The action recognizer needs pooled vectors of {self.weight.shape[1]} dimensions; got "
                f"{pooled.shape[-1]}. Use the text encoder of its training."
            )
        return pooled.float().cpu() @ self.weight.T + self.bias


@dataclass(frozen=True)
class RecognizerTraining:
    """Training options of a recognizer.

    Attributes:
        seed: seed of draws, noise and dropout.
        steps, batch_size: number and size of the batches of the regression.
        prior_power: an action is drawn in proportion to its number of captions to this power.
        drop_input: dropout of the input.
        noise: standard deviation of noise on the pooled vectors, relative to theirs.
        learning_rate, weight_decay: options of AdamW; the rate falls to zero by a cosine.
        discriminant_weight: weight of the discriminant, relative to 1 of the regression.
        shrinkage: variance added to every dimension of the discriminant, relative to the mean variance.
    """

    seed: int = 0
    steps: int = 400
    batch_size: int = 768
    prior_power: float = 0.5
    drop_input: float = 0.4
    noise: float = 0.1
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    discriminant_weight: float = 0.1
    shrinkage: float = 0.003


def fit_recognizer(captions: LabeledCaptions, training: RecognizerTraining | None = None) -> ActionRecognizer:
    """Fits a recognizer: logistic regression with dropout plus a small share of a linear discriminant.

    The regression learns what separates similar actions; the discriminant finds directions in which sentences of one
    action hardly vary, which dropout hides. Near copies of a sentence share their weight. On one machine, the result
    depends on captions and options alone.

    Args:
        captions: labeled captions; the result has the actions of `LabeledCaptions.numbered`.
        training: training options.

    Raises:
        ValueError: there are fewer than two actions.
    """
    training = training or RecognizerTraining()
    names, rows = captions.numbered()
    if len(names) < 2:
        raise ValueError(f"All captions have the action '{names[0][0]}'; a recognizer needs at least two actions.")
    draw = caption_votes(captions) * rows.bincount().float()[rows] ** training.prior_power
    draw = draw / draw.sum()
    mean = captions.pooled.mean(0)
    scale = (captions.pooled - mean).std().clamp(min=1e-6)
    weight, bias = fit_linear((captions.pooled - mean) / scale, rows, draw, training)
    weight = weight / scale
    bias = bias - weight @ mean
    return ActionRecognizer(weight - weight.mean(0), bias - bias.mean())


def fit_linear(x: Tensor, rows: Tensor, draw: Tensor, training: RecognizerTraining) -> tuple[Tensor, Tensor]:
    """Weights (A, C) and biases (A,) of the sum of regression and discriminant.

    Args:
        x: (N, C) examples of about unit variance.
        rows: (N,) action of each example, 0 to A - 1.
        draw: (N,) probability of each example.
        training: training options.
    """
    weight, bias = _regression(x, rows, draw, training)
    other_weight, other_bias = _discriminant(x, rows, draw, training.shrinkage)
    return weight + training.discriminant_weight * other_weight, bias + training.discriminant_weight * other_bias


def _regression(x: Tensor, rows: Tensor, draw: Tensor, training: RecognizerTraining) -> tuple[Tensor, Tensor]:
    """Weights (A, C) and biases (A,) of logistic regression on vectors (N, C) of actions `rows` (N,)."""
    count = int(rows.max()) + 1
    generator = torch.Generator().manual_seed(training.seed)
    weight = torch.zeros(count, x.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], training.learning_rate, weight_decay=training.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    keep = 1.0 - training.drop_input
    for _ in progress(range(training.steps), "action recognizer", unit="step"):
        chosen = torch.multinomial(draw, training.batch_size, replacement=True, generator=generator)
        shape = (training.batch_size, x.shape[1])
        inputs = x[chosen] + training.noise * torch.randn(shape, generator=generator)
        inputs = inputs * (torch.rand(shape, generator=generator) < keep) / keep
        loss = cross_entropy(inputs @ weight.T + bias, rows[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return weight.detach(), bias.detach()


def _discriminant(x: Tensor, rows: Tensor, draw: Tensor, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Weights (A, C) and biases (A,) of Fisher's discriminant: normal distributions with one covariance, equally
    frequent."""
    count = int(rows.max()) + 1
    total = torch.zeros(count).index_add_(0, rows, draw)
    means = torch.zeros(count, x.shape[1]).index_add_(0, rows, x * draw[:, None]) / total[:, None]
    apart = (x - means[rows]) * draw.sqrt()[:, None]
    covariance = apart.T @ apart
    covariance.diagonal().add_(shrinkage * covariance.diagonal().mean() + 1e-8)
    weight = torch.linalg.solve(covariance, means.T).T
    return weight, -0.5 * (weight * means).sum(1)
