"""Generation of the tokens of all layers from text, optionally with some tokens given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hmr4d.masked_modeling.sampling import FREE, TokenSampling, guided, sample_layers, sample_masked
from hmr4d.methods.k2m.network import K2MNetwork
from hmr4d.methods.k2m.tokenizer import UNIT


@dataclass(frozen=True)
class GenerationOptions:
    """Options of sampling.

    Attributes:
        base: sampling options of the base tokens.
        residual: sampling options of the residual layers; its number of steps is ignored.
        extra_tokens: tokens generated beyond the end and removed, because the last frames of a clip are the least
            accurate.
        action_pull: weight of the most probable known action in the text vector, see `ActionIndex.pulled`; 0: the text
            alone. Without a text adapter or a list of known actions it has no effect.
        estimate_length: use the length estimator, if there is one, for clips without a given duration.
        smooth: remove noise from generated motion, see `motion.temporal_smoothing`.
        plant_feet: stop standing feet from sliding, see `motion.foot_lock`.
    """

    base: TokenSampling = field(default_factory=TokenSampling)
    residual: TokenSampling = field(default_factory=lambda: TokenSampling(guidance_scale=5.0))
    extra_tokens: int = 0
    action_pull: float = 0.0
    estimate_length: bool = True
    smooth: bool = True
    plant_feet: bool = True


@torch.no_grad()
def draw_tokens(
    network: K2MNetwork,
    text: Tensor,
    lengths: Tensor,
    generators: Sequence[torch.Generator],
    options: GenerationOptions,
    known: Tensor | None = None,
) -> Tensor:
    """Generates tokens (B, N, Q) for pooled texts; -1 after the end of each item.

    Args:
        network: network with both transformers.
        text: (B, C) pooled text vectors.
        lengths: (B,) int64, number of tokens of each item.
        generators: B CPU generators; an item depends only on its generator, its text and its length.
        options: sampling options.
        known: (B, N, Q) given tokens; -1 where a token is generated. None: all are generated.
    """
    base, residual = network.masked_transformer, network.residual_transformer
    lengths = lengths + options.extra_tokens
    if known is not None:
        known = torch.nn.functional.pad(known, (0, 0, 0, int(lengths.max()) - known.shape[1]), value=FREE)
    valid = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    blank = torch.zeros_like(text)
    scale = options.base.guidance_scale

    def base_logits(ids: Tensor) -> Tensor:
        return guided(scale, lambda: base(ids, text, valid), lambda: base(ids, blank, valid))

    def residual_logits(ids: Tensor, layer: int) -> Tensor:
        return guided(
            options.residual.guidance_scale,
            lambda: residual(ids, layer, text, valid),
            lambda: residual(ids, layer, blank, valid),
        )

    first = sample_masked(
        base_logits,
        lengths,
        generators,
        mask_id=base.mask_id,
        pad_id=base.pad_id,
        options=options.base,
        known=None if known is None else known[..., 0],
    )
    tokens = sample_layers(
        residual_logits,
        first,
        generators,
        num_layers=residual.num_quantizers,
        pad_id=residual.pad_id,
        options=options.residual,
        known=known,
    )
    wanted = torch.arange(tokens.shape[1], device=tokens.device) < (lengths - options.extra_tokens)[:, None]
    return torch.where(wanted[..., None], tokens, FREE)[:, : int(lengths.max()) - options.extra_tokens]


@torch.no_grad()
def estimated_tokens(network: K2MNetwork, text: Tensor, *, least: int, most: int) -> list[int]:
    """The most likely number of tokens from `least` to `most` for each pooled text (B, C)."""
    logits = network.length_estimator(text)[:, least : most + 1]
    return (logits.argmax(-1) + least).tolist()


def kept_tokens(tokens: Tensor, ranges: Sequence[tuple[float, float]], num_tokens: int, fps: float) -> Tensor:
    """Tokens (N', Q) of a motion, cut or padded to `num_tokens`, with -1 outside the kept time ranges (seconds).

    A token is kept if all its four frames lie in a range.

    Raises:
        ValueError: a range is empty or outside the motion, or no range contains a complete token.
    """
    kept = torch.full((num_tokens, tokens.shape[1]), FREE, dtype=tokens.dtype)
    seconds = len(tokens) * UNIT / fps
    for start, end in ranges:
        if not 0 <= start < end <= seconds + 1 / fps:
            raise ValueError(f"The range {start:g} to {end:g} s is not within the motion, which has {seconds:g} s.")
        first = -int(-(start * fps - 1e-6) // UNIT)
        last = min(int(end * fps + 1e-6) // UNIT, len(tokens), num_tokens)
        kept[first:last] = tokens[first:last]
    if not (kept != FREE).any():
        raise ValueError(
            f"No range of {list(ranges)} s contains a complete token of {UNIT / fps:.2f} s. Keep a longer range."
        )
    return kept
