"""What is odd about inputs that were read all the same, told once for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from logging import Logger
from typing import NamedTuple


class Remark(NamedTuple):
    """One oddity of one input.

    Attributes:
        kind: short key; inputs with the same oddity share it.
        words: a sentence about the input, without its name.
    """

    kind: str
    words: str


def tell_once(logger: Logger, remarks: Sequence[tuple[str, Remark]], total: int) -> None:
    """Warns once per kind: about the first input that has it, and how many of all have it.

    Args:
        logger: gets the warnings.
        remarks: (name of an input, its remark).
        total: number of inputs.
    """
    counts = Counter(remark.kind for _, remark in remarks)
    for kind, count in counts.items():
        name, words = next((name, remark.words) for name, remark in remarks if remark.kind == kind)
        logger.warning("%s: %s%s", name, words, f" So are {count} of {total} files." if count > 1 else "")
