"""Seeds of a request are whole numbers, one or one each; jobs fill a batch up to its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmr4d.diffusion.requests import MAX_BATCH, fitting, seeds_of


def test_seeds_are_whole_numbers() -> None:
    assert seeds_of(3, None, 2) == seeds_of(np.int64(3), None, 2) == seeds_of([3, 3], None, 2) == [3, 3]  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"seed is 1\.5; expected a whole number, or one per prompt"):
        seeds_of(1.5, None, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"seed is 2\.5"):
        seeds_of([1, 2.5], None, 2)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="seed is 99999999999999999999; expected a whole number between"):
        seeds_of(99999999999999999999, None, 1)
    with pytest.raises(ValueError, match="1 seeds for 2 prompts"):
        seeds_of([1], None, 2)


def test_generators_give_seeds_of_their_own() -> None:
    def generator(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    one = seeds_of(0, generator(5), 3)
    assert len(one) == 3 and len(set(one)) == 1
    assert seeds_of(9, [generator(5), generator(6)], 2) == [one[0], seeds_of(0, generator(6), 1)[0]]
    drawn = [seed for number in range(20) for seed in seeds_of(0, generator(number), 1)]
    assert len(set(drawn)) == 20 and max(drawn) > 2**60 and all(0 <= seed < 2**62 for seed in drawn)
    with pytest.raises(ValueError, match="1 generators for 2 tracks"):
        seeds_of(0, [generator(5)], 2, "tracks")


def test_a_batch_takes_as_many_jobs_as_fit_when_padded_to_the_longest() -> None:
    order = [(0, 0), (1, 0), (1, 1), (2, 0)]  # of 10, 20, 20 and 50 frames
    lengths = [10, 20, 50]
    assert [fitting(order, lengths, frames) for frames in (5, 39, 40, 59, 60, 199, 200, 999)] == [
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
    ]
    assert fitting(order[3:], lengths, 5) == 1  # one that is too long by itself is drawn by itself
    many = [(0, number) for number in range(MAX_BATCH + 1)]
    assert fitting(many, [1], 10_000) == MAX_BATCH == fitting(many[:-1], [1], 10_000)
