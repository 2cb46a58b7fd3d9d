"""Sampling of token sequences: all tokens are hidden at first, and the least likely ones are repeatedly hidden again.

Every item draws from its own CPU generator and only for its own length, so a sample does not depend on the rest of the
batch, on padding or on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.masked_modeling.masks import cosine_schedule, keep_likely

NEVER_AGAIN = 1e5  # score of tokens that are not hidden again
FREE = -1  # token to sample; padding in results


@dataclass(frozen=True)
class TokenSampling:
    """Options of token sampling.

    Attributes:
        num_steps: rounds of hiding and sampling. guidance_scale: extrapolation from the logits without text to those
            with it; 1: no guidance. threshold: fraction of the least likely classes that are never sampled.
            temperature: sampling temperature; near 0 selects the most likely class.
    """

    num_steps: int = 10
    guidance_scale: float = 4.0
    threshold: float = 0.9
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or not 0 <= self.threshold < 1 or self.temperature <= 0:
            raise ValueError(
                f"num_steps is {self.num_steps}, threshold {self.threshold}, temperature {self.temperature}; expected "
                "at least one step, a threshold in [0, 1) and a positive temperature."
            )


def guided(scale: float, conditional: Callable[[], Tensor], unconditional: Callable[[], Tensor]) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598); one pass if the scale is 1."""
    if scale == 1:
        return conditional()
    free = unconditional()
    return free + scale * (conditional() - free)


def draw_classes(
    logits: Tensor, valid: Tensor, generators: Sequence[torch.Generator], *, threshold: float, temperature: float
) -> Tensor:
    """Classes (B, N) int64 of logits (B, N, K), each item's from its own generator; only `valid` (B, N) ones are drawn.

    The draw is categorical over the likely classes, by the Gumbel trick.
    """
    likely = keep_likely(logits.float(), threshold) / temperature
    noise = torch.zeros(likely.shape)
    for item, (generator, count) in enumerate(zip(generators, valid.sum(-1).tolist(), strict=True)):
        uniform = torch.rand(count, likely.shape[-1], generator=generator).clamp(1e-20, 1 - 1e-7)
        noise[item, :count] = -(-uniform.log()).log()
    return (likely + noise.to(likely)).argmax(-1)


@torch.no_grad()
def sample_masked(
    logits_of: Callable[[Tensor], Tensor],
    lengths: Tensor,
    generators: Sequence[torch.Generator],
    *,
    mask_id: int,
    pad_id: int,
    options: TokenSampling,
    known: Tensor | None = None,
) -> Tensor:
    """Token ids of a batch.

    Args:
        logits_of: ids (B, N) -> guided logits (B, K, N).
        lengths: (B,) int64 tokens of each item.
        generators: B, on the CPU.
        mask_id, pad_id: ids of hidden tokens and of padding. options: sampling options; `logits_of` applies their
            guidance. known: (B, N) fixed ids; FREE for a token to sample. None: all are sampled.

    Returns:
        (B, N) int64, N the largest length; FREE behind each item's end.
    """
    device = lengths.device
    valid = torch.arange(int(lengths.max()), device=device) < lengths[:, None]
    free = valid if known is None else valid & (known[:, : valid.shape[1]] == FREE)
    ids = torch.where(valid, mask_id, pad_id)
    if known is not None:
        ids = torch.where(valid & ~free, known[:, : valid.shape[1]], ids)
    scores = torch.where(free, 0.0, NEVER_AGAIN)
    num_free = free.sum(-1)
    for time in torch.linspace(0, 1, options.num_steps).tolist():
        share = float(cosine_schedule(torch.tensor(time)))
        count = torch.minimum((share * num_free).round().clamp(min=1), num_free)
        rank = scores.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
        hidden = (rank < count[:, None]) & free
        ids = torch.where(hidden, mask_id, ids)
        logits = logits_of(ids).transpose(1, 2)  # (B, N, K)
        drawn = draw_classes(logits, valid, generators, threshold=options.threshold, temperature=options.temperature)
        ids = torch.where(hidden, drawn, ids)
        chance = logits.float().softmax(-1).gather(-1, drawn[..., None])[..., 0]
        scores = torch.where(hidden, chance, NEVER_AGAIN)
    return torch.where(valid, ids, FREE)


@torch.no_grad()
def sample_layers(
    logits_of: Callable[[Tensor, int], Tensor],
    first: Tensor,
    generators: Sequence[torch.Generator],
    *,
    num_layers: int,
    pad_id: int,
    options: TokenSampling,
    known: Tensor | None = None,
    may_pad: bool = False,
) -> Tensor:
    """Ids of all layers, one layer after the other.

    Args:
        logits_of: ids of the layers so far (B, N, j), `pad_id` behind the end, and j -> guided logits (B, K + 1, N) of
            layer j.
        first: (B, N) ids of layer 0, FREE behind the end.
        generators: B, on the CPU.
        num_layers: Q.
        pad_id: id of padding.
        options: of the draw.
        known: (B, N, Q) ids that are kept; FREE where a token is to be drawn. None: all are drawn.
        may_pad: padding can be drawn inside a clip, as in the published program; such tokens are FREE in the result.

    Returns:
        (B, N, Q) int64, FREE behind each item's end.
    """
    valid = first != FREE
    layers = [torch.where(valid, first, pad_id)]
    for layer in range(1, num_layers):
        logits = logits_of(torch.stack(layers, -1), layer).transpose(1, 2).clone()
        if not may_pad:
            logits[..., pad_id] = -torch.inf
        drawn = draw_classes(logits, valid, generators, threshold=options.threshold, temperature=options.temperature)
        if known is not None:
            kept = known[:, : valid.shape[1], layer]
            drawn = torch.where(kept == FREE, drawn, kept)
        layers.append(torch.where(valid, drawn, pad_id))
    ids = torch.stack(layers, -1)
    return torch.where(ids == pad_id, FREE, ids)
