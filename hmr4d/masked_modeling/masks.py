"""Masking of tokens in training, their replacement, and the loss on them.

Chang et al., "MaskGIT: Masked Generative Image Transformer", CVPR 2022, arXiv 2202.04200, in the form of Guo et al.,
"MoMask", CVPR 2024, arXiv 2312.00063.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RANDOM_SHARE = 0.1  # of hidden tokens that become another token
MASK_SHARE = 0.88  # of the others that become the mask; the rest stays


def cosine_schedule(t: Tensor) -> Tensor:
    """Fraction of hidden tokens at time t in [0, 1]: cos(pi t / 2)."""
    return torch.cos(t * math.pi / 2)


def draw_hidden(valid: Tensor, generator: torch.Generator) -> Tensor:
    """Tokens to hide: a fraction by the cosine of a random time, at random positions.

    Args:
        valid: (B, N) bool, tokens that are no padding.
        generator: on the CPU.

    Returns:
        (B, N) bool. The fraction is relative to the padded length, so a short item may have few or no hidden tokens.
    """
    batch, length = valid.shape
    share = cosine_schedule(torch.rand(batch, generator=generator))
    count = (share * length).round().clamp(min=1)
    rank = torch.rand(batch, length, generator=generator).argsort(-1)
    return (rank < count[:, None]).to(valid.device) & valid


def corrupt(ids: Tensor, hidden: Tensor, *, num_tokens: int, mask_id: int, generator: torch.Generator) -> Tensor:
    """Token ids (B, N) with the `hidden` (B, N) ones masked, replaced by random ones, or, rarely, unchanged."""
    draw = torch.rand(2, *ids.shape, generator=generator).to(ids.device)
    other = torch.randint(0, num_tokens, ids.shape, generator=generator).to(ids.device)
    is_random = hidden & (draw[0] < RANDOM_SHARE)
    is_masked = hidden & ~is_random & (draw[1] < MASK_SHARE)
    return torch.where(is_masked, mask_id, torch.where(is_random, other, ids))


def residual_layers(noise: Tensor, num_layers: int) -> Tensor:
    """Layers 1 to num_layers - 1 for uniform noise (B,) in [0, 1); the first ones are drawn most often."""
    return ((1 - cosine_schedule(noise)) * (num_layers - 2)).round().long() + 1


def token_loss(logits: Tensor, targets: Tensor, *, ignore: int, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy over the tokens whose target is not `ignore`; both 0 if there is none.

    Args:
        logits: (B, K, N).
        targets: (B, N) int64.
        ignore: target that does not count.
        smoothing: probability of the K - 1 other classes together.
    """
    counts = targets != ignore
    safe = torch.where(counts, targets, 0)
    log_chances = logits.float().log_softmax(1)
    hit = log_chances.gather(1, safe[:, None])[:, 0]
    miss = log_chances.sum(1) - hit
    loss = -((1 - smoothing) * hit + smoothing / (logits.shape[1] - 1) * miss)
    right = (logits.argmax(1) == targets) & counts
    total = counts.sum().clamp(min=1)
    return (loss * counts).sum() / total, right.sum() / total


def keep_likely(logits: Tensor, threshold: float) -> Tensor:
    """Logits (..., K) of the most likely ceil((1 - threshold) K) classes; the others are -inf."""
    count = max(math.ceil((1 - threshold) * logits.shape[-1]), 1)
    best, places = logits.topk(count, dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, places, best)
