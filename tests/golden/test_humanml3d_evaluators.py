"""Evaluator networks, word vectors, training losses and evaluation clips against golden vectors."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.evaluators.evaluator import Evaluator, load_published_evaluator
from hmr4d.evaluators.hml263_clips import PADDED_ROWS, EvaluationClips
from hmr4d.evaluators.losses import decomposition_loss, length_loss, matching_loss, published_shift
from hmr4d.evaluators.networks import LengthEstimator, MovementDecoder
from hmr4d.evaluators.published import AUTOENCODER_FILE, LENGTH_FILE, MATCHING_FILE, load_published
from hmr4d.evaluators.text_input import WordBatch
from hmr4d.evaluators.word_vectorizer import WordVectorizer, word_classes
from hmr4d.representation.hml263 import NUM_FEATURES, Hml263Statistics
from tests.golden.vectors import arrays, assert_close, golden_file, groups

NETWORK_TOLERANCE = 2e-4  # from the README of the vectors
SEEDED = ("text_encoder", "movement_encoder", "motion_encoder", "estimator", "movement_dec")  # order of the seeds


def read(name: str) -> dict[str, Tensor]:
    """Arrays of humanml3d/<name>; half precision is widened."""
    with np.load(golden_file(f"humanml3d/{name}"), allow_pickle=False) as data:
        found = {key: np.array(data[key]) for key in data.files}
    return {k: torch.from_numpy(v.astype(np.float32) if v.dtype == np.float16 else v) for k, v in found.items()}


def read_json(name: str) -> Any:
    return json.loads(golden_file(f"humanml3d/{name}").read_text(encoding="utf-8"))


def seeded_weights(shapes: dict[str, list[int]], seed: int) -> dict[str, Tensor]:
    """Weights by the recipe of the vectors' README."""
    random_state = np.random.RandomState(seed)
    weights = {}
    for key in sorted(shapes):
        value = random_state.standard_normal(int(np.prod(shapes[key]))).reshape(shapes[key])
        if value.ndim >= 2:
            value = value / np.sqrt(np.prod(value.shape[1:]))
        else:
            value = 0.1 * value + (1 if key.endswith(".weight") else 0)
        weights[key] = torch.from_numpy(value.astype(np.float32))
    return weights


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return read("evaluator_seeded.npz")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, golden: dict[str, Tensor]) -> Path:
    """A folder of published files with seeded weights, beside what training left in them."""
    shapes = read_json("state_dict_shapes.json")
    nets = {n: seeded_weights(shapes[n], int(s)) for n, s in zip(SEEDED, golden["seeds"], strict=True)}
    probes = (
        nets["text_encoder"]["gru.weight_ih_l0"][0, 0],
        nets["text_encoder"]["hidden"][0, 0, 0],
        nets["movement_encoder"]["main.0.weight"][0, 0, 0],
        nets["motion_encoder"]["output_net.1.weight"][0],
        nets["estimator"]["output.9.bias"][-1],
    )
    assert_close("seeded weights", torch.stack(probes), golden["weight_probe"], 1e-7)
    optimizer = {"opt_text_encoder": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 1e-4}]}}
    files = {
        MATCHING_FILE: {n: nets[n] for n in SEEDED[:3]} | optimizer | {"epoch": 5, "iter": 7},
        LENGTH_FILE: {"estimator": nets["estimator"], "epoch": 5, "niter": 7},
        AUTOENCODER_FILE: {"movement_enc": nets["movement_encoder"], "movement_dec": nets["movement_dec"], "ep": 1},
    }
    folder = tmp_path_factory.mktemp("t2m")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True)
        torch.save(content, folder / name)
    return folder


@pytest.fixture(scope="module")
def evaluator(published: Path) -> Evaluator:
    return load_published_evaluator(published, None)


def words_of(golden: dict[str, Tensor]) -> WordBatch:
    return WordBatch(golden["word_embs"], golden["cap_lens"], golden["pos_onehot"])


def test_embeddings(evaluator: Evaluator, golden: dict[str, Tensor]) -> None:
    text = evaluator.embed_words(words_of(golden))
    motion = evaluator.embed_motions(golden["motions"], golden["m_lens"])
    order = golden["align_idx"]
    assert_close("text embeddings", text, golden["text_unaligned"], NETWORK_TOLERANCE)
    assert_close("text embeddings, by length", text[order], golden["co_text"], NETWORK_TOLERANCE)
    assert_close("motion embeddings, by length", motion[order], golden["co_motion"], NETWORK_TOLERANCE)
    assert_close("motion embeddings alone", motion[order], golden["motion_only"], NETWORK_TOLERANCE)


