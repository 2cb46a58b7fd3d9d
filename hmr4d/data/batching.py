"""Batches of items: padding, and a sampler that depends only on (seed, epoch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from hmr4d.utils.randomness import mix_seed

FRAME_AXIS = {  # axis of an item that grows with the length, counted from the last, for views may come first
    "joints2d": -3, "joints3d": -3, "kp2d_obs": -3, "conf": -2, "features": -2, "visible": -2, "condition2d": -2,
    "known2d": -2, "keypoints": -3, "motion_tokens": -2,
}  # fmt: skip
TOKEN_KEY = "text_tokens"


def collate(items: list[dict[str, Any]], *, pad_frames: int | None = None) -> dict[str, Any]:
    """Stacks items and pads frames with zeros.

    Adds `lengths` (B,) int64, `valid` (B, L) bool and, for token states, `text_valid` (B, M) bool. Other keys are
    stacked if they are tensors or numbers, and listed otherwise.

    Args:
        items: dicts with the same keys.
        pad_frames: pad to this many frames; None pads to the longest item.
    """
    lengths = torch.tensor([item["length"] for item in items])
    num_frames = int(lengths.max()) if pad_frames is None else pad_frames
    if num_frames < int(lengths.max()):
        raise ValueError(f"pad_frames is {pad_frames}, but the batch contains an item of {int(lengths.max())} frames.")
    batch: dict[str, Any] = {"lengths": lengths, "valid": torch.arange(num_frames) < lengths[:, None]}
    for key in items[0]:
        values = [item[key] for item in items]
        if key == "length":
            continue
        if key in FRAME_AXIS:
            batch[key] = torch.stack([_pad(v, FRAME_AXIS[key], num_frames) for v in values])
        elif key == TOKEN_KEY:
            counts = torch.tensor([len(v) for v in values])
            batch[key] = torch.stack([_pad(v, 0, int(counts.max())) for v in values])
            batch["text_valid"] = torch.arange(int(counts.max())) < counts[:, None]
        elif isinstance(values[0], Tensor):
            batch[key] = torch.stack(values)
        elif isinstance(values[0], float):
            batch[key] = torch.tensor(values, dtype=torch.float64)  # in full precision
        elif isinstance(values[0], (bool, int)):
            batch[key] = torch.tensor(values)
        else:
            batch[key] = values
    return batch


def _pad(x: Tensor, axis: int, size: int) -> Tensor:
    if x.shape[axis] == size:
        return x
    shape = list(x.shape)
    shape[axis] = size - shape[axis]
    return torch.cat([x, x.new_zeros(shape)], axis)


class SeededBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (index, seed) pairs; similar lengths share a batch. An epoch depends only on (seed, epoch).

    A resumed run therefore gets the same batches as an uninterrupted one, with any number of workers. Lightning calls
    `set_epoch` through `sampler`.

    Args:
        lengths: (N,) frames per item, for bucketing.
        weights: (N,) probabilities of drawing with replacement; None: a permutation without the last incomplete batch.
        batch_size: items per batch and process.
        batches_per_epoch: batches per epoch and process; None: as many as the items fill.
        bucket: this many batches are filled from one pool sorted by length; 1 switches bucketing off.
        seed: seed of the whole run.
        rank, world_size: of this process under DDP; every process takes its own share of each epoch.
        drawn_length: (index, seed) -> frames, if the length depends on the seed; for bucketing instead of `lengths`.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        batch_size: int,
        weights: np.ndarray | None = None,
        batches_per_epoch: int | None = None,
        bucket: int = 8,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drawn_length: Callable[[int, int], int] | None = None,
    ) -> None:
        self.lengths, self.weights, self.drawn_length = np.asarray(lengths), weights, drawn_length
        if batches_per_epoch is None:
            batches_per_epoch = len(self.lengths) // (batch_size * world_size)
        if batches_per_epoch < 1:
            raise ValueError(
                f"{len(self.lengths)} items do not fill one batch of {batch_size} on {world_size} process(es). "
                "Lower batch_size, or set batches_per_epoch to draw items repeatedly."
            )
        self.batch_size, self.batches_per_epoch, self.bucket = batch_size, batches_per_epoch, bucket
        self.seed, self.rank, self.world_size, self.epoch = seed, rank, world_size, 0

    @property
    def sampler(self) -> SeededBatches:
        """Itself: where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng(mix_seed(self.seed, self.epoch))
        total = self.batches_per_epoch * self.world_size
        count = total * self.batch_size
        if self.weights is not None:
            draws = rng.choice(len(self.lengths), size=count, p=self.weights / self.weights.sum())
        else:
            rounds = -(-count // len(self.lengths))
            draws = np.concatenate([rng.permutation(len(self.lengths)) for _ in range(rounds)])[:count]
        seeds = rng.integers(0, 2**62, size=count)
        lengths = self.lengths[draws]
        if self.drawn_length is not None:
            pairs = zip(draws.tolist(), seeds.tolist(), strict=True)
            lengths = np.array([self.drawn_length(index, seed) for index, seed in pairs])
        batches: list[np.ndarray] = []
        for positions in np.array_split(np.arange(count), -(-total // self.bucket)) if self.bucket > 1 else ():
            batches.append(positions[np.argsort(lengths[positions], kind="stable")])
        ordered = np.concatenate(batches) if batches else np.arange(count)
        grid = ordered.reshape(total, self.batch_size)
        for number in rng.permutation(total)[self.rank :: self.world_size]:
            yield [(int(draws[p]), int(seeds[p])) for p in grid[number]]
