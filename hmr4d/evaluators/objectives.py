"""What pulls texts and motions together: the published objective, and one that compares all pairs of a batch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hmr4d.evaluators.losses import MARGIN, matching_loss, published_shift


class MatchingObjective(Protocol):
    """Terms of a loss by name, among them "loss".

    Args:
        text, motion: (B, E) embeddings, pairs at equal rows.
        described: (B, B) bool, whether text i describes motion j too; True on the diagonal.
        seed: of what is drawn.
    """

    def __call__(self, text: Tensor, motion: Tensor, described: Tensor, *, seed: int) -> dict[str, Tensor]: ...


class ShiftedPairs:
    """The published contrastive loss: every text against its motion and one other.

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
    """Cross-entropy of finding the motion of a text among all of the batch, and the text of a motion.

    Scores are -d^2 / temperature with the distance d that the metrics use, otherwise as by van den Oord et al.,
    "Representation Learning with Contrastive Predictive Coding", 2018, arXiv 1807.03748. Where a text describes another
    motion of the batch too, that pair is left out: it is not wrong.

    Args:
        temperature: squared distance that counts one unit of score; it sets the scale of the embeddings.
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
