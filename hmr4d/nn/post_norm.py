"""Post-norm transformer layers, as in the original transformer."""

from __future__ import annotations

from torch import Tensor, nn

from hmr4d.nn.attention import Attention


class PostNormLayer(nn.Module):
    """Self-attention and a GELU feed-forward; LayerNorm after each sum (Vaswani et al. 2017, arXiv 1706.03762).

    Args:
        dim: channels.
        num_heads: heads of the attention.
        hidden_dim: hidden channels of the feed-forward layer.
        dropout: dropout of attention weights, hidden channels and both branches.
    """

    def __init__(self, dim: int, num_heads: int, hidden_dim: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads, dropout=dropout)
        self.linear1, self.linear2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout, self.act = nn.Dropout(dropout), nn.GELU()

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, N, D) -> the same shape; `valid` (B, N) bool marks valid keys."""
        x = self.norm1(x + self.dropout(self.attention(x, valid)))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(self.act(self.linear1(x))))))
