"""The store: round trip, resume, errors, splits, captions, text cache."""

import json

import numpy as np
import pytest

from hmr4d.data.store import MotionStore, StoreError, write_text_cache
from hmr4d.data.store_writer import Caption, StoreWriter


def make_writer(out, **changes):
    options = {"name": "toy", "source": "test", "licence": "none", "notice": "# Toy", "settings": {"a": 1}} | changes
    return StoreWriter(out, **options)


def clip(length, seed=0):
    return np.random.default_rng(seed).normal(size=(length, 22, 3)).astype(np.float32)


def swap(text):
    return " ".join({"left": "right", "right": "left"}.get(w, w) for w in text.split())


def tokenize(text):
    return [f"{w}/X" for w in text.split()]


def captions_of(record):
    texts = {"b": ["turn left", "go"], "a": ["turn right"], "c": ["go", "wave left"]}.get(record.name, [])
    return [Caption(t, tuple(tokenize(t)), 0.5 * i, 1.0 * i) for i, t in enumerate(texts)]


def build(out, **finish):
    writer = make_writer(out, chunk_clips=2)
    for i, (name, split) in enumerate((("b", "train"), ("a", "val"), ("c", "train"))):
        writer.add(name, clip(10 + i, i), split=split, labels={"content": name * 2})
    writer.drop("d", "too short")
    return writer.finish(**({"annotate": captions_of, "mirror_text": swap, "tokenize": tokenize} | finish))


def test_round_trip(tmp_path):
    summary = build(tmp_path / "toy")
    store = MotionStore.open(tmp_path / "toy")
    assert (summary.num_clips, summary.num_frames, len(summary.dropped)) == (3, 33, 1)
    assert (store.name, store.fps, store.skeleton.name, len(store)) == ("toy", 20.0, "smpl22", 3)
    assert store.names == ["a", "b", "c"]
    assert store.labels == {"content": ["aa", "bb", "cc"]}
    for index, (length, seed) in enumerate(((11, 1), (10, 0), (12, 2))):
        np.testing.assert_array_equal(store.joints3d(index), clip(length, seed))
    assert isinstance(store.joints3d(0), np.memmap)
    assert not store.joints3d(0).flags.writeable
    assert (tmp_path / "toy" / "NOTICE.md").read_text() == "# Toy\n"
    assert store.info["dropped"] == {"d": "too short"}
    assert not (tmp_path / "toy.partial").exists()


def test_captions_and_mirrors(tmp_path):
    build(tmp_path / "toy")
    store = MotionStore.open(tmp_path / "toy")
    table = store.caption_texts
    assert [table[c.caption] for c in store.clip_captions(1)] == ["turn left", "go"]
    assert store.clip_captions(1)[1] == (table.index("go"), 0.5, 1.0)
    assert len(set(table)) == len(table)
    for text, tokens, mirror in zip(table, store.caption_tokens, store.caption_mirror, strict=True):
        assert table[mirror] == swap(text)
        assert tokens == tokenize(text)


def test_mirrors_are_only_linked_without_a_tokenizer(tmp_path):
    build(tmp_path / "toy", tokenize=None)
    store = MotionStore.open(tmp_path / "toy")
    mirror = dict(zip(store.caption_texts, store.caption_mirror, strict=True))
    assert store.caption_texts[mirror["turn left"]] == "turn right"
    assert mirror["wave left"] == -1


def test_splits_by_column_and_by_list(tmp_path):
    build(tmp_path / "toy", split_lists={"mix": ["c", "missing", "a"]})
    store = MotionStore.open(tmp_path / "toy")
    assert store.indices().tolist() == [0, 1, 2]
    assert store.indices("train").tolist() == [1, 2]
    assert store.indices("mix").tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"no split 'dev'; it has \['mix', 'train', 'val'\]"):
        store.indices("dev")


def test_order_is_the_given_one(tmp_path):
    build(tmp_path / "toy", order=["c", "b", "a"])
    store = MotionStore.open(tmp_path / "toy")
    assert store.names == ["c", "b", "a"]
    np.testing.assert_array_equal(store.joints3d(0), clip(12, 2))


def test_resumes_after_an_interruption(tmp_path):
    writer = make_writer(tmp_path / "toy", chunk_clips=2)
    for i, name in enumerate("bac"):
        writer.add(name, clip(10 + i, i))
    del writer  # killed: "b" and "a" are on disk, "c" is lost
    again = make_writer(tmp_path / "toy", chunk_clips=2)
    assert [again.is_done(n) for n in "bac"] == [True, True, False]
    again.add("c", clip(12, 2))
    again.finish(annotate=captions_of)
    np.testing.assert_array_equal(MotionStore.open(tmp_path / "toy").joints3d(2), clip(12, 2))


