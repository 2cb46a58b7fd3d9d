"""Training objectives of matching: the published one, and one that compares all pairs of a batch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hmr4d.evaluators.losses import MARGIN, matching_loss, published_shift


class MatchingObjective(Protocol):
    """Interface: loss terms by name, including "loss".

    Args:
        text, motion: (B, E) embeddings, pairs at equal rows.
        described: (B, B) bool, whether text i also describes motion j; True on the diagonal.
        seed: seed of random draws.
    """

    def __call__(self, text: Tensor, motion: Tensor, described: Tensor, *, seed: int) -> dict[str, Tensor]: ...


class ShiftedPairs:
    """The published contrastive loss: each text with its motion and one negative.

    Args:
        margin: see `matching_loss`.
    """

    def __init__(self, margin: float = MARGIN) -> None:
        self.margin = margin

    def __call__(self, text: Tensor, motion: Tensor, described: Tensor, *, seed: int) -> dict[str, Tensor]:
        shift = published_shift(len(text), np.random.RandomState(seed % 2**32))
        total, positive, negative = matching_loss(text, motion, shift=shift, margin=self.margin)
        return {"loss": total, "positive": positive, "negative": negative}


class AllPairs:
    """Cross-entropy of retrieving the motion of a text, and the text of a motion, among all pairs of the batch.

    Scores are -d^2 / temperature with the distance d that the metrics use, otherwise as by van den Oord et al.,
    "Representation Learning with Contrastive Predictive Coding", 2018, arXiv 1807.03748. Pairs in which a text also
    describes another motion are excluded, because they are not negatives.

    Args:
        temperature: squared distance per unit of score; determines the scale of the embeddings.
    """

    def __init__(self, temperature: float = 10.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; expected more than 0.")
        self.temperature = temperature

    def __call__(self, text: Tensor, motion: Tensor, described: Tensor, *, seed: int) -> dict[str, Tensor]:
        squared = (text[:, None] - motion[None]).square().sum(-1)
        own = torch.arange(len(text), device=text.device)
        also = described & (own[:, None] != own)
        scores = (-squared / self.temperature).masked_fill(also, float("-inf"))
        find_motion, find_text = (nn.functional.cross_entropy(s, own) for s in (scores, scores.T))
        distance = squared.diagonal().sqrt().mean()
        return {
            "loss": (find_motion + find_text) / 2,
            "find_motion": find_motion,
            "find_text": find_text,
            "distance": distance.detach(),
        }