def test_order_of_the_input_is_kept(evaluator: Evaluator, golden: dict[str, Tensor]) -> None:
    order = golden["align_idx"]
    motion = evaluator.embed_motions(golden["motions"][order], golden["m_lens"][order])
    assert_close("motion embeddings, sorted input", motion, golden["co_motion"], NETWORK_TOLERANCE)
    words = WordBatch(*(x[order] for x in words_of(golden) if x is not None))
    assert_close("text embeddings, sorted input", evaluator.embed_words(words), golden["co_text"], NETWORK_TOLERANCE)


def test_movement_tokens(evaluator: Evaluator, golden: dict[str, Tensor]) -> None:
    for clip in (1, 2):
        tokens = evaluator.movement_encoder(golden["motions"][clip : clip + 1, :, : NUM_FEATURES - 4])
        assert_close(f"movement tokens {clip}", tokens[0], golden[f"movements_clip{clip}"], NETWORK_TOLERANCE)


def test_padding_reaches_the_last_token(evaluator: Evaluator, golden: dict[str, Tensor]) -> None:
    longest = int(golden["m_lens"].argmax())
    rows = golden["motions"][longest][None]
    full = torch.tensor([PADDED_ROWS])
    assert int(golden["m_lens"][longest]) == PADDED_ROWS
    assert_close("196 rows", evaluator.embed_motions(rows, full), golden["emb196"], NETWORK_TOLERANCE)
    padded = torch.nn.functional.pad(rows, (0, 0, 0, 4))
    got = evaluator.embed_motions(padded, full, padded_rows=200)
    assert_close("196 rows in 200", got, golden["emb196_padded200"], NETWORK_TOLERANCE)
    clip = int((golden["m_lens"] == 120).nonzero()[0])
    rows, count = golden["motions"][clip][None], torch.tensor([120])
    assert_close("120 rows in 196", evaluator.embed_motions(rows, count), golden["emb120_pad196"], NETWORK_TOLERANCE)
    got = evaluator.embed_motions(rows[:, :120], count, padded_rows=120)
    assert_close("120 rows, not padded", got, golden["emb120_trim"], NETWORK_TOLERANCE)


@torch.no_grad()
def test_length_estimator_and_decoder(published: Path, evaluator: Evaluator, golden: dict[str, Tensor]) -> None:
    estimator, decoder = LengthEstimator(), MovementDecoder()
    load_published(published / LENGTH_FILE, {"estimator": estimator})
    load_published(published / AUTOENCODER_FILE, {"movement_dec": decoder})
    logits = estimator(*words_of(golden))
    assert_close("length logits", logits, golden["length_logits"], NETWORK_TOLERANCE)
    movements = evaluator.movement_encoder(golden["motions"][:1, :, : NUM_FEATURES - 4])
    assert_close("decoded rows", decoder(movements)[0], golden["decoder_out_clip0"], NETWORK_TOLERANCE)
    losses = read("training_losses.npz")
    got = length_loss(golden["length_logits"], losses["len_labels"] * 4)
    assert_close("length loss", got, losses["len_ce"])
    window = losses["decomp_window"]
    movements = evaluator.movement_encoder(window[..., : NUM_FEATURES - 4])
    terms = decomposition_loss(decoder(movements), window, movements)
    assert_close("decomposition loss", torch.stack(terms), losses["decomp_losses"])


def test_matching_loss_and_its_shift() -> None:
    losses = read("training_losses.npz")
    for i, seed in enumerate(losses["np_seeds"].tolist()):
        text = losses["match_text"].clone().requires_grad_()
        shift = published_shift(len(text), np.random.RandomState(seed))
        terms = matching_loss(text, losses["match_motion"], shift=shift)
        terms.total.backward()
        assert shift == losses[f"match_{i}"][0]
        assert_close("matching loss", torch.stack(terms).detach(), losses[f"match_{i}"][1:], 1e-5)
        wanted = losses[f"match_grad_text_{i}"]
        assert text.grad is not None
        assert_close("gradient of the matching loss", text.grad[: len(wanted)], wanted, 1e-6)


