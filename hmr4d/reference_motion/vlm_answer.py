"""Parses the answer of a vision-language model to yes, no or undecided.

The question requests a JSON object with `analysis` and `matches`. Models wrap it in prose or code fences, truncate it,
or answer differently. Every answer that is not clearly yes or no is undecided.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_FENCE = re.compile(r"```(.*?)```", re.DOTALL)
_THOUGHTS_END = "</think>"  # models that reason aloud write this before they answer
_LONGEST = 1 << 16  # characters that are looked at; an answer has one sentence
_PAIR = re.compile(
    r'"matches"\s*:\s*(true|false|"(?:true|yes|false|no)"|[01](?![.\d]))(?![\w"])(?!\s*[|/])', re.IGNORECASE
)  # an echo of the question, such as `true|false`, is not an answer


class Decision(str, Enum):
    """Whether a motion matches its description."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"

    @staticmethod
    def of(matches: bool | None) -> Decision:
        """YES, NO, or UNDECIDED for None."""
        return Decision.UNDECIDED if matches is None else Decision.YES if matches else Decision.NO

    @property
    def flag(self) -> bool | None:
        """True, False, or None for UNDECIDED, for reports."""
        return None if self is Decision.UNDECIDED else self is Decision.YES


@dataclass(frozen=True)
class Answer:
    """A parsed answer.

    Attributes:
        decision: yes, no or undecided.
        analysis: explanation of the model; empty if missing.
    """

    decision: Decision
    analysis: str


def parse_answer(text: str) -> Answer:
    """Parses an answer.

    Every JSON object in the text that has `matches` counts, wherever it stands; without any, pairs like
    `"matches": true` of broken JSON. Thoughts before `</think>` do not count. Where they contradict each other, or
    nothing of the kind is there, the answer is undecided. Booleans, 0 and 1, and the words true, yes, false, no count
    as yes or no.
    """
    text = text.rpartition(_THOUGHTS_END)[2][:_LONGEST]
    objects = [found for found in _objects(text) if "matches" in found]
    if objects:
        states = [_strict(one["matches"]) for one in objects]
        analysis = next((_sentence(f["analysis"]) for f in objects if f.get("analysis") is not None), "")
        return Answer(_common(states), analysis)
    pairs = [_strict(_loaded(match.group(1))) for match in _PAIR.finditer(text)]
    return Answer(_common(pairs), text.strip())


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Outermost JSON objects in a text, with lower-case keys; a key with two values gets None."""
    place = text.find("{")
    while place >= 0:
        try:
            found, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            place = text.find("{", place + 1)
            continue
        yield found
        place = text.find("{", end)


def _pairs(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        name = key.strip().lower()
        table[name] = value if name not in table or table[name] == value else None
    return table


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


def _strict(value: Any) -> bool | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().strip(".").lower())
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def _loaded(value: str) -> Any:
    return json.loads(value.lower())


def _sentence(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _common(states: list[bool | None]) -> Decision:
    return Decision.of(states[0]) if len(set(states)) == 1 else Decision.UNDECIDED
