"""Text input of the networks of Motion-2-to-3, and text dropout in training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hmr4d.methods.motion2to3.values import TrainingDraws
from hmr4d.nn.text import TextFeatures
from hmr4d.nn.text_adapter import TextAdapter


def text_inputs(
    text: TextFeatures, mode: str, *, use_pooled_token: bool = False, adapter: TextAdapter | None = None
) -> dict[str, Tensor]:
    """Keyword arguments of a denoiser for encoded text.

    Args:
        text: text features (B).
        mode: `text_mode` of the denoiser.
        use_pooled_token: use the pooled vector as the first token.
        adapter: maps the pooled vector to the input of the network; None: identity.
    """
    if mode == "pooled":
        return {"text": text.pooled}
    tokens, valid = text.tokens, text.valid
    if use_pooled_token:
        tokens = torch.cat([unit_variance(text.pooled)[:, None], tokens], 1)
        valid = torch.cat([valid.new_ones(len(valid), 1), valid], 1)
    if mode != "tokens_and_pooled":
        return {"text": tokens, "text_valid": valid}
    pooled = unit_variance(text.pooled) if adapter is None else adapter(text.pooled)
    return {"text": tokens, "text_valid": valid, "text_pooled": pooled}


def drop_text(text: TextFeatures, null: Callable[[], TextFeatures], draws: TrainingDraws) -> TextFeatures:
    """Text features with dropped samples replaced by the empty prompt (from `null`) and dropped tokens hidden."""
    valid = text.valid
    if draws.keep_token is not None:
        valid = valid & draws.keep_token.to(valid.device)
    if bool(draws.keep_text.all()):
        return TextFeatures(text.tokens, valid, text.pooled)
    empty = null()
    longest = max(text.tokens.shape[1], empty.tokens.shape[1])
    keep = draws.keep_text.to(valid.device)
    tokens = torch.where(keep[:, None, None], _pad_tokens(text.tokens, longest), _pad_tokens(empty.tokens, longest))
    valid = torch.where(keep[:, None], _pad_tokens(valid, longest), _pad_tokens(empty.valid, longest))
    return TextFeatures(tokens, valid, torch.where(keep[:, None], text.pooled, empty.pooled))


def unit_variance(pooled: Tensor) -> Tensor:
    """Unit vectors (B, D), scaled to entries with a mean square of one."""
    return pooled * pooled.shape[-1] ** 0.5


def _pad_tokens(x: Tensor, length: int) -> Tensor:
    """(B, M, ...) zero-padded to (B, length, ...)."""
    if x.shape[1] == length:
        return x
    return torch.cat([x, x.new_zeros(x.shape[0], length - x.shape[1], *x.shape[2:])], 1)