def toy_vocabulary(folder: Path, words: list[str]) -> WordVectorizer:
    """Word vectors that name their row: the vector of row i is (i, i, i)."""
    np.save(folder / "our_vab_data.npy", np.repeat(np.arange(len(words), dtype=np.float32)[:, None], 3, axis=1))
    (folder / "our_vab_words.pkl").write_bytes(pickle.dumps(words))
    (folder / "our_vab_idx.pkl").write_bytes(pickle.dumps({word: i for i, word in enumerate(words)}))
    return WordVectorizer(folder)


def test_words(tmp_path: Path) -> None:
    golden = read_json("word_vectorizer.json")
    vectorizer = toy_vocabulary(tmp_path, golden["words"])
    found = [vectorizer.lookup(token) for token in golden["tokens"]]
    assert [int(vector[0]) for vector, _ in found] == golden["expected_vector_row"]
    assert [place for _, place in found] == golden["expected_pos_class"]
    assert len(word_classes().index) == golden["dim"]


def test_sentences_of_the_published_files() -> None:
    vectorizer = WordVectorizer(golden_file("motion2to3/fake_glove"))
    golden = arrays("dataset_mv_test.npz")
    told = [g for g in groups(golden) if f"{g}/word_embs" in golden]
    assert told
    for group in told:
        tokens, length = str(golden[f"{group}/tokens"]), int(golden[f"{group}/text_len"])
        sentence = vectorizer.sentence(tokens.split("_")[1 : length - 1])
        assert (sentence.tokens, sentence.length) == (tokens, length)
        assert_close("word vectors", sentence.words, golden[f"{group}/word_embs"], 1e-6)
        assert_close("word classes", sentence.pos_onehot, golden[f"{group}/pos_onehot"], 0)


def write_clips(root: Path, golden: dict[str, Any]) -> None:
    """The toy set: column 0 counts rows, column 1 is the number in the name."""
    (root / "texts").mkdir()
    (root / "new_joint_vecs").mkdir()
    for name, clip in golden["specs"].items():
        rows = np.zeros((clip["length"], NUM_FEATURES), np.float32)
        rows[:, 0], rows[:, 1] = np.arange(clip["length"]), int(name.lstrip("M"))
        np.save(root / "new_joint_vecs" / f"{name}.npy", rows)
        (root / "texts" / f"{name}.txt").write_text("\n".join(clip["texts"]) + "\n")
    (root / "test.txt").write_text("\n".join(golden["split_order"]) + "\n")


def test_evaluation_clips(tmp_path: Path, plain_statistics: Hml263Statistics) -> None:
    golden = read_json("dataset_v2.json")
    write_clips(tmp_path, golden)
    (tmp_path / "words").mkdir()
    spoken = {token.split("/")[0] for item in golden["items"] for token in item["tokens"].split("_")}
    vectorizer = toy_vocabulary(tmp_path / "words", sorted(spoken))
    clips = EvaluationClips(
        tmp_path,
        "test",
        statistics=plain_statistics,
        choices=random.Random(golden["seed"]),
        crops=np.random.RandomState(golden["seed"]),
    )
    assert [entry.name for entry in clips.entries] == golden["name_list"]
    assert [entry.num_rows for entry in clips.entries] == golden["length_arr"]
    for expected in golden["items"]:
        item = clips[expected["index"]]
        rows, count = item["features"], item["num_rows"]
        assert (item["text"], count, len(rows)) == (expected["caption"], expected["m_length"], expected["rows"])
        got = (rows[0, 0].item(), rows[0, 1].item(), rows[count - 1, 0].item(), rows[count:].abs().sum().item())
        assert got == (expected["start"], expected["clip"], expected["last"], expected["pad_sum"])
        sentence = vectorizer.sentence(item["tokens"].split())
        assert sentence.length == expected["sent_len"]
        assert (sentence.tokens, sentence.pos_onehot.argmax(1).tolist()) == (expected["tokens"], expected["pos_idx"])


@pytest.fixture
def plain_statistics() -> Hml263Statistics:
    """Statistics that change nothing."""
    mean, std = np.zeros(NUM_FEATURES, np.float32), np.ones(NUM_FEATURES, np.float32)
    return Hml263Statistics(name="unit", mean=mean, std=std)
