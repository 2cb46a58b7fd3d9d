"""First weights of the transformers: at the start, tokens and text count as much as positions."""

from __future__ import annotations

import pytest
import torch

from hmr4d.methods.k2m.transformers import MaskedTransformer, ResidualTransformer, Start

BATCH, LENGTH, CODES, TEXT_DIM = 8, 12, 32, 384
SIZES = {"num_tokens": CODES, "token_dim": 128, "text_dim": TEXT_DIM, "dim": 192, "num_layers": 2, "num_heads": 4}


def texts(seed: int) -> torch.Tensor:
    drawn = torch.randn(BATCH, TEXT_DIM, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=-1, keepdim=True)


def tokens(seed: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, CODES, (BATCH, LENGTH, *shape), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def changes(start: Start) -> dict[str, float]:
    """How much the logits of both transformers change with their tokens and texts, relative to their own size."""
    torch.manual_seed(0)
    masked = MaskedTransformer(**SIZES, hidden_dim=256, start=start).eval()
    residual = ResidualTransformer(**SIZES, num_quantizers=3, hidden_dim=256, start=start).eval()
    valid = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    ids, layers = tokens(0), tokens(1, 3)
    logits, below = masked(ids, texts(0), valid), residual(layers, 2, texts(0), valid)
    size, depth = logits.std(), below.std()
    return {
        "masked size": float(size),
        "residual size": float(depth),
        "masked tokens": float((masked(tokens(2), texts(0), valid) - logits).std() / size),
        "masked text": float((masked(ids, texts(1), valid) - logits).std() / size),
        "residual tokens": float((residual(tokens(3, 3), 2, texts(0), valid) - below).std() / depth),
        "residual text": float((residual(layers, 2, texts(1), valid) - below).std() / depth),
    }


def test_with_weights_of_the_same_scale_tokens_and_text_change_the_logits_from_the_start() -> None:
    found, published = changes("same_scale"), changes("published")
    assert 0.3 < found["masked size"] < 3 and 0.3 < found["residual size"] < 3
    assert found["masked tokens"] > 0.5 and found["residual tokens"] > 0.5
    assert found["masked text"] > 0.1 and found["residual text"] > 0.1
    assert published["masked tokens"] < 0.1 and published["residual tokens"] < 0.1


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'published' or 'same_scale'"):
        MaskedTransformer(**SIZES, start="other")  # type: ignore[arg-type]
