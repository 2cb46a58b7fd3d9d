"""Answers of models: yes, no, or undecided, never a guess."""

from __future__ import annotations

import pytest

from hmr4d.reference_motion.vlm_answer import Decision, parse_answer

YES, NO, UNDECIDED = Decision.YES, Decision.NO, Decision.UNDECIDED


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ('{"analysis": "a jump", "matches": true}', YES),
        ('Sure!\n```json\n{"analysis": "x", "matches": "No"}\n``` Bye', NO),
        ('Thinking about {this}: {"matches": 1} is right', YES),
        ('{"Matches": "YES."}', YES),
        ('[{"analysis": "a", "matches": false}]', NO),
        ('{"result": {"matches": true}}', YES),
        ('{"analysis": "it is true that", "matches": false', NO),
        ('{"matches": true, "analysis": "the figure wa', YES),
        ('{"analysis": "the person turns and', UNDECIDED),
        ('{"matches": tru', UNDECIDED),
        ('{"matches": null}', UNDECIDED),
        ('{"matches": "maybe"}', UNDECIDED),
        ('{"matches": 0.7}', UNDECIDED),
        ('{"matches": [true]}', UNDECIDED),
        ('{"matches": true, "matches": false}', UNDECIDED),
        ('{"matches": true} or rather {"matches": false}', UNDECIDED),
        ('<think>first {"matches": false}, no:</think>{"matches": true}', YES),
        ('<think>{"matches": true}</think> I cannot see it.', UNDECIDED),
        ('Answer as {"analysis": "...", "matches": true|false}', UNDECIDED),
        ("The motion matches: true", UNDECIDED),
        ("true", UNDECIDED),
        ("<html>502 Bad Gateway</html>", UNDECIDED),
        ("", UNDECIDED),
        ("{" * 5000 + '"matches"', UNDECIDED),
    ],
)
def test_an_answer_is_read_into_three_states(text: str, decision: Decision) -> None:
    assert parse_answer(text).decision is decision


def test_the_analysis_is_the_sentence_of_the_model_whatever_type_it_has() -> None:
    assert parse_answer('{"analysis": " a jump ", "matches": true}').analysis == "a jump"
    assert parse_answer('{"analysis": ["a", 1], "matches": true}').analysis == '["a", 1]'
    assert parse_answer("no JSON").analysis == "no JSON"


def test_broken_json_with_the_word_true_elsewhere_is_no_match() -> None:
    assert parse_answer('{"analysis": "it is true that", "matches": false').decision is NO
