"""Blocks with adaptive norms, against a second computation of the attention and the silent start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from hmr4d.nn.modulated import MemoryAttention, ModulatedBlock

MASKED = -1e4


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bias_of(valid: Tensor) -> Tensor:
    return (~valid).float()[:, None, None] * MASKED


def test_attention_equals_a_loop_over_heads_and_queries() -> None:
    torch.manual_seed(0)
    attention = MemoryAttention(8, 2, memory_dim=5)
    x, memory = draw(1, 3, 8), draw(1, 2, 5, seed=1)
    q, k, v = attention.qkv(x)[0].chunk(3, -1)
    memory_k, memory_v = attention.memory_kv(memory)[0].chunk(2, -1)
    keys, values = torch.cat([memory_k, k]), torch.cat([memory_v, v])
    rows = []
    for query in q:
        parts = []
        for head in (slice(0, 4), slice(4, 8)):
            scores = torch.stack([query[head] @ key[head] / math.sqrt(4) for key in keys])
            parts.append(sum(w * value[head] for w, value in zip(scores.softmax(0), values, strict=True)))
        rows.append(torch.cat(parts))  # type: ignore[arg-type]
    expected = attention.out(torch.stack(rows))
    got = attention(x, memory, torch.zeros(1, 1, 1, 5))[0]
    assert torch.allclose(got, expected, atol=1e-6)


def test_masked_keys_have_no_influence() -> None:
    torch.manual_seed(0)
    block = ModulatedBlock(8, num_heads=2, ff_dim=16, condition_dim=4, memory_dim=5)
    nn.init.normal_(block.modulation.weight)
    x, memory, condition = draw(2, 6, 8), draw(2, 3, 5, seed=1), draw(2, 4, seed=2)
    valid = torch.tensor([[True, True, False] + [True] * 4 + [False] * 2] * 2)
    first = block(x, condition, memory, bias_of(valid))
    x[:, 4:], memory[:, 2] = 7.0, -3.0
    second = block(x, condition, memory, bias_of(valid))
    assert torch.allclose(first[:, :4], second[:, :4], atol=1e-6)


def test_an_untrained_block_is_the_identity() -> None:
    block = ModulatedBlock(8, num_heads=2, ff_dim=16, condition_dim=4, memory_dim=5)
    x = draw(2, 6, 8)
    assert torch.equal(block(x, draw(2, 4), draw(2, 3, 5), torch.zeros(2, 1, 1, 9)), x)


def test_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of num_heads 3"):
        MemoryAttention(8, 3, memory_dim=5)
