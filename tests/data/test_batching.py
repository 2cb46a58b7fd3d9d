"""Padding, and batches that depend on seed and epoch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.data.batching import SeededBatches, collate


def item(length: int, tokens: int = 3) -> dict[str, Any]:
    return {
        "joints2d": torch.randn(4, length, 22, 2),
        "conf": torch.ones(length, 22),
        "joints3d": torch.ones(length, 22, 3),
        "length": length,
        "text": f"{length} frames",
        "caption": length,
        "is_perspective": False,
        "extra": {"a": 1},
        "text_tokens": torch.ones(tokens, 6),
        "text_pooled": torch.ones(6),
        "cam": torch.ones(4, 5),
    }


def test_padding() -> None:
    items = [item(5, 2), item(8, 4)]
    batch = collate(items)
    assert batch["joints2d"].shape == (2, 4, 8, 22, 2)
    assert torch.equal(batch["joints2d"][0, :, :5], items[0]["joints2d"])
    assert not batch["joints2d"][0, :, 5:].any()
    assert not batch["conf"][0, 5:].any()
    assert batch["lengths"].tolist() == [5, 8]
    assert batch["lengths"].dtype == torch.int64
    assert batch["valid"].sum(1).tolist() == [5, 8]
    assert batch["text_valid"].sum(1).tolist() == [2, 4]
    assert batch["text_tokens"].shape == (2, 4, 6)
    assert not batch["text_tokens"][0, 2:].any()
    assert batch["text"] == ["5 frames", "8 frames"]
    assert batch["caption"].tolist() == [5, 8]
    assert batch["is_perspective"].dtype == torch.bool
    assert batch["extra"] == [{"a": 1}, {"a": 1}], "unknown keys pass through"
    assert "length" not in batch


def test_padding_to_a_fixed_size() -> None:
    assert collate([item(5), item(8)], pad_frames=12)["joints3d"].shape == (2, 12, 22, 3)
    with pytest.raises(ValueError, match="pad_frames is 6.*8 frames"):
        collate([item(5), item(8)], pad_frames=6)


LENGTHS = np.random.default_rng(0).integers(40, 200, 103)


def batches(**changes: Any) -> SeededBatches:
    return SeededBatches(LENGTHS, **({"batch_size": 4, "seed": 1} | changes))


def test_an_epoch_visits_items_once() -> None:
    sampler = batches()
    drawn = [index for batch in sampler for index, _ in batch]
    assert len(sampler) == 25
    assert len(drawn) == len(set(drawn)) == 100
    assert all(len(batch) == 4 for batch in sampler)


def test_seed_and_epoch_say_everything() -> None:
    first, second, other = batches(), batches(), batches(seed=2)
    assert list(first) == list(second) == list(first)
    assert list(first) != list(other)
    before = list(first)
    first.set_epoch(1)
    assert list(first) != before
    second.set_epoch(1)
    assert list(first) == list(second)
    first.set_epoch(0)
    assert list(first) == before


def test_a_resumed_run_sees_the_same_batches() -> None:
    whole = batches()
    epochs = []
    for epoch in range(3):
        whole.set_epoch(epoch)
        epochs.append(list(whole))
    resumed = batches()
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2]


def test_seeds_of_items_are_all_different() -> None:
    sampler = batches()
    seeds = [seed for epoch in range(3) for batch in _epoch(sampler, epoch) for _, seed in batch]
    assert len(set(seeds)) == len(seeds)


def _epoch(sampler: SeededBatches, epoch: int) -> list:
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("bucket", [1, 8])
def test_ranks_share_an_epoch(world_size: int, bucket: int) -> None:
    parts = [list(batches(rank=r, world_size=world_size, bucket=bucket)) for r in range(world_size)]
    assert len({len(part) for part in parts}) == 1, "every rank takes as many steps"
    drawn = [index for part in parts for batch in part for index, _ in batch]
    assert len(drawn) == len(set(drawn)) == len(parts[0]) * world_size * 4


@pytest.mark.parametrize("weights", [None, np.linspace(1, 2, 103)])
def test_ranks_partition_what_one_process_would_see(weights: np.ndarray | None) -> None:
    alone = batches(batches_per_epoch=24, weights=weights)
    parts = [batches(batches_per_epoch=12, weights=weights, rank=r, world_size=2) for r in range(2)]
    key = [tuple(batch) for batch in alone]
    assert sorted(key) == sorted(tuple(batch) for part in parts for batch in part)


def test_similar_lengths_share_a_batch() -> None:
    def padding(bucket: int) -> float:
        waste = [LENGTHS[[i for i, _ in b]] for b in batches(bucket=bucket)]
        return float(np.mean([(w.max() - w).sum() for w in waste]))

    assert padding(8) < 0.5 * padding(1)


def test_batches_are_not_sorted_by_length() -> None:
    means = [LENGTHS[[i for i, _ in batch]].mean() for batch in batches(bucket=25)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.6


def test_weights_steer_the_draws() -> None:
    weights = np.ones(103)
    weights[7] = 102.0
    drawn = [i for batch in batches(weights=weights, batches_per_epoch=500) for i, _ in batch]
    assert drawn.count(7) / len(drawn) == pytest.approx(0.5, abs=0.05)


def test_more_batches_than_items() -> None:
    sampler = batches(batches_per_epoch=100)
    drawn = np.bincount([i for batch in sampler for i, _ in batch], minlength=103)
    assert drawn.sum() == 400
    assert drawn.max() - drawn.min() <= 1


def test_too_few_items() -> None:
    with pytest.raises(ValueError, match=r"103 items do not fill one batch of 64 on 2 process"):
        batches(batch_size=64, world_size=2)
    assert len(batches(batch_size=64, world_size=2, batches_per_epoch=3)) == 3


def test_lightning_finds_set_epoch() -> None:
    sampler = batches()
    sampler.sampler.set_epoch(4)
    assert sampler.epoch == 4
