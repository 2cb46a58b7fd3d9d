"""Warnings about unusual inputs, grouped so that each kind is logged once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from logging import Logger
from typing import NamedTuple


class Remark(NamedTuple):
    """One warning about one input.

    Attributes:
        kind: short key of the kind of warning.
        words: a sentence about the input, without its name.
    """

    kind: str
    words: str


def tell_once(logger: Logger, remarks: Sequence[tuple[str, Remark]], total: int) -> None:
    """Logs one warning per kind: about the first input, with the number of affected inputs.

    Args:
        logger: receives the warnings.
        remarks: (name of an input, its remark).
        total: number of inputs.
    """
    counts = Counter(kind for _, kind in dict.fromkeys((name, remark.kind) for name, remark in remarks))
    for kind, count in counts.items():
        name, words = next((name, remark.words) for name, remark in remarks if remark.kind == kind)
        logger.warning("%s: %s%s", name, words, f" This affects {count} of {total} files." if count > 1 else "")
