"""The transformer trunk against PyTorch's decoder and encoder layers, and its branch across views."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hmr4d.nn.embeddings import SinusoidalPositions, StepEmbedding
from hmr4d.nn.trunk import Trunk, TrunkLayer

DIM, HEADS, FF = 16, 4, 24


def tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def copy_attention(own: nn.Module, reference: nn.MultiheadAttention) -> None:
    own.qkv.weight.data, own.qkv.bias.data = reference.in_proj_weight.data, reference.in_proj_bias.data
    own.out.load_state_dict(reference.out_proj.state_dict())


def layer(*, use_views: bool = False, use_memory: bool = True) -> TrunkLayer:
    torch.manual_seed(0)
    return TrunkLayer(DIM, num_heads=HEADS, ff_dim=FF, dropout=0.0, use_views=use_views, use_memory=use_memory).eval()


@pytest.mark.parametrize("use_memory", [True, False])
def test_one_layer_is_the_textbook_layer(use_memory: bool) -> None:
    torch.manual_seed(1)
    kind = nn.TransformerDecoderLayer if use_memory else nn.TransformerEncoderLayer
    reference = kind(DIM, HEADS, FF, dropout=0.0, activation="gelu", batch_first=True).eval()
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.3)
    own = layer(use_memory=use_memory)
    copy_attention(own.self_attention, reference.self_attn)
    own.self_norm.load_state_dict(reference.norm1.state_dict())
    own.feed_forward[0].load_state_dict(reference.linear1.state_dict())
    own.feed_forward[3].load_state_dict(reference.linear2.state_dict())
    x, valid = tensor(3, 1, 7, DIM), torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    memory, memory_valid = tensor(3, 5, DIM, seed=2), torch.arange(5) < torch.tensor([5, 2, 3])[:, None]
    with torch.no_grad():
        if use_memory:
            copy_attention(own.memory_attention, reference.multihead_attn)
            own.memory_norm.load_state_dict(reference.norm2.state_dict())
            own.feed_forward_norm.load_state_dict(reference.norm3.state_dict())
            expected = reference(x[:, 0], memory, tgt_key_padding_mask=~valid, memory_key_padding_mask=~memory_valid)
        else:
            own.feed_forward_norm.load_state_dict(reference.norm2.state_dict())
            # The inference shortcut of the container zeroes padded rows; gradients switch it off.
            with torch.enable_grad():
                expected = reference(x[:, 0].requires_grad_(), src_key_padding_mask=~valid).detach()
        got = own(x, valid, memory if use_memory else None, memory_valid if use_memory else None)
    assert torch.allclose(got[:, 0], expected, atol=1e-5)


def wake_view_branch(module: nn.Module) -> None:
    """Gives the view branch weights, as after training."""
    torch.manual_seed(3)
    for name, parameter in module.named_parameters():
        if "view_out" in name:
            nn.init.normal_(parameter, std=0.5)


def test_untrained_view_attention_has_no_effect() -> None:
    with_views, without = layer(use_views=True), layer()
    missing = with_views.load_state_dict(without.state_dict(), strict=False)
    assert all(name.startswith("view_") for name in missing.missing_keys)
    x, valid, memory = tensor(2, 4, 6, DIM), torch.ones(2, 6, dtype=torch.bool), tensor(2, 3, DIM, seed=1)
    assert torch.allclose(with_views(x, valid, memory, None), without(x, valid, memory, None), atol=1e-6)
    wake_view_branch(with_views)
    assert not torch.allclose(with_views(x, valid, memory, None), without(x, valid, memory, None), atol=1e-3)


def test_views_meet_frame_by_frame() -> None:
    """Before frames attend to each other, a frame of one view reaches the same frame of the other views only."""
    own = layer(use_views=True, use_memory=False)
    wake_view_branch(own)
    x = tensor(1, 3, 5, DIM).requires_grad_()
    across = own.view_attention(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (1, -1)).transpose(1, 2)
    across[0, 0, 2].sum().backward()
    touched = x.grad.abs().sum(-1)[0] > 0
    assert touched[:, 2].all()
    assert not touched[:, [0, 1, 3, 4]].any()


def test_views_are_exchangeable() -> None:
    torch.manual_seed(0)
    trunk = Trunk(DIM, num_layers=2, num_heads=HEADS, ff_dim=FF, dropout=0.0, use_views=True, use_memory=True).eval()
    wake_view_branch(trunk)
    x, valid, memory = tensor(2, 4, 6, DIM), torch.ones(2, 6, dtype=torch.bool), tensor(2, 3, DIM, seed=1)
    order = [2, 0, 3, 1]
    assert torch.allclose(trunk(x[:, order], valid, memory), trunk(x, valid, memory)[:, order], atol=1e-5)


def test_memory_is_required() -> None:
    with pytest.raises(ValueError, match="memory"):
        layer()(tensor(1, 1, 4, DIM), torch.ones(1, 4, dtype=torch.bool), None, None)


def test_position_table() -> None:
    positions = SinusoidalPositions(6, max_length=10)
    table = positions(10)
    for place in range(10):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            assert table[place, 2 * i] == pytest.approx(torch.tensor(angle).sin().item(), abs=1e-6)
            assert table[place, 2 * i + 1] == pytest.approx(torch.tensor(angle).cos().item(), abs=1e-6)
    assert torch.equal(positions(4), table[:4])
    assert positions.state_dict() == {}
    with pytest.raises(ValueError, match="11 tokens.*10"):
        positions(11)


def test_step_embedding_reads_the_table() -> None:
    positions = SinusoidalPositions(8, max_length=20)
    embed = StepEmbedding(8, positions)
    t = torch.tensor([0, 7, 19])
    assert torch.allclose(embed(t), embed.mlp(positions.table[t]))
    assert not any("table" in name for name in embed.state_dict())
