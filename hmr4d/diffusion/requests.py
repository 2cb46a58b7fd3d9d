"""Seeds of a request, and its division into batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

MAX_BATCH = 128  # motions at once, however short: their conditions take memory too


def seeds_of(
    seed: int | Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator] | None,
    count: int,
    things: str = "prompts",
) -> list[int]:
    """One seed for each of `count` items; a single generator or seed gives all items the same one.

    Raises:
        ValueError: neither one nor `count` were given; `things` is their name in the message. TypeError: a seed is not
            an integer.
    """
    thing = things.removesuffix("s")

    def draw(source: torch.Generator) -> int:
        return int(torch.randint(0, 2**62, (1,), generator=source))

    if generator is None:
        if isinstance(seed, (int, np.integer)):
            return [int(seed)] * count
        if not hasattr(seed, "__len__"):
            raise TypeError(f"seed is {seed!r}; expected a whole number, or one per {thing}.")
        if len(seed) != count:
            raise ValueError(f"{len(seed)} seeds for {count} {things}. Give one, or one per {thing}.")
        return [int(s) for s in seed]
    if isinstance(generator, torch.Generator):
        return [draw(generator)] * count
    if len(generator) != count:
        raise ValueError(f"{len(generator)} generators for {count} {things}. Give one, or one per {thing}.")
    return [draw(g) for g in generator]


def fitting(order: list[tuple[int, int]], lengths: list[int], max_frames: int) -> int:
    """How many of the first jobs, padded to the longest, stay within `max_frames` and MAX_BATCH; at least one."""
    count = 1
    while count < min(len(order), MAX_BATCH) and (count + 1) * lengths[order[count][0]] <= max_frames:
        count += 1
    return count
