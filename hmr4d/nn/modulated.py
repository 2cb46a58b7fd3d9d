"""Pre-norm transformer blocks with norms and branches modulated by a condition vector.

This is AdaLN-zero of DiT (Peebles and Xie, "Scalable Diffusion Models with Transformers", ICCV 2023, arXiv 2212.09748)
with one deviation: the self-attention has additional keys from a memory that contains the text.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmr4d.nn.attention import zero_initialized


class MemoryAttention(nn.Module):
    """Attention of tokens (N, L, D) over a memory (N, M, C) and over themselves, in one softmax.

    The sequences are short (about a hundred tokens), so the scores are plain matrix products: on a CPU the backward
    pass of the fused kernel takes several times as long (`benchmarks/bench.py attention`).

    Args:
        dim: D, a multiple of num_heads.
        num_heads: H.
        memory_dim: C.
    """

    def __init__(self, dim: int, num_heads: int, *, memory_dim: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"Attention width {dim} is not a multiple of num_heads {num_heads}.")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.memory_kv = nn.Linear(memory_dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """(N, L, D).

        Args:
            x: (N, L, D) tokens.
            memory: (N, M, C).
            bias: (N, 1, 1, M + L) added to the scores: 0 for valid keys, a large negative number for others.
        """
        q, k, v = self.qkv(x).chunk(3, -1)
        memory_k, memory_v = self.memory_kv(memory).chunk(2, -1)
        q, k, v = (self._heads(part) for part in (q, torch.cat([memory_k, k], 1), torch.cat([memory_v, v], 1)))
        weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias, -1)
        return self.out((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (N, H, L, D / H)


class ModulatedBlock(nn.Module):
    """x + g1 attention(s1 LN(x) + b1), then x + g2 FFN(s2 LN(x) + b2); the six vectors are linear in the condition.

    Initially all are zero (s is one), so an untrained block is the identity. The FFN has squared ReLUs (So et al. 2021,
    arXiv
    2109.08668), which cost less than GELU on a CPU.

    Args:
        dim, num_heads, ff_dim: options of attention and feed-forward layers.
        condition_dim: width of the condition vector.
        memory_dim: width of the memory.
        dropout: dropout of both branches.
    """

    def __init__(
        self, dim: int, *, num_heads: int, ff_dim: int, condition_dim: int, memory_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.modulation = zero_initialized(nn.Linear(condition_dim, 6 * dim))
        self.attention_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.attention = MemoryAttention(dim, num_heads, memory_dim=memory_dim)
        self.feed_forward_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.feed_forward_in = nn.Linear(dim, ff_dim)
        self.feed_forward_out = nn.Linear(ff_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, condition: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """(N, L, D) from tokens of that shape; condition (N, C); memory and bias as `MemoryAttention` takes them."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, -1)
        attended = self.attention(self.attention_norm(x) * (1 + scale1) + shift1, memory, bias)
        x = x + gate1 * self.dropout(attended)
        hidden = self.feed_forward_in(self.feed_forward_norm(x) * (1 + scale2) + shift2).relu().square()
        return x + gate2 * self.dropout(self.feed_forward_out(hidden))
