"""Loaders for training and testing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from hmr4d.data.batching import SeededBatches, collate
from hmr4d.data.store import NoClipsError, TextCache

logger = logging.getLogger(__name__)


class MotionSource(Protocol):
    """What the loaders need from a dataset in addition to its items."""

    text_cache: TextCache | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]: ...

    def num_frames(self, index: int, seed: int | None = None) -> int: ...

    def balance_weights(self, power: float) -> np.ndarray: ...


class Mixture(Dataset[dict[str, Any]]):
    """Several sources as one dataset, each with a share of the draws.

    Args:
        sources: datasets whose items have the same keys.
        shares: relative shares, one per source.
    """

    def __init__(self, sources: Sequence[MotionSource], shares: Sequence[float]) -> None:
        if len(sources) != len(shares):
            raise ValueError(f"{len(sources)} sources and {len(shares)} shares. Give one share per source.")
        self.sources, self.shares = list(sources), [float(s) / sum(shares) for s in shares]
        self.concat = ConcatDataset(self.sources)  # type: ignore[arg-type]
        self.text_cache = self.sources[0].text_cache

    def __len__(self) -> int:
        return len(self.concat)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        position = index[0] if isinstance(index, tuple) else index
        source = int(np.searchsorted(self.concat.cumulative_sizes, position, side="right"))
        inner = position - (self.concat.cumulative_sizes[source - 1] if source else 0)
        return self.sources[source][(inner, index[1]) if isinstance(index, tuple) else inner]

    def num_frames(self, index: int, seed: int | None = None) -> int:
        source = int(np.searchsorted(self.concat.cumulative_sizes, index, side="right"))
        inner = index - (self.concat.cumulative_sizes[source - 1] if source else 0)
        return self.sources[source].num_frames(inner, seed)

    def balance_weights(self, power: float) -> np.ndarray:
        """(N,) each source's own weights, scaled to its share."""
        parts = zip(self.sources, self.shares, strict=True)
        return np.concatenate([share * source.balance_weights(power) for source, share in parts])


class MotionDataModule(pl.LightningDataModule):
    """Training and test loaders over datasets that are built when a stage needs them.

    Args:
        train: builds the training dataset, or None. extra: builds a second training dataset with the same keys, or
            None. extra_share: fraction of the draws from `extra`.
        val: builds the validation dataset, or None. If the store has no clip for it, the training continues without,
            with a log message.
        val_split: if `val` is None: the validation split of the training store. val_items: number of evenly spaced
            items of it; None: all.
        test: builds the test or prediction dataset.
        batch_size, test_batch_size: items per batch and process.
        num_workers: loader processes; the items do not depend on it.
        batches_per_epoch: None goes through the dataset once.
        balance_power: see `MotionViews.balance_weights`; None visits every item equally often.
        bucket: see `SeededBatches`.
        pad_frames: pad batches to this many frames; None pads to the longest.
        seed: seed of the draws.
    """

    def __init__(
        self,
        *,
        train: Callable[[], MotionSource] | None = None,
        val: Callable[[], MotionSource] | None = None,
        test: Callable[[], MotionSource] | None = None,
        batch_size: int = 32,
        test_batch_size: int = 16,
        num_workers: int = 0,
        batches_per_epoch: int | None = None,
        balance_power: float | None = None,
        bucket: int = 8,
        pad_frames: int | None = None,
        seed: int = 0,
        extra: Callable[[], MotionSource] | None = None,
        extra_share: float = 0.5,
        val_items: int | None = None,
        val_split: str | None = None,
    ) -> None:
        super().__init__()
        if train is not None and extra is not None:
            balance_power = 1.0 if balance_power is None else balance_power  # shares are shares of weighted draws
            train = partial(_beside, train, extra, extra_share)
        if val is None and val_split is not None and train is not None:
            val = partial(train, split=val_split)
        self._build = {"train": train, "val": val, "test": test}
        self._built: dict[str, MotionSource] = {}
        self.batch_size, self.test_batch_size, self.num_workers = batch_size, test_batch_size, num_workers
        self.batches_per_epoch, self.balance_power, self.bucket = batches_per_epoch, balance_power, bucket
        self.pad_frames, self.seed, self.val_items = pad_frames, seed, val_items
        if val is None:  # otherwise Lightning warns about a loader without a validation step
            self.val_dataloader = super().val_dataloader

    def dataset(self, part: str) -> MotionSource:
        """The dataset of "train", "val" or "test", built on first use. ValueError if the configuration has none."""
        if part not in self._built:
            build = self._build[part]
            if build is None:
                raise ValueError(f"This configuration has no {part} data. Choose data=... or global/task=...")
            self._built[part] = build()
        return self._built[part]

    def train_dataloader(self) -> DataLoader[Any]:
        dataset = self.dataset("train")
        if self.balance_power is None and getattr(dataset, "emphasis", None):
            raise ValueError(
                "data.train.emphasis has no effect without data.balance_power. Set that, for example to 1, "
                "or remove the emphasis."
            )
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batches = SeededBatches(
            np.array([dataset.num_frames(i) for i in range(len(dataset))]),
            weights=None if self.balance_power is None else dataset.balance_weights(self.balance_power),
            batch_size=self.batch_size,
            batches_per_epoch=self.batches_per_epoch,
            bucket=self.bucket,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            drawn_length=dataset.num_frames,
        )
        if self.trainer:  # loader processes fetch ahead before Lightning sets the epoch of a resumed run
            batches.set_epoch(self.trainer.current_epoch)
        return DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_sampler=batches,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=partial(collate, pad_frames=self.pad_frames),
        )

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        try:
            dataset = self.dataset("val")
        except NoClipsError as error:
            logger.warning("There is no validation loss: %s", error)
            return []
        if self.val_items is None or self.val_items >= len(dataset):
            return self._in_order(dataset)
        places = np.linspace(0, len(dataset) - 1, self.val_items).astype(int).tolist()
        return self._in_order(Subset(dataset, places))  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[Any]:
        return self._in_order(self.dataset("test"))

    def _in_order(self, dataset: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=self.test_batch_size,
            num_workers=self.num_workers,
            collate_fn=partial(collate, pad_frames=self.pad_frames),
        )

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.test_dataloader()


def _beside(train: Callable[[], MotionSource], extra: Callable[[], MotionSource], share: float) -> Mixture:
    return Mixture([train(), extra()], [1.0 - share, share])
