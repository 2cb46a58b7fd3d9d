"""Conversion of words to vectors and word classes, the text input of the published evaluators.

The vectors are GloVe (Pennington et al., EMNLP 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from hmr4d.evaluators.hml263_clips import MAX_WORDS
from hmr4d.utils.safe_pickle import load_arrays_pickle

PREFIX = "our_vab"
FILES = tuple(f"{PREFIX}_{part}" for part in ("data.npy", "words.pkl", "idx.pkl"))
START, END, UNKNOWN = "sos", "eos", "unk"
SENTENCE_LENGTH = MAX_WORDS + 2  # including start and end


class WordClasses(NamedTuple):
    """Classes by their index in the one-hot code.

    Attributes:
        index: class name -> index.
        lists: word -> class of the first list that contains it.
        other: class of all other words.
    """

    index: dict[str, int]
    lists: dict[str, str]
    other: str


class Sentence(NamedTuple):
    """A caption as input of the published text encoder.

    Attributes:
        words: (22, C) float32 vectors, start and end included, padded with the vector of "unk".
        pos_onehot: (22, 15) float32.
        length: number of valid words, including start and end.
        tokens: the 22 "word/POS" tokens joined by "_".
    """

    words: np.ndarray
    pos_onehot: np.ndarray
    length: int
    tokens: str


@lru_cache(maxsize=1)
def word_classes() -> WordClasses:
    """The classes of the packaged table."""
    text = (resources.files("hmr4d.evaluators") / "resources" / "word_classes.yaml").read_text("utf-8")
    table = yaml.safe_load(text)
    names = [*table["tags"], *table["lists"], table["other"]]
    lists: dict[str, str] = {}
    for name, words in table["lists"].items():
        for word in words.split():
            lists.setdefault(word, name)
    return WordClasses({name: i for i, name in enumerate(names)}, lists, table["other"])


class WordVectorizer:
    """Looks up GloVe vectors and word classes.

    Args:
        folder: folder with `our_vab_data.npy`, `our_vab_words.pkl` and `our_vab_idx.pkl`.

    Attributes:
        dim: C of a vector.

    Raises:
        FileNotFoundError: files are missing; the message names all.
        ValueError: a file is damaged, or the files do not match.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise FileNotFoundError(
                f"GloVe word vectors not found: {folder} lacks {', '.join(missing)}. "
                f"Run `hmr4d download glove`, or put the three files there."
            )
        try:
            vectors = np.load(folder / FILES[0], allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder / FILES[0]} is damaged ({error}). Download it again.") from error
        words, rows = (load_arrays_pickle(folder / name) for name in FILES[1:])
        self._vectors = np.asarray(vectors, dtype=np.float32)
        self._rows = _rows_of(folder, self._vectors, words, rows)
        self.dim = self._vectors.shape[1]

    def __contains__(self, word: str) -> bool:
        return word in self._rows

    def lookup(self, token: str) -> tuple[np.ndarray, int]:
        """Vector (C,) and class of a "word/POS" token; unknown words share one vector and the class OTHER.

        Raises:
            ValueError: the token has another format.
        """
        word, slash, tag = token.partition("/")
        if not slash or "/" in tag:
            raise ValueError(f"Token '{token}' does not have the form word/POS; give tokens such as 'walk/VERB'.")
        classes = word_classes()
        if word not in self._rows:
            return self._vectors[self._rows[UNKNOWN]], classes.index[classes.other]
        name = classes.lists.get(word, tag)
        return self._vectors[self._rows[word]], classes.index.get(name, classes.index[classes.other])

    def sentence(self, tokens: Sequence[str]) -> Sentence:
        """Vectors and classes of a caption's "word/POS" tokens, at most 20 of them."""
        kept = [f"{START}/OTHER", *tokens[:MAX_WORDS], f"{END}/OTHER"]
        padded = kept + [f"{UNKNOWN}/OTHER"] * (SENTENCE_LENGTH - len(kept))
        looked_up = [self.lookup(token) for token in padded]
        words = np.stack([vector for vector, _ in looked_up])
        pos_onehot = np.eye(len(word_classes().index), dtype=np.float32)[[place for _, place in looked_up]]
        return Sentence(words, pos_onehot, len(kept), "_".join(padded))


def _rows_of(folder: Path, vectors: np.ndarray, words: object, rows: object) -> dict[str, int]:
    """Word -> row of its vector. Raises ValueError if the three files are inconsistent."""
    wrong = None
    if vectors.ndim != 2:
        wrong = f"{FILES[0]} is {vectors.shape}, expected (words, dimensions)"
    elif not isinstance(words, list) or not isinstance(rows, dict):
        wrong = (
            f"{FILES[1]} and {FILES[2]} hold a {type(words).__name__} and a {type(rows).__name__}, not list and dict"
        )
    elif absent := [word for word in (START, END, UNKNOWN) if word not in rows or word not in words]:
        wrong = f"the words {', '.join(absent)} are missing"
    elif bad := [word for word in words if not 0 <= rows.get(word, -1) < len(vectors)]:
        wrong = f"'{bad[0]}' and {len(bad) - 1} more of its words have no row among {len(vectors)} vectors"
    if wrong or not isinstance(words, list) or not isinstance(rows, dict):
        raise ValueError(f"The word vectors in {folder} do not match: {wrong}. Download all three files again.")
    return {word: int(rows[word]) for word in words}
