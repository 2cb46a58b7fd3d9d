"""Checks of prompts for text that an encoder cannot use: other languages, and text beyond its limit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from hmr4d.nn.text import CLIPTextEncoder, MiniLMTextEncoder, TextEncoder

MIN_KNOWN = 0.5  # smallest fraction of known words in an English prompt
MIN_LATIN = 0.5  # smallest fraction of Latin letters in a prompt
LONG_WORD = 5  # letters; shorter words of the encoder's vocabulary belong to many languages ("un", "der")
_WORD = re.compile(r"[^\W\d_]+")


def words_of(texts: Sequence[str]) -> list[str]:
    """The different words of texts, in lower case and alphabetical order."""
    return sorted({word for text in texts for word in _WORD.findall(text.lower())})


def prompt_remarks(text: str, encoder: TextEncoder | None, lexicon: Collection[str] = ()) -> list[str]:
    """Warnings about parts of a prompt that the text encoder cannot use, one sentence each.

    A word is known if the lexicon contains it, or if it is long and a single token of the encoder.

    Args:
        text: prompt.
        encoder: text encoder; None: unknown.
        lexicon: English words, such as those of the training captions; empty: words are not checked.
    """
    remarks = []
    letters = [letter for letter in text if letter.isalpha()]
    if letters and sum("LATIN" in unicodedata.name(c, "") for c in letters) < MIN_LATIN * len(letters):
        remarks.append(f"'{_short(text)}' is not written in Latin letters; this model understands English alone.")
    elif lexicon and (words := _WORD.findall(text.lower())):
        vocabulary = encoder.tokenizer.get_vocab() if isinstance(encoder, (MiniLMTextEncoder, CLIPTextEncoder)) else {}
        whole = {w for w in words if len(w) >= LONG_WORD and (w in vocabulary or f"{w}</w>" in vocabulary)}
        known = [w for w in words if w in lexicon or w in whole]
        if len(known) < MIN_KNOWN * len(words):
            remarks.append(
                f"'{_short(text)}' does not look like English: the model knows {len(known)} of its {len(words)} words, "
                "and understands English alone."
            )
    if isinstance(encoder, (MiniLMTextEncoder, CLIPTextEncoder)):
        pieces = len(encoder.tokenizer(text)["input_ids"])
        if pieces > encoder.max_tokens:
            remarks.append(
                f"'{_short(text)}' has {pieces} word pieces; the text encoder reads the first {encoder.max_tokens}, "
                "the rest is ignored."
            )
    return remarks


def _short(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 3].rstrip() + "..."
