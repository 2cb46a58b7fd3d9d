"""Seeds of a request, and its division into batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

LARGEST_SEED = 2**63 - 1  # either way, so that the samples of a prompt may count on from it
MAX_BATCH = 128  # motions at once, however short: their conditions take memory too


def seeds_of(
    seed: int | Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator] | None,
    count: int,
    things: str = "prompts",
) -> list[int]:
    """One seed for each of `count` items; a single generator or seed gives all items the same one.

    Raises:
        ValueError: neither one nor `count` were given, the message calls them `things`; or a seed is too large.
        TypeError: a seed is no whole number.
    """
    thing = things.removesuffix("s")

    def draw(source: torch.Generator) -> int:
        return int(torch.randint(0, 2**62, (1,), generator=source))

    def whole(value: object) -> int:
        if not isinstance(value, (int, np.integer)):
            raise TypeError(f"seed is {value!r}; expected a whole number, or one per {thing}.")
        if abs(int(value)) > LARGEST_SEED:
            raise ValueError(f"seed is {value}; expected a whole number between -2^63 and 2^63.")
        return int(value)

    if generator is None:
        if not isinstance(seed, Iterable) or isinstance(seed, str):
            return [whole(seed)] * count
        seeds = [whole(value) for value in seed]
        if len(seeds) != count:
            raise ValueError(f"{len(seeds)} seeds for {count} {things}. Give one, or one per {thing}.")
        return seeds
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
