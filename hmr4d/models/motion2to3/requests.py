"""Seeds of a request, and how much of it fits into one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

MAX_BATCH = 128  # motions at once, however short: their texts take memory too


def seeds_of(
    seed: int | Sequence[int], generator: torch.Generator | Sequence[torch.Generator] | None, num_texts: int
) -> list[int]:
    """One seed per prompt; a single generator gives all prompts the same one, as a single seed does."""

    def draw(source: torch.Generator) -> int:
        return int(torch.randint(0, 2**62, (1,), generator=source))

    if generator is None:
        if isinstance(seed, int):
            return [seed] * num_texts
        if len(seed) != num_texts:
            raise ValueError(f"{len(seed)} seeds for {num_texts} prompts. Give one, or one per prompt.")
        return [int(s) for s in seed]
    if isinstance(generator, torch.Generator):
        return [draw(generator)] * num_texts
    if len(generator) != num_texts:
        raise ValueError(f"{len(generator)} generators for {num_texts} prompts. Give one, or one per prompt.")
    return [draw(g) for g in generator]


def fitting(order: list[tuple[int, int]], lengths: list[int], max_frames: int) -> int:
    """How many of the first jobs, padded to the longest, stay within `max_frames` and MAX_BATCH; at least one."""
    count = 1
    while count < min(len(order), MAX_BATCH) and (count + 1) * lengths[order[count][0]] <= max_frames:
        count += 1
    return count
