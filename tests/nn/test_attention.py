"""Attention against PyTorch's own layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hmr4d.nn.attention import Attention, trim_padding, zero_initialized

DIM, HEADS = 16, 4


def tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pair() -> tuple[Attention, nn.MultiheadAttention]:
    """Our layer and PyTorch's with the same weights."""
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(DIM, HEADS, batch_first=True).eval()
    nn.init.normal_(reference.in_proj_bias)
    nn.init.normal_(reference.out_proj.bias)
    own = Attention(DIM, HEADS).eval()
    own.qkv.weight.data, own.qkv.bias.data = reference.in_proj_weight.data, reference.in_proj_bias.data
    own.out.load_state_dict(reference.out_proj.state_dict())
    return own, reference


def test_self_attention(pair: tuple[Attention, nn.MultiheadAttention]) -> None:
    own, reference = pair
    x, valid = tensor(3, 7, DIM), torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    expected = reference(x, x, x, key_padding_mask=~valid, need_weights=False)[0]
    assert torch.allclose(own(x, valid), expected, atol=1e-5)
    assert torch.allclose(own(x), reference(x, x, x, need_weights=False)[0], atol=1e-5)


def test_attention_over_a_memory(pair: tuple[Attention, nn.MultiheadAttention]) -> None:
    own, reference = pair
    x, memory = tensor(3, 5, DIM), tensor(3, 9, DIM, seed=1)
    valid = torch.arange(9) < torch.tensor([9, 2, 5])[:, None]
    expected = reference(x, memory, memory, key_padding_mask=~valid, need_weights=False)[0]
    assert torch.allclose(own.over(x, memory, valid), expected, atol=1e-5)


def test_a_memory_shared_by_several_queries(pair: tuple[Attention, nn.MultiheadAttention]) -> None:
    own, _ = pair
    x, memory = tensor(6, 5, DIM), tensor(2, 9, DIM, seed=1)
    valid = torch.arange(9) < torch.tensor([9, 2])[:, None]
    expected = own.over(x, memory.repeat_interleave(3, 0), valid.repeat_interleave(3, 0))
    assert torch.allclose(own.over(x, memory, valid), expected, atol=1e-6)


def test_masked_keys_do_not_count(pair: tuple[Attention, nn.MultiheadAttention]) -> None:
    own, _ = pair
    x, valid = tensor(2, 6, DIM), torch.arange(6) < torch.tensor([[4], [4]])
    other = x.clone()
    other[:, 4:] = 100.0
    assert torch.equal(own(x, valid)[:, :4], own(other, valid)[:, :4])


def test_order_of_keys_does_not_matter(pair: tuple[Attention, nn.MultiheadAttention]) -> None:
    own, _ = pair
    x, memory = tensor(2, 5, DIM), tensor(2, 8, DIM, seed=1)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(own.over(x, memory), own.over(x, memory[:, order]), atol=1e-6)


def test_dropout_only_while_training() -> None:
    layer = Attention(DIM, HEADS, dropout=0.5)
    x = tensor(2, 6, DIM)
    assert not torch.allclose(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_width_must_fit_the_heads() -> None:
    with pytest.raises(ValueError, match="width 16 is not a multiple of num_heads 3"):
        Attention(16, 3)


def test_trimmed_memory_keeps_what_is_valid() -> None:
    memory, valid = tensor(2, 9, 3), torch.arange(9) < torch.tensor([[2], [5]])
    short, short_valid = trim_padding(memory, valid)
    assert torch.equal(short, memory[:, :5])
    assert torch.equal(short_valid, valid[:, :5])
    none, none_valid = trim_padding(memory, torch.zeros_like(valid))
    assert none.shape[1] == none_valid.shape[1] == 1


def test_zero_initialized_branch_has_no_effect_but_has_gradients() -> None:
    layer = zero_initialized(nn.Linear(4, 3))
    out = layer(tensor(2, 4))
    assert not out.any()
    out.sum().backward()
    assert layer.weight.grad.abs().sum() > 0
