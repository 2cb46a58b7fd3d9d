"""Numbers as motion files write them, and why a word is none."""

from __future__ import annotations

import math
import re

from hmr4d.utils.text_files import printable

LARGEST = 1e9  # of any unit or degree: beyond it a file is damaged
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?$")


def number_or_none(word: str | bytes) -> float | None:
    """A finite number within the range of lengths and angles; None for any other word."""
    text = word.decode("ascii", errors="replace") if isinstance(word, bytes) else word
    try:
        value = float("x" if "_" in text else text)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST else None  # NaN fails the comparison


def number_fault(word: str) -> str:
    """Why a word is no number, for messages."""
    shown = f"'{printable(word[:40])}'"
    if _DECIMAL_COMMA.match(word):
        return f"{shown} has a decimal comma; replace the commas of all numbers by points"
    if word.endswith(",") and number_or_none(word[:-1]) is not None:
        return f"{shown} ends with a comma; separate numbers by blanks alone"
    try:
        is_finite = "_" not in word and math.isfinite(float(word))
    except ValueError:
        is_finite = False
    return f"{shown} is too large for a length or an angle" if is_finite else f"{shown} is not a finite number"
