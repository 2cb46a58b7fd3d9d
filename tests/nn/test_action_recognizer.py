"""The recognizer of actions: which sentences it names, and the decisions of an index that has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmr4d.nn.action_index import ActionIndex, KnownAction, prototypes_of
from hmr4d.nn.action_recognizer import ActionRecognizer, RecognizerTraining, fit_recognizer
from hmr4d.nn.text_adapter import LabeledCaptions

NAMES = ("bow", "run", "walk")
FAST = RecognizerTraining(steps=60, batch_size=96, learning_rate=5e-2, drop_input=0.1)


def made_up_captions(seed: int, count: int = 60) -> LabeledCaptions:
    """Vectors whose first entries hint at the action, under a strong topic that says nothing about it."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(NAMES)).repeat_interleave(count)
    topics = torch.randn(4, 12, generator=torch.Generator().manual_seed(9)) * 3.0
    pooled = topics[torch.randint(4, (len(rows),), generator=generator)]
    pooled = pooled + 0.5 * torch.randn(len(rows), 12, generator=generator)
    pooled[torch.arange(len(rows)), rows] += 1.5
    labels = [NAMES[row] for row in rows.tolist()]
    return LabeledCaptions([f"text {i}" for i in range(len(rows))], pooled, labels, labels)


def right(scores: Tensor, captions: LabeledCaptions) -> float:
    return float((scores.argmax(1) == captions.numbered()[1]).float().mean())


def known(names: tuple[str, ...] = NAMES) -> list[KnownAction]:
    return [KnownAction(name, name, 1, 2.0 + i, 1.0, 9.0) for i, name in enumerate(names)]


@pytest.mark.parametrize("part", [FAST, replace(FAST, discriminant_weight=0.0), replace(FAST, steps=0)])
def test_unseen_sentences_are_named_more_often_than_by_the_nearest_mean(part: RecognizerTraining) -> None:
    """By the whole and by each of its parts, regression and discriminant."""
    captions, asked = made_up_captions(0), made_up_captions(1)
    index = ActionIndex(known(), prototypes_of(captions)[1])
    recognizer = fit_recognizer(captions, part)
    assert right(recognizer(asked.pooled), asked) > right(index.similarities(asked.pooled), asked) + 0.1


def test_fitting_is_deterministic_and_does_not_change_the_random_state() -> None:
    captions, few = made_up_captions(0), replace(FAST, steps=3)
    state = torch.get_rng_state()
    first, second = fit_recognizer(captions, few), fit_recognizer(captions, few)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)
    assert not torch.equal(first.weight, fit_recognizer(captions, replace(few, seed=1)).weight)


def test_one_action_alone_and_vectors_of_another_encoder_are_refused() -> None:
    captions = made_up_captions(0)
    with pytest.raises(ValueError, match="'bow'; a recognizer needs at least two actions"):
        fit_recognizer(captions.part(range(5)))
    with pytest.raises(ValueError, match="needs pooled vectors of 4 dimensions; got 5"):
        ActionRecognizer(torch.zeros(3, 4), torch.zeros(3))(torch.zeros(1, 5))


def test_an_index_adds_the_scores_of_its_recognizer() -> None:
    prompt = torch.tensor([[1.0, 0.4, 0.0]])
    plain, weak, strong = (
        ActionIndex(known(), torch.eye(3), recognizer=recognizer)
        for recognizer in (None, *(ActionRecognizer(torch.zeros(3, 3), torch.tensor([0, run, 0])) for run in (9, 30)))
    )
    assert plain.match(prompt)[0].nearest[0][0].name == weak.match(prompt)[0].nearest[0][0].name == "bow"
    match = strong.match(prompt)[0]
    assert match.nearest[0][0].name == "run"
    assert match.similarity == pytest.approx(plain.match(prompt)[0].similarity)  # far prompts are judged as before
    assert match.seconds == pytest.approx(3.0, abs=0.01)
    assert strong.accuracy(prompt, ["run"]) == plain.accuracy(prompt, ["bow"]) == 1.0
    assert torch.allclose(strong.pulled(prompt, 1.0), torch.tensor([[0.0, 3**0.5, 0.0]]))


def test_a_file_keeps_the_recognizer(tmp_path: Path) -> None:
    captions = made_up_captions(0)
    index = ActionIndex(known(), prototypes_of(captions)[1], recognizer=fit_recognizer(captions, FAST))
    index.save(tmp_path / "actions.safetensors")
    again = ActionIndex.load(tmp_path / "actions.safetensors")
    assert again.recognizer is not None
    assert torch.allclose(again.scores(captions.pooled), index.scores(captions.pooled), atol=0.05)
    with pytest.raises(ValueError, match="2 actions with a recognizer of 3"):
        ActionIndex(known(NAMES[:2]), torch.eye(2), recognizer=index.recognizer)
