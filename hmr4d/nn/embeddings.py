"""Embeddings of positions and diffusion steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoidal_table(length: int, dim: int) -> Tensor:
    """(length, dim): sin(p exp(-2 i ln(10000) / dim)) on even channels 2 i, cos on odd ones.

    Vaswani et al., "Attention Is All You Need", 2017, arXiv 1706.03762.
    """
    position = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    table = torch.zeros(length, dim)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)[:, : dim // 2]
    return table


class SinusoidalPositions(nn.Module):
    """The first L rows of a fixed table; a buffer outside the state dict.

    Args:
        dim: width.
        max_length: rows; a longer sequence raises ValueError.
    """

    table: Tensor

    def __init__(self, dim: int, max_length: int = 5000) -> None:
        super().__init__()
        self.register_buffer("table", sinusoidal_table(max_length, dim), persistent=False)

    def forward(self, length: int) -> Tensor:
        """First `length` rows (L, D) of the table."""
        if length > self.table.shape[0]:
            raise ValueError(f"Sequence of {length} tokens; the position table ends at {self.table.shape[0]}.")
        return self.table[:length]


class StepEmbedding(nn.Module):
    """Diffusion step -> vector: the position table's row t through Linear, SiLU, Linear."""

    def __init__(self, dim: int, positions: SinusoidalPositions) -> None:
        super().__init__()
        self._positions = [positions]  # in a list, because the module is shared and must not be registered here
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """(B,) int64 -> (B, D)."""
        return self.mlp(self._positions[0].table[t])