def test_other_settings_start_afresh(tmp_path):
    make_writer(tmp_path / "toy", chunk_clips=1).add("a", clip(5))
    assert not make_writer(tmp_path / "toy", settings={"a": 2}).is_done("a")


def test_another_source_starts_afresh(tmp_path):
    make_writer(tmp_path / "toy", chunk_clips=1, origin=[tmp_path / "one"]).add("a", clip(5))
    assert make_writer(tmp_path / "toy", origin=[tmp_path / "x" / ".." / "one"]).is_done("a")
    again = make_writer(tmp_path / "toy", origin=[tmp_path / "two"])
    assert not again.is_done("a")
    again.add("b", clip(5))
    again.finish(annotate=captions_of)
    store = MotionStore.open(tmp_path / "toy")
    assert store.names == ["b"]
    assert all(str(tmp_path) not in path.read_text("utf-8") for path in store.path.glob("*.json"))


def test_writer_checks_clips(tmp_path):
    writer = make_writer(tmp_path / "toy")
    bad = clip(8)
    bad[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="Clip 'x' has a coordinate that is not finite in frame 3"):
        writer.add("x", bad)
    with pytest.raises(ValueError, match=r"Clip 'x' has shape \(8, 24, 3\).*'smpl22' needs"):
        writer.add("x", np.zeros((8, 24, 3)))
    with pytest.raises(ValueError, match="No clip to write"):
        writer.finish(annotate=captions_of)
    writer.add("x", clip(4))
    with pytest.raises(ValueError, match="given twice"):
        writer.add("x", clip(4))


def test_finished_store_is_not_overwritten_by_accident(tmp_path):
    build(tmp_path / "toy")
    with pytest.raises(FileExistsError, match="--overwrite"):
        make_writer(tmp_path / "toy")
    writer = make_writer(tmp_path / "toy", overwrite=True)
    writer.add("only", clip(4))
    assert len(MotionStore.open(tmp_path / "toy")) == 3  # the old one stays until the new one is whole
    writer.finish(annotate=captions_of)
    assert MotionStore.open(tmp_path / "toy").names == ["only"]


def test_missing_and_damaged_stores(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist. Build it with: hmr4d prepare"):
        MotionStore.open(tmp_path / "nowhere")
    build(tmp_path / "toy")
    joints = tmp_path / "toy" / "joints.npy"
    joints.write_bytes(joints.read_bytes()[:-100])
    with pytest.raises(StoreError, match="joints.npy"):
        MotionStore.open(tmp_path / "toy")
    joints.unlink()
    (tmp_path / "toy" / "clips.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks joints.npy, clips.json"):
        MotionStore.open(tmp_path / "toy")


def test_other_versions_and_broken_json(tmp_path):
    build(tmp_path / "toy")
    info = tmp_path / "toy" / "store.json"
    content = json.loads(info.read_text())
    info.write_text(json.dumps(content | {"version": 99}))
    with pytest.raises(StoreError, match="version 99; expected"):
        MotionStore.open(tmp_path / "toy")
    info.write_text("{")
    with pytest.raises(StoreError, match="store.json"):
        MotionStore.open(tmp_path / "toy")


def encode(texts):
    states = [np.full((len(t.split()) + 1, 4), len(t), dtype=np.float32) for t in texts]
    return states, np.stack([s.mean(0) for s in states])


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_text_cache(tmp_path, batch_size):
    build(tmp_path / "toy")
    assert MotionStore.open(tmp_path / "toy").text_cache("toy") is None
    write_text_cache(tmp_path / "toy", "toy", encode, batch_size=batch_size)
    store = MotionStore.open(tmp_path / "toy")
    cache = store.text_cache("toy")
    assert (cache.dim, len(cache)) == (4, len(store.caption_texts))
    np.testing.assert_array_equal(cache.tokens(cache.null_caption), encode([""])[0][0])
    for i, text in enumerate(store.caption_texts):
        assert cache.tokens(i).dtype == np.float16
        np.testing.assert_array_equal(cache.tokens(i), encode([text])[0][0])
        np.testing.assert_array_equal(cache.pooled(i), encode([text])[1][0])


def test_text_cache_of_other_captions_is_refused(tmp_path):
    build(tmp_path / "toy")
    write_text_cache(tmp_path / "toy", "toy", encode)
    captions = tmp_path / "toy" / "captions.json"
    captions.write_text(captions.read_text().replace("wave", "waves"))
    with pytest.raises(StoreError, match="made for other captions"):
        MotionStore.open(tmp_path / "toy").text_cache("toy")
