"""Word vectors: files that fit, files that do not, words and classes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.evaluators.word_vectorizer import SENTENCE_LENGTH, WordVectorizer, word_classes

WORDS = ["sos", "eos", "unk", "walk", "left", "a"]


def write_glove(folder: Path, **changes: Any) -> Path:
    """A folder of word vectors; the vector of word i is (i, i)."""
    rows = {word: i for i, word in enumerate(WORDS)}
    parts = {"data": np.arange(len(WORDS), dtype=np.float32)[:, None].repeat(2, 1), "words": WORDS, "idx": rows}
    parts |= changes
    np.save(folder / "our_vab_data.npy", parts["data"])
    for name in ("words", "idx"):
        (folder / f"our_vab_{name}.pkl").write_bytes(pickle.dumps(parts[name]))
    return folder


def test_classes() -> None:
    index = word_classes().index
    assert list(index) == [
        "VERB",
        "NOUN",
        "DET",
        "ADP",
        "NUM",
        "AUX",
        "PRON",
        "ADJ",
        "ADV",
        "Loc_VIP",
        "Body_VIP",
        "Obj_VIP",
        "Act_VIP",
        "Desc_VIP",
        "OTHER",
    ]
    assert {word_classes().lists[word] for word in ("left", "thigh", "car", "climb", "sadly")} == set(list(index)[9:14])


def test_lookup(tmp_path: Path) -> None:
    vectorizer = WordVectorizer(write_glove(tmp_path))
    found = {token: vectorizer.lookup(token) for token in ("walk/NOUN", "left/ADJ", "a/DET", "a/XYZ", "stair/NOUN")}
    index = word_classes().index
    assert {token: int(vector[0]) for token, (vector, _) in found.items()} == {
        "walk/NOUN": 3,
        "left/ADJ": 4,
        "a/DET": 5,
        "a/XYZ": 5,
        "stair/NOUN": 2,
    }
    # A word that is not in the vocabulary is OTHER even if it stands in a list.
    wanted = ["Act_VIP", "Loc_VIP", "DET", "OTHER", "OTHER"]
    assert [place for _, place in found.values()] == [index[name] for name in wanted]
    for token in ("walk", "walk/to/VERB"):
        with pytest.raises(ValueError, match="not have the form word/POS"):
            vectorizer.lookup(token)


@pytest.mark.parametrize("num_words", [0, 1, 19, 20, 25])
def test_sentences(tmp_path: Path, num_words: int) -> None:
    sentence = WordVectorizer(write_glove(tmp_path)).sentence(["walk/VERB"] * num_words)
    kept = min(num_words, 20)
    assert sentence.words.shape == (SENTENCE_LENGTH, 2) and sentence.pos_onehot.shape == (SENTENCE_LENGTH, 15)
    assert sentence.length == kept + 2
    padding = SENTENCE_LENGTH - kept - 2
    assert sentence.words[:, 0].astype(int).tolist() == [0] + [3] * kept + [1] + [2] * padding
    assert sentence.tokens == "_".join(["sos/OTHER"] + ["walk/VERB"] * kept + ["eos/OTHER"] + ["unk/OTHER"] * padding)
    assert (sentence.pos_onehot.sum(1) == 1).all()


def test_all_missing_files_are_named_at_once_with_the_way_to_get_them(tmp_path: Path) -> None:
    write_glove(tmp_path)
    (tmp_path / "our_vab_data.npy").unlink()
    (tmp_path / "our_vab_idx.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"our_vab_data.npy, our_vab_idx.pkl.*hmr4d download glove") as error:
        WordVectorizer(tmp_path)
    assert "our_vab_words.pkl" not in str(error.value)


class Harmful:
    """Runs something when an ordinary unpickler meets it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("harm",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": Harmful()}, "our_vab_words.pkl cannot be read safely"),
        ({"words": {"a": 1}}, "hold a dict and a dict, not list and dict"),
        ({"words": ["walk"]}, "the words sos, eos, unk are missing"),
        ({"data": np.zeros((3, 2))}, "'walk' and 2 more of its words have no row among 3 vectors"),
        ({"data": np.zeros(3)}, r"our_vab_data.npy is \(3,\)"),
        ({"data": np.array([{"a": 1}])}, "our_vab_data.npy is damaged"),
    ],
)
def test_inconsistent_files_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=message):
        WordVectorizer(write_glove(tmp_path, **changes))
    assert "harm" not in capsys.readouterr().out


def test_truncated_files(tmp_path: Path) -> None:
    for name in ("our_vab_data.npy", "our_vab_words.pkl"):
        write_glove(tmp_path)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            WordVectorizer(tmp_path)
