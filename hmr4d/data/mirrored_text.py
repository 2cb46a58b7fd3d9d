"""Texts about a mirrored motion: left and right, clockwise and counterclockwise are exchanged."""

from __future__ import annotations

import re

SIDES = {"left": "right", "right": "left"}
_SIDE_WORD = re.compile(r"(?<![^\W_])(left|right)(wards?|most)?(?![^\W_])", re.IGNORECASE)
_TURN_WORD = re.compile(r"(?<![\w-])(counter-?|anti-?)?clockwise(?![\w-])", re.IGNORECASE)


def _like(word: str, model: str) -> str:
    """Returns `word` in the letter case of `model`."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word


def mirror_text(text: str) -> str:
    """Returns the text with left and right swapped, as whole words or parts of hyphenated words.

    "leftwards" and "leftmost" are swapped too, "leftover" and "bright" are not. Clockwise and counterclockwise are
    exchanged. Mirroring twice returns the original text, up to the spelling of counterclockwise (anticlockwise,
    counter-clockwise).
    """

    def swap_side(match: re.Match[str]) -> str:
        return _like(SIDES[match.group(1).lower()], match.group(1)) + (match.group(2) or "")

    def swap_turn(match: re.Match[str]) -> str:
        return _like("clockwise" if match.group(1) else "counterclockwise", match.group(0))

    return _TURN_WORD.sub(swap_turn, _SIDE_WORD.sub(swap_side, text))
