"""Text embeddings are made when they are first needed, and kept."""

import logging

import numpy as np
import pytest

from hmr4d.camera.orbit_rigs import SingleCamera
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datasets import Framing, MotionViews
from hmr4d.data.store import MotionStore
from hmr4d.data.text_embeddings import ensure_text_cache
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from tests.data.tiny_store import write_store


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", {"a": 60, "b": 60})


def no_builder():
    raise AssertionError("the cache is there")


def test_cache_is_made_once_and_says_so(store, caplog):
    with caplog.at_level(logging.INFO):
        cache = ensure_text_cache(store, "hash", lambda: HashTextEncoder(6))
    assert "captions are encoded once" in caplog.text
    assert (store.path / "text_hash" / "meta.json").is_file()
    tokens, pooled = encode_numpy(HashTextEncoder(6), [store.caption_texts[0]])
    np.testing.assert_allclose(cache.pooled(0), pooled[0], rtol=1e-5)
    np.testing.assert_allclose(cache.tokens(0), tokens[0], rtol=2e-3)
    again = ensure_text_cache(str(store.path), "hash", no_builder)
    assert len(again) == len(store.caption_texts)


def test_store_that_cannot_be_written_to_uses_the_cache_folder(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HMR4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("hmr4d.data.store.os.access", lambda path, mode: False)  # tests may run as one who may all
    ensure_text_cache(MotionStore.open(store.path), "hash", lambda: HashTextEncoder(6))
    assert not (store.path / "text_hash").exists()
    (made,) = (tmp_path / "cache" / "stores").iterdir()
    assert made.name.startswith("tiny-") and (made / "text_hash" / "meta.json").is_file()
    ensure_text_cache(MotionStore.open(store.path), "hash", no_builder)


def test_without_a_builder_a_missing_cache_says_how_to_make_it(store):
    with pytest.raises(FileNotFoundError, match="hmr4d prepare text --store .* --text-encoder hash"):
        ensure_text_cache(store, "hash", None)


def test_builder_of_another_encoder_is_refused(store):
    with pytest.raises(ValueError, match="by 'minilm' are requested, but the created encoder is 'hash'"):
        ensure_text_cache(store, "minilm", HashTextEncoder)


def test_training_data_makes_its_embeddings(store):
    views = MotionViews(
        store,
        "train",
        cameras=SingleCamera(),
        framing=Framing(),
        rules=IndexRules(min_seconds=1.0),
        fps=20.0,
        text_encoder="hash",
        text_builder=lambda: HashTextEncoder(6),
    )
    assert views[0]["text_pooled"].shape == (6,)
