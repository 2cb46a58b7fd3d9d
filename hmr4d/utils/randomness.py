"""Explicit randomness of dataset items."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15
MASK_64 = (1 << 64) - 1


def mix_seed(*parts: int) -> int:
    """One 63-bit seed from several integers; neighboring inputs give unrelated seeds (splitmix64 finaliser)."""
    state = 0
    for part in parts:
        state = (state + (part & MASK_64) + GOLDEN_RATIO_64) & MASK_64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK_64
        state ^= state >> 31
    return state >> 1


@dataclass(frozen=True)
class ItemRandom:
    """The generators one dataset item draws from: captions from `choices`, everything else from `tensors`."""

    choices: random.Random
    tensors: torch.Generator

    @classmethod
    def from_seed(cls, seed: int) -> ItemRandom:
        return cls(random.Random(seed), torch.Generator().manual_seed(seed))

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) of a shape, float32."""
        return torch.rand(*shape, generator=self.tensors)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers of a shape, float32."""
        return torch.randn(*shape, generator=self.tensors)

    def integer(self, upper: int) -> int:
        """Uniform integer in [0, upper)."""
        return int(torch.randint(0, upper, (1,), generator=self.tensors))
