"""Encoder of ground pointmaps to tokens: the floor position at each patch of each view, in the world of V0.

In Mocap-2-to-3 (arXiv 2503.03222), attention within and across views encodes the maps, and motion tokens attend to
them.
Patch size, number of blocks and zero-initialized attention across views are choices of this project.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmr4d.geometry.ground_pointmap import POINTMAP_CHANNELS
from hmr4d.nn.attention import Attention, zero_initialized
from hmr4d.nn.embeddings import sinusoidal_table


class PointmapBlock(nn.Module):
    """A pre-norm block on tokens (B, V, M, D): attention within a view, optional attention across views, feed-forward.

    The last layer of the branch across views is zero-initialized, so the untrained branch has no effect.

    Args:
        dim, num_heads, ff_dim, dropout: options of attention and feed-forward layers.
        use_views: attend over the V M tokens of all views.
    """

    def __init__(self, dim: int, *, num_heads: int, ff_dim: int, dropout: float, use_views: bool) -> None:
        super().__init__()
        self.use_views = use_views
        self.dropout = nn.Dropout(dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, num_heads, dropout=dropout)
        if use_views:
            self.mix_norm = nn.LayerNorm(dim)
            self.mix_attention = Attention(dim, num_heads, dropout=dropout)
            self.mix_out = zero_initialized(nn.Linear(dim, dim))
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, ff_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(ff_dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, V, M, D) -> the same shape."""
        num_views = x.shape[1]
        within = self.self_attention(self.self_norm(x).flatten(0, 1)).unflatten(0, (-1, num_views))
        x = x + self.dropout(within)
        if self.use_views:
            across = self.mix_attention(self.mix_norm(x).flatten(1, 2)).unflatten(1, (num_views, -1))
            x = x + self.dropout(self.mix_out(across))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class PointmapEncoder(nn.Module):
    """Tokens (B, V, M, D) of pointmaps (B, V, 4, grid, grid), one for each patch.

    Args:
        dim: D, a multiple of 4.
        grid: cells along each side of a map.
        patch: cells along each side of a patch; M = (grid / patch)^2.
        num_blocks: number of blocks.
        num_heads, ff_dim, dropout: options of the blocks.
        use_views: attend across views; an embedding marks the maps of all views except V0.
    """

    positions: Tensor

    def __init__(
        self,
        dim: int,
        *,
        grid: int = 64,
        patch: int = 8,
        num_blocks: int = 2,
        num_heads: int = 4,
        ff_dim: int = 1024,
        dropout: float = 0.1,
        use_views: bool = False,
    ) -> None:
        super().__init__()
        if grid % patch or dim % 4:
            raise ValueError(
                f"Pointmaps of {grid} cells in patches of {patch} and tokens of width {dim}: the grid must be a "
                "multiple of the patch, the width a multiple of 4."
            )
        self.grid, self.patch = grid, patch
        self.embed_patch = nn.Linear(POINTMAP_CHANNELS * patch * patch, dim)
        self.embed_other = nn.Parameter(torch.zeros(dim)) if use_views else None
        side = sinusoidal_table(grid // patch, dim // 2)  # table rows are evenly spaced over the image
        rows, columns = side[:, None].expand(-1, len(side), -1), side[None].expand(len(side), -1, -1)
        self.register_buffer("positions", torch.cat([rows, columns], -1).flatten(0, 1), persistent=False)
        self.blocks = nn.ModuleList(
            PointmapBlock(dim, num_heads=num_heads, ff_dim=ff_dim, dropout=dropout, use_views=use_views)
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, pointmap: Tensor) -> Tensor:
        """Tokens (B, V, M, D) of pointmaps (B, V, 4, grid, grid), see `ground_pointmap`; view 0 is the observed one."""
        if pointmap.shape[-3:] != (POINTMAP_CHANNELS, self.grid, self.grid):
            raise ValueError(
                f"Pointmaps have shape {tuple(pointmap.shape[-3:])}, this encoder expects "
                f"{(POINTMAP_CHANNELS, self.grid, self.grid)}. Compute them with the grid of the network."
            )
        side = self.grid // self.patch
        patches = pointmap.unflatten(-2, (side, self.patch)).unflatten(-1, (side, self.patch))
        patches = patches.movedim(-5, -3).movedim(-2, -4)  # (B, V, rows, columns, 4, patch, patch)
        x = self.embed_patch(patches.flatten(-3).flatten(-3, -2)) + self.positions
        if self.embed_other is not None:
            x = torch.cat([x[:, :1], x[:, 1:] + self.embed_other], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
