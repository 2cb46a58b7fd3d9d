"""Multi-head attention with packed projections, on scaled dot-product attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def zero_initialized(layer: nn.Linear) -> nn.Linear:
    """Sets weight and bias of a layer to zero, so that its branch has no initial effect; returns the layer."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """Attention of queries (N, Lq, D) over keys (N, Lk, D); query, key and value projections packed in that order.

    Args:
        dim: D, a multiple of num_heads.
        num_heads: H.
        dropout: dropout of the attention weights.
    """

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"Attention width {dim} is not a multiple of num_heads {num_heads}.")
        self.num_heads, self.dropout = num_heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3)  # (N, H, L, D / H)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Self-attention over (N, L, D); `valid` (N, L) bool marks valid keys."""
        q, k, v = self.qkv(x).chunk(3, -1)
        return self._attend(q, k, v, valid)

    def over(self, x: Tensor, memory: Tensor, valid: Tensor | None = None) -> Tensor:
        """Cross-attention of queries (N, Lq, D) to memory (M, Lk, D). For N = M * k, each memory is projected once
        and used k times."""
        dim = x.shape[-1]
        q = F.linear(x, self.qkv.weight[:dim], self.qkv.bias[:dim])
        k, v = F.linear(memory, self.qkv.weight[dim:], self.qkv.bias[dim:]).chunk(2, -1)
        repeats = x.shape[0] // memory.shape[0]
        if repeats > 1:
            k, v = k.repeat_interleave(repeats, 0), v.repeat_interleave(repeats, 0)
            valid = None if valid is None else valid.repeat_interleave(repeats, 0)
        return self._attend(q, k, v, valid)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None) -> Tensor:
        mask = None if valid is None else valid[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(
            self._heads(q), self._heads(k), self._heads(v), attn_mask=mask, dropout_p=dropout
        )
        return self.out(out.transpose(-2, -3).flatten(-2))


def trim_padding(memory: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Memory (N, L, D) and its mask (N, L), cut after the last position that is valid for any item."""
    used = valid.any(0).nonzero()
    length = int(used.max()) + 1 if len(used) else 1
    return memory[:, :length], valid[:, :length]
