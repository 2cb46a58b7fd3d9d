"""Known actions: what is nearest to a prompt, how long it takes, and when it is far from everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore, write_text_cache
from hmr4d.nn.action_index import (
    ActionIndex,
    FarCheck,
    KnownAction,
    build_action_index,
    check_far,
    far_check,
    prototypes_of,
)
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from hmr4d.nn.text_adapter import AdapterTraining, LabeledCaptions, TextAdapter, read_captions

ACTIONS = (
    KnownAction("stroll", "walk", 10, 6.0, 3.0, 9.0),
    KnownAction("march", "walk", 4, 5.0, 3.0, 8.0),
    KnownAction("bow", "bow", 3, 4.0, 3.0, 5.0),
    KnownAction("raise the hand", "raise", 7, 2.0, 1.5, 2.5),
)
PROTOTYPES = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
CHECK = FarCheck(threshold=0.5, auc=0.9, false_alarms=0.05, caught=0.6)


def test_the_nearest_actions_come_one_for_each_group() -> None:
    index = ActionIndex(ACTIONS, PROTOTYPES, check=CHECK)
    near, far = index.match(torch.tensor([[5.0, 0.5, 0.0], [-1.0, -1.0, 0.1]]))
    assert [action.name for action, _ in near.nearest] == ["stroll", "bow", "raise the hand"]
    assert near.similarity == pytest.approx(5 / np.hypot(5, 0.5), abs=1e-5)
    assert (near.is_far, far.is_far) == (False, True)
    assert far.nearest[0][0].name == "raise the hand"
    assert not ActionIndex(ACTIONS, PROTOTYPES).match(torch.tensor([[-1.0, -1.0, 0.1]]))[0].is_far


def test_the_duration_is_that_of_the_nearest_actions() -> None:
    index = ActionIndex(ACTIONS, PROTOTYPES)
    walk, raised, between = (
        match.seconds for match in index.match(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    )
    assert walk == pytest.approx(6.0, abs=0.1)
    assert raised == pytest.approx(2.0, abs=0.01)
    assert between == pytest.approx((4.0 * 2.0) ** 0.5, abs=0.1)


def test_a_prompt_is_pulled_towards_its_nearest_action_alone() -> None:
    known = ActionIndex(ACTIONS, PROTOTYPES)
    pooled = torch.tensor([[1.0, 0.3, 0.0], [0.1, 0.2, 1.0]])
    own = known.pulled(pooled, 0.0)
    assert torch.allclose(own, normalize(pooled, dim=-1) * 3**0.5, atol=1e-6)
    there = known.pulled(pooled, 1.0)
    nearest = known.similarities(pooled).argmax(-1)
    assert torch.allclose(there, known.prototypes[nearest] * 3**0.5, atol=1e-6)
    before, half = known.similarities(pooled), known.similarities(known.pulled(pooled, 0.5))
    assert (half.argmax(-1) == nearest).all()
    assert (half.amax(-1) > before.amax(-1)).all()
    assert torch.allclose(half.new_tensor(3.0), known.pulled(pooled, 0.5).pow(2).sum(-1))


def test_actions_by_group() -> None:
    groups = ActionIndex(ACTIONS, PROTOTYPES).groups()
    assert list(groups) == ["bow", "raise", "walk"]
    assert [action.name for action in groups["walk"]] == ["march", "stroll"]


@pytest.mark.parametrize("check", [None, CHECK])
def test_a_file_gives_the_same_index_back(tmp_path: Path, check: FarCheck | None) -> None:
    index = ActionIndex(ACTIONS, PROTOTYPES, check=check, lexicon=["walk", "a", "bow"])
    index.save(tmp_path / "actions.safetensors")
    again = ActionIndex.load(tmp_path / "actions.safetensors")
    assert (again.actions, again.check, again.lexicon) == (index.actions, check, {"a", "bow", "walk"})
    assert torch.allclose(again.prototypes, index.prototypes, atol=1e-3)


def test_an_index_is_refused_with_another_adapter(tmp_path: Path) -> None:
    path = tmp_path / "actions.safetensors"
    ActionIndex(ACTIONS, PROTOTYPES).save(path)
    with pytest.raises(ValueError, match="belongs to another text adapter"):
        ActionIndex.load(path, TextAdapter(3, 3))
    ActionIndex(ACTIONS, PROTOTYPES, adapter=TextAdapter(5, 3)).save(path)
    with pytest.raises(ValueError, match="belongs to another text adapter"):
        ActionIndex.load(path)
    assert ActionIndex.load(path, TextAdapter(5, 3).eval()).similarities(torch.randn(2, 5)).shape == (2, 4)


def test_files_that_are_no_index_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Known actions not found"):
        ActionIndex.load(tmp_path / "none.safetensors")
    TextAdapter(3, 3).save(tmp_path / "adapter.safetensors")
    with pytest.raises(ValueError, match="contains no known actions"):
        ActionIndex.load(tmp_path / "adapter.safetensors")


def test_an_index_of_stores_counts_the_training_clips_and_their_seconds(tmp_path: Path) -> None:
    paths, encoder = [tmp_path / "a", tmp_path / "b"], HashTextEncoder(16)
    for seed, path in enumerate(paths):
        import_synthetic(path, num_clips=12, seed=seed)
        write_text_cache(path, "hash", lambda texts: encode_numpy(encoder, texts))
    index = build_action_index(paths, read_captions(paths, "hash"))
    stores = [MotionStore.open(path) for path in paths]
    wanted: dict[str, list[float]] = {}
    for store in stores:
        for clip in store.indices("train"):
            wanted.setdefault(store.labels["content"][clip], []).append(store.lengths[clip] / store.fps)
    assert {a.name: a.num_clips for a in index.actions} == {name: len(all_) for name, all_ in wanted.items()}
    for action in index.actions:
        assert action.seconds == pytest.approx(np.median(wanted[action.name]), abs=0.01)
        assert action.shortest <= action.seconds <= action.longest


def test_near_copies_share_a_vote_in_a_prototype() -> None:
    pooled = torch.tensor([[1.0, 0.0]] * 50 + [[0.0, 1.0]] + [[-1.0, 0.0]])
    captions = LabeledCaptions(["text"] * 52, pooled, ["a"] * 51 + ["b"], ["a"] * 51 + ["b"])
    names, prototypes = prototypes_of(captions)
    assert names == [("a", "a"), ("b", "b")]
    assert torch.allclose(prototypes[0], torch.tensor([0.5**0.5, 0.5**0.5]), atol=0.02)


def test_the_operating_point_keeps_false_alarms_below_the_limit() -> None:
    known, unknown = torch.linspace(0.4, 1.0, 101), torch.linspace(0.0, 0.6, 101)
    check = far_check(known, unknown, 0.05)
    assert check.false_alarms <= 0.05
    assert check.threshold == pytest.approx(0.43, abs=0.01)
    assert check.caught == pytest.approx(0.43 / 0.6, abs=0.02)
    assert check.auc == pytest.approx(1 - 0.5 * (0.2 / 0.6) ** 2, abs=0.01)


def test_unknown_actions_are_detected_by_adapters_not_trained_on_them() -> None:
    generator = torch.Generator().manual_seed(0)
    centers = torch.eye(24)[:12]
    rows = torch.arange(12).repeat_interleave(20)
    pooled = centers[rows] + 0.1 * torch.randn(240, 24, generator=generator)
    labels = [f"action{k}" for k in rows.tolist()]
    captions = LabeledCaptions(["text"] * 240, pooled, labels, labels)
    check = check_far(captions, AdapterTraining(steps=25, groups_per_batch=10, captions_per_group=3), folds=1, dim=16)
    assert check.auc > 0.9
    assert check.false_alarms <= 0.05
    assert check.caught > 0.5
    with pytest.raises(ValueError, match="are too few"):
        check_far(captions.part(range(40)))
