"""Loaders and mixtures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datamodule import Mixture, MotionDataModule
from hmr4d.data.datasets import Framing, MotionViews
from tests.data.tiny_store import write_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("datamodule") / "store"
    write_store(
        out,
        {f"c{i}": 40 + i for i in range(12)},
        splits={"c10": "test", "c11": "test"},
        text_cache=True,
        labels={f"c{i}": {"content": "walk" if i < 8 else "run"} for i in range(12)},
    )
    return out


def views(folder: Path, split: str, **changes: Any) -> MotionViews:
    return MotionViews(
        str(folder),
        split,
        cameras=OrbitRig(),
        framing=Framing(),
        rules=IndexRules(),
        fps=20.0,
        mirror_prob=0.5,
        text_encoder="hash",
        **changes,
    )


def module(folder: Path, **changes: Any) -> MotionDataModule:
    settings: dict[str, Any] = {"train": partial(views, folder, "train"), "test": partial(views, folder, "test")}
    return MotionDataModule(**(settings | {"batch_size": 4, "test_batch_size": 2, "seed": 5} | changes))


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return set(first) == set(second) and all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )


@pytest.mark.parametrize("which", ["train_dataloader", "test_dataloader"])
def test_number_of_workers_changes_nothing(folder: Path, which: str) -> None:
    alone, helped = (list(getattr(module(folder, num_workers=n), which)()) for n in (0, 2))
    assert len(alone) == len(helped) > 0
    assert all(equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_epochs_differ_and_repeat(folder: Path) -> None:
    def epoch(number: int) -> list[dict[str, Any]]:
        loader = module(folder).train_dataloader()
        loader.batch_sampler.set_epoch(number)
        return list(loader)

    first, again, second = epoch(0), epoch(0), epoch(1)
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(equal(a, b) for a, b in zip(first, second, strict=True))


def test_test_items_come_in_order(folder: Path) -> None:
    (batch,) = module(folder).test_dataloader()
    assert batch["lengths"].tolist() == [50, 51]


def test_sizes_follow_the_settings(folder: Path) -> None:
    loader = module(folder, batches_per_epoch=7, pad_frames=64, balance_power=0.5).train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 7
    assert all(batch["joints2d"].shape == (4, 4, 64, 22, 2) for batch in batches)


def test_an_emphasis_that_would_have_no_effect_is_refused(folder: Path) -> None:
    train = partial(views, folder, "train", emphasis={"walk": 2.0})
    with pytest.raises(ValueError, match=r"emphasis has no effect without data\.balance_power"):
        module(folder, train=train).train_dataloader()


def test_datasets_are_built_when_needed() -> None:
    built = []

    def build() -> Any:
        built.append(1)
        return views

    data = MotionDataModule(train=build)
    assert built == []
    data.dataset("train")
    data.dataset("train")
    assert built == [1]
    with pytest.raises(ValueError, match="no test data"):
        data.dataset("test")


def test_mixture_keeps_items_and_shares(folder: Path) -> None:
    train, test = views(folder, "train"), views(folder, "test")
    mixture = Mixture([train, test], [3.0, 1.0])
    assert len(mixture) == len(train) + len(test)
    for index in range(len(mixture)):
        source, inner = (train, index) if index < len(train) else (test, index - len(train))
        assert mixture.num_frames(index) == source.num_frames(inner)
        assert equal(mixture[index, 9], source[inner, 9])
        assert equal(mixture[index], source[inner])
    weights = mixture.balance_weights(0.5)
    assert weights[: len(train)].sum() == pytest.approx(0.75)
    assert weights.sum() == pytest.approx(1.0)
    assert np.allclose(weights[: len(train)], 0.75 * train.balance_weights(0.5))


def test_mixture_needs_a_share_for_each(folder: Path) -> None:
    with pytest.raises(ValueError, match="1 sources and 2 shares"):
        Mixture([views(folder, "train")], [0.5, 0.5])


def test_mixture_trains_through_the_loaders(folder: Path) -> None:
    def build() -> Mixture:
        return Mixture([views(folder, "train"), views(folder, "test")], [0.5, 0.5])

    loader = module(folder, train=build, batches_per_epoch=50, balance_power=1.0).train_dataloader()
    lengths = torch.cat([batch["lengths"] for batch in loader])
    assert float((lengths >= 50).float().mean()) == pytest.approx(0.5, abs=0.12)
