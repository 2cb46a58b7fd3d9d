"""Conversion of captions to input of an evaluator's text encoder: GloVe words or token states of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from hmr4d.data.store import ClipStore, TextCache
from hmr4d.evaluators.word_vectorizer import WordVectorizer
from hmr4d.nn.text import TextEncoder, build_text_encoder, encode_numpy, pack_features


class WordBatch(NamedTuple):
    """Padded captions.

    Attributes:
        words: (B, N, C) float32.
        lengths: (B,) int64, number of valid words.
        pos_onehot: (B, N, P) float32 word classes, or None.
    """

    words: Tensor
    lengths: Tensor
    pos_onehot: Tensor | None = None


class TextInput(Protocol):
    """Interface: converts captions to network input."""

    dim: int

    def __call__(self, texts: Sequence[str], tokens: Sequence[str] | None = None) -> WordBatch: ...


class GloveInput:
    """GloVe vectors and word classes of tagged captions.

    Args:
        vectorizer: the vocabulary.
    """

    def __init__(self, vectorizer: WordVectorizer) -> None:
        self.vectorizer, self.dim = vectorizer, vectorizer.dim

    def __call__(self, texts: Sequence[str], tokens: Sequence[str] | None = None) -> WordBatch:
        """Converts captions given as `tokens`, one string "word/POS word/POS" each; `texts` occur in messages only."""
        if tokens is None or len(tokens) != len(texts):
            raise ValueError(
                f"The GloVe text side needs 'word/POS' tokens of all {len(texts)} captions; got "
                f"{0 if tokens is None else len(tokens)}. Use captions with tokens, or an evaluator with token states."
            )
        sentences = [self.vectorizer.sentence(line.split()) for line in tokens]
        return WordBatch(
            torch.from_numpy(np.stack([s.words for s in sentences])),
            torch.tensor([s.length for s in sentences]),
            torch.from_numpy(np.stack([s.pos_onehot for s in sentences])),
        )


class TokenStateInput:
    """Token states of a text encoder, from the cache of a store if it contains the caption, otherwise computed.

    States are rounded to half precision as in caches, so cached and computed states are equal.

    Args:
        name: name of the encoder, for `build_text_encoder`.
        dim: C of a state.
        encoder: encoder; None: built by name on first use.
    """

    def __init__(self, name: str, dim: int, *, encoder: TextEncoder | None = None) -> None:
        if encoder is not None and (encoder.name, encoder.dim) != (name, dim):
            raise ValueError(
                f"The evaluator reads {dim}-dimensional states of '{name}'; got encoder '{encoder.name}' with "
                f"{encoder.dim}. Pass the encoder it was trained with."
            )
        self.name, self.dim = name, dim
        self._encoder = encoder
        self._cache: TextCache | None = None
        self._rows: dict[str, int] = {}

    def use_cache(self, store: ClipStore) -> bool:
        """Uses cached states of the store's captions from now on; returns False if the store has none."""
        cache = store.text_cache(self.name)
        if cache is not None:
            self._cache = cache
            self._rows = {text: row for row, text in reversed(list(enumerate(store.caption_texts)))}
        return cache is not None

    def __call__(self, texts: Sequence[str], tokens: Sequence[str] | None = None) -> WordBatch:
        """Converts captions given as `texts`; `tokens` are ignored."""
        new = list(dict.fromkeys(text for text in texts if self._cache is None or text not in self._rows))
        computed = dict(zip(new, self._compute(new), strict=True))
        states = [
            computed[t] if t in computed or self._cache is None else self._cache.tokens(self._rows[t]) for t in texts
        ]
        features = pack_features(states, np.zeros((len(states), self.dim)))
        return WordBatch(features.tokens, features.valid.sum(1))

    def _compute(self, texts: list[str]) -> list[np.ndarray]:
        """(M_i, C) float16 states of each text."""
        if not texts:
            return []
        if self._encoder is None:
            self._encoder = build_text_encoder(self.name, dim=self.dim)
        return [state.astype(np.float16) for state in encode_numpy(self._encoder, texts)[0]]
