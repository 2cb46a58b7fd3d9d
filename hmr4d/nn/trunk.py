"""The temporal transformer shared by the methods: self-attention over frames, optional attention across views,
optional cross-attention to a memory. Post-norm, exact GELU.

The layers are those of Vaswani et al., "Attention Is All You Need", 2017, arXiv 1706.03762. The attention across views
is that of Motion-2-to-3 (ICCV 2025, arXiv 2412.13111).
"""

from __future__ import annotations

from torch import Tensor, nn

from hmr4d.nn.attention import Attention, zero_initialized


class TrunkLayer(nn.Module):
    """One layer over tokens (B, V, L, D).

    Views (if on): x + LN(W drop(attention over the V tokens of a frame)), with zero-initialized W, so the untrained
    branch has no effect. Then per view: LN(x + self-attention), LN(x + attention over memory) (if on), LN(x + FFN).

    Args:
        dim, num_heads, ff_dim, dropout: options of attention and feed-forward layers.
        use_views: attend across V.
        use_memory: cross-attend to the memory.
    """

    def __init__(
        self, dim: int, *, num_heads: int, ff_dim: int, dropout: float, use_views: bool, use_memory: bool
    ) -> None:
        super().__init__()
        self.use_views, self.use_memory = use_views, use_memory
        self.dropout = nn.Dropout(dropout)
        if use_views:
            self.view_attention = Attention(dim, num_heads, dropout=dropout)
            self.view_out = zero_initialized(nn.Linear(dim, dim))
            self.view_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, num_heads, dropout=dropout)
        self.self_norm = nn.LayerNorm(dim)
        if use_memory:
            self.memory_attention = Attention(dim, num_heads, dropout=dropout)
            self.memory_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, ff_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(ff_dim, dim)
        )
        self.feed_forward_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, valid: Tensor, memory: Tensor | None, memory_valid: Tensor | None) -> Tensor:
        """(B, V, L, D) from tokens of that shape.

        Args:
            x: (B, V, L, D).
            valid: (B, L) bool.
            memory: (B, M, D), shared by all views, or (B V, M, D), one per view.
            memory_valid: bool, shape of `memory` without its last axis, or None.
        """
        num_views = x.shape[1]
        if self.use_views:
            across = self.view_attention(x.transpose(1, 2).flatten(0, 1))  # (B L, V, D)
            across = across.unflatten(0, (x.shape[0], -1)).transpose(1, 2)
            x = x + self.view_norm(self.view_out(self.dropout(across)))
        x = x.flatten(0, 1)  # (B V, L, D)
        valid = valid.repeat_interleave(num_views, 0)
        x = self.self_norm(x + self.dropout(self.self_attention(x, valid)))
        if self.use_memory:
            if memory is None:
                raise ValueError("This network needs a memory, such as text tokens; pass memory and memory_valid.")
            x = self.memory_norm(x + self.dropout(self.memory_attention.over(x, memory, memory_valid)))
        x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return x.unflatten(0, (-1, num_views))


class Trunk(nn.Module):
    """A stack of `TrunkLayer`s without a final norm."""

    def __init__(
        self,
        dim: int,
        *,
        num_layers: int,
        num_heads: int,
        ff_dim: int,
        dropout: float = 0.1,
        use_views: bool = False,
        use_memory: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TrunkLayer(
                dim, num_heads=num_heads, ff_dim=ff_dim, dropout=dropout, use_views=use_views, use_memory=use_memory
            )
            for _ in range(num_layers)
        )

    def forward(
        self, x: Tensor, valid: Tensor, memory: Tensor | None = None, memory_valid: Tensor | None = None
    ) -> Tensor:
        """See `TrunkLayer.forward`."""
        for layer in self.layers:
            x = layer(x, valid, memory, memory_valid)
        return x
