"""The text adapter: shapes, files, what attracts what, and that it learns to tell actions apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import write_text_cache
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from hmr4d.nn.text_adapter import (
    AdapterTraining,
    LabeledCaptions,
    TextAdapter,
    _attraction,
    contrast_loss,
    fit_text_adapter,
    read_captions,
    rotated_like,
    side_of,
)
from hmr4d.nn.training import PipelineModule

VERBS = {"walk": ("walks", "strolls", "ambles"), "wave": ("waves", "greets"), "sit": ("sits", "rests", "settles")}
FAST = AdapterTraining(steps=120, groups_per_batch=3, captions_per_group=12)


def made_up_captions(seed: int = 0, count: int = 24) -> LabeledCaptions:
    """Sentences of one verb of an action among words that say nothing of it, waves with a side."""
    generator = torch.Generator().manual_seed(seed)

    def pick(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    rows = []
    for action, verbs in VERBS.items():
        for _ in range(count):
            fillers = " ".join(f"word{pick(12)}" for _ in range(5))
            side = ("left", "right")[pick(2)] if action == "wave" else ""
            rows.append((f"{verbs[pick(len(verbs))]} {fillers} {side}".strip(), action))
    texts, actions = [text for text, _ in rows], [action for _, action in rows]
    return LabeledCaptions(texts, HashTextEncoder(48).encode(texts).pooled, actions, actions)


def nearest_mean_accuracy(known: LabeledCaptions, vectors: torch.Tensor, asked: LabeledCaptions, of: torch.Tensor):
    names = sorted(set(known.actions))
    means = torch.stack([vectors[[a == name for a in known.actions]].mean(0) for name in names])
    found = (normalize(of, dim=-1) @ normalize(means, dim=-1).T).argmax(1)
    return sum(names[i] == action for i, action in zip(found.tolist(), asked.actions, strict=True)) / len(asked)


def test_vectors_have_unit_variance_and_any_leading_axes() -> None:
    adapter = TextAdapter(16, 32).eval()
    out = adapter(torch.randn(2, 3, 16))
    assert out.shape == (2, 3, 32)
    assert torch.allclose(out.var(-1, unbiased=False), torch.ones(2, 3), atol=1e-3)
    with pytest.raises(ValueError, match="pooled vectors of 16 dimensions; got 5"):
        adapter(torch.zeros(1, 5))


def test_a_file_gives_the_adapter_back_in_half_precision(tmp_path: Path) -> None:
    adapter = fit_text_adapter(made_up_captions(), AdapterTraining(steps=2), dim=20)
    adapter.save(tmp_path / "adapter.safetensors")
    again = TextAdapter.load(tmp_path / "adapter.safetensors")
    x = torch.randn(4, 48)
    assert (adapter(x) - again(x)).abs().max() < 5e-3
    assert not any(p.requires_grad for p in again.parameters())


def test_files_that_are_no_adapter_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Text adapter not found"):
        TextAdapter.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is not a text adapter"):
        TextAdapter.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("waves with the left hand", 1),
        ("steps rightwards", -1),
        ("left foot, right foot", 0),
        ("a bright leftover", 0),
        ("turns counter-clockwise", 1),
        ("spins clockwise", -1),
    ],
)
def test_the_side_of_a_sentence(text: str, side: int) -> None:
    assert side_of(text) == side


def test_contrast_is_small_when_positives_are_near_and_ignores_rows_without_any() -> None:
    near = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    pull = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    far = near[[0, 2, 1]]
    assert contrast_loss(near, pull, 0.1) < 0.01 < contrast_loss(far, pull, 0.1)
    cosines = normalize(near, dim=-1) @ normalize(near, dim=-1).T
    first = -torch.log(torch.exp(cosines[0, 1]) / (torch.exp(cosines[0, 1]) + torch.exp(cosines[0, 2])))
    second = -torch.log(torch.exp(cosines[1, 0]) / (torch.exp(cosines[1, 0]) + torch.exp(cosines[1, 2])))
    assert torch.allclose(contrast_loss(near, pull, 1.0), (first + second) / 2, atol=1e-5)


def test_fitting_separates_unseen_sentences_better_than_the_pooled_vector() -> None:
    known, asked = made_up_captions(0, 40), made_up_captions(1)
    adapter = fit_text_adapter(known, FAST, dim=24)
    before = nearest_mean_accuracy(known, known.pooled, asked, asked.pooled)
    after = nearest_mean_accuracy(known, adapter(known.pooled), asked, adapter(asked.pooled))
    assert after > before + 0.05


def test_opposite_sides_of_one_action_move_apart() -> None:
    known, asked = made_up_captions(0, 40), made_up_captions(1)
    sides = torch.tensor([side_of(text) for text in asked.texts])
    unit = normalize(fit_text_adapter(known, FAST, dim=24)(asked.pooled), dim=-1)
    left, right = unit[sides == 1], unit[sides == -1]
    assert float((left @ right.T).mean()) < float((left @ left.T).mean()) - 0.2


def test_captions_attract_those_of_their_action_that_do_not_name_the_other_side() -> None:
    attraction = _attraction(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, -1, 0]))
    assert attraction.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]


def test_rotation_brings_one_training_to_the_directions_of_another() -> None:
    captions = made_up_captions()
    one, other = (fit_text_adapter(captions, replace(FAST, seed=seed), dim=32) for seed in (0, 1))
    rotated = rotated_like(other, one, captions)
    unit = {name: normalize(a(captions.pooled), dim=-1) for name, a in (("1", one), ("2", other), ("r", rotated))}
    assert torch.allclose(unit["r"] @ unit["r"].T, unit["2"] @ unit["2"].T, atol=1e-4)
    near = {name: float((unit[name] * unit["1"]).sum(-1).mean()) for name in ("2", "r")}
    assert near["2"] < 0.5 and near["r"] > 0.8
    with pytest.raises(ValueError, match="width 16 cannot be rotated like one of width 32"):
        rotated_like(TextAdapter(48, 16), one, captions)


def test_fitting_is_deterministic_and_does_not_change_the_random_state() -> None:
    captions, few = made_up_captions(), AdapterTraining(steps=3)
    state = torch.get_rng_state()
    first, second = fit_text_adapter(captions, few), fit_text_adapter(captions, few)
    other = fit_text_adapter(captions, AdapterTraining(steps=3, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.embed.weight, second.embed.weight)
    assert not torch.equal(first.embed.weight, other.embed.weight)


def test_one_action_alone_is_refused() -> None:
    captions = made_up_captions()
    rows = [i for i, action in enumerate(captions.actions) if action == "walk"]
    with pytest.raises(ValueError, match="at least two actions"):
        fit_text_adapter(captions.part(rows))


def test_captions_of_several_stores_come_with_their_labels(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        import_synthetic(tmp_path / name, num_clips=8, seed=seed)
    with pytest.raises(ValueError, match="no text cache of 'hash'"):
        read_captions([tmp_path / "a"], "hash")
    encoder = HashTextEncoder(16)
    for name in ("a", "b"):
        write_text_cache(tmp_path / name, "hash", lambda texts: encode_numpy(encoder, texts))
    one = read_captions([tmp_path / "a"], "hash")
    both = read_captions([tmp_path / "a", tmp_path / "b"], "hash")
    assert len(both) > len(one) > 0
    assert set(one.actions) <= set(both.actions)
    assert torch.allclose(both.pooled, encoder.encode(list(both.texts)).pooled, atol=1e-6)


def test_a_resumed_training_with_another_adapter_is_refused() -> None:
    class Reader(nn.Module):
        def __init__(self, seed: int | None) -> None:
            super().__init__()
            torch.manual_seed(seed or 0)
            self.network, self.text_adapter = nn.Linear(4, 2), None if seed is None else TextAdapter(6, 4)

    def module(seed: int | None) -> PipelineModule:
        return PipelineModule(Reader(seed), optimizer=torch.optim.Adam)

    checkpoint = {"state_dict": module(1).state_dict()}
    module(1).on_load_checkpoint(checkpoint)
    for other in (2, None):
        with pytest.raises(ValueError, match="another text adapter than pipeline.text_adapter"):
            module(other).on_load_checkpoint(checkpoint)
