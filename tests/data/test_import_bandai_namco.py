"""Bandai-Namco importer on tiny files of the same layout."""

import io
import json
import lzma
import tarfile

import numpy as np
import pytest

from hmr4d.data.captions import caption_pool, content_names, content_sentences
from hmr4d.data.importers.bandai_namco import (
    ABOUT_FACE_CLIPS,
    DEFAULT_CAPTIONS_PER_CELL,
    HELD_OUT_POOL,
    RELABELLED_CONTENT,
    clip_captions,
    import_bandai_namco,
    parse_clip_name,
    published_splits,
    split_of,
)
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import ClipRecord
from hmr4d.motion_files.bvh import BvhError

WALK = "dataset-2_walk_normal_901"
WAVE = "dataset-2_wave-left-hand_active_902"
SHORT = "dataset-1_run_normal_903"
RELABELLED = next(iter(RELABELLED_CONTENT))
ABOUT_FACE = sorted(ABOUT_FACE_CLIPS)[0]
LENGTHS = {WALK: 60, WAVE: 45, SHORT: 20, RELABELLED: 61, ABOUT_FACE: 60}


def files(bandai_bvh):
    for seed, (name, frames) in enumerate(LENGTHS.items()):
        folder = f"dataset/Bandai-Namco-Research-Motiondataset-{name[8]}/data"
        yield f"{folder}/{name}.bvh", bandai_bvh(frames, seed=seed)
        yield f"{folder}/{name}.json", json.dumps({"content": 1, "style": 2}).encode()


@pytest.fixture
def folder(tmp_path, bandai_bvh):
    for name, content in files(bandai_bvh):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "raw"


@pytest.fixture
def archive(tmp_path, bandai_bvh):
    path = tmp_path / "raw.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        for name, content in files(bandai_bvh):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_folder_and_archive_give_the_same_store(folder, archive, tmp_path):
    import_bandai_namco(folder, tmp_path / "a", jobs=1, captions_per_cell=4)
    import_bandai_namco(archive, tmp_path / "b", jobs=2, captions_per_cell=4)
    for name in ("joints.npy", "clips.json", "captions.json", "store.json", "NOTICE.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_labels_captions_and_drops(folder, tmp_path):
    summary = import_bandai_namco(folder, tmp_path / "out", jobs=1, captions_per_cell=6)
    store = MotionStore.open(tmp_path / "out")
    assert dict(summary.dropped) == {SHORT: "shorter than 24 frames", ABOUT_FACE: "holds part of an about-face"}
    assert sorted(store.names) == sorted([WALK, WAVE, RELABELLED])
    labels = dict(zip(store.names, zip(store.labels["content"], store.labels["style"], strict=True), strict=True))
    assert labels[RELABELLED] == ("walk-turn-right", "masculine")
    for index, name in enumerate(store.names):
        texts = [store.caption_texts[c.caption] for c in store.clip_captions(index)]
        sentences = content_sentences(store.labels["content"][index])
        in_train = store.splits[index] == "train"
        grammar = texts[:6] if in_train else texts
        assert len(grammar) == (6 if in_train else 3)
        assert texts[len(grammar) :] == (list(sentences) if in_train else [])
        words = " ".join(grammar).split()
        if name == RELABELLED:
            assert "right" in words and "left" not in words
        if name == WAVE:
            assert "left" in words and "right" not in words
    mirror = store.caption_mirror
    assert all(mirror[mirror[i]] == i for i in range(len(mirror)))
    assert "CC BY-NC 4.0" in (tmp_path / "out" / "NOTICE.md").read_text()
    assert len(store.joints3d(store.names.index(WALK))) == 40


def test_a_quarter_of_the_captions_in_training_come_from_the_grammar():
    """The pool is drawn from uniformly, so its shares are those of training."""
    for content in content_names():
        clip = ClipRecord("x", "train", {"content": content, "style": "happy"}, 60)
        texts = [caption.text for caption in clip_captions(clip, DEFAULT_CAPTIONS_PER_CELL, 0)]
        assert len(set(texts)) == len(texts)
        share = sum(text in content_sentences(content) for text in texts) / len(texts)
        assert 0.69 < share < 0.8, content


def test_captions_outside_training_depend_neither_on_the_sentences_nor_on_a_larger_pool():
    clip = ClipRecord("dataset-2_walk_active_004", "test", {"content": "walk", "style": "active"}, 60)
    captions = clip_captions(clip, DEFAULT_CAPTIONS_PER_CELL, 0)
    assert captions == clip_captions(clip, HELD_OUT_POOL, 0)
    assert {caption.text for caption in captions} <= set(caption_pool("walk", "active", HELD_OUT_POOL, 0))
    assert clip_captions(clip, 3, 0) != captions


def test_a_label_without_words_gets_no_caption(caplog):
    clip = ClipRecord("x", "train", {"content": "walk", "style": "wobbly"}, 60)
    assert clip_captions(clip, 4, 0) == []
    assert "no caption words" in caplog.text


def test_options(folder, tmp_path):
    import_bandai_namco(folder, tmp_path / "out", jobs=1, min_frames=1, keep_about_face=True, canonical=True)
    store = MotionStore.open(tmp_path / "out")
    assert len(store) == 5
    np.testing.assert_allclose(store.joints3d(0)[0, 0, [0, 2]], 0.0, atol=1e-6)


def test_interrupted_run_continues(folder, tmp_path):
    broken = next(folder.rglob(f"{WAVE}.bvh"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:900])
    with pytest.raises(BvhError, match=f"{WAVE}.bvh, line "):
        import_bandai_namco(folder, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()
    summary = import_bandai_namco(folder, tmp_path / "skip", jobs=1, skip_bad=True)
    assert summary.dropped[WAVE] == "unreadable file"
    broken.write_bytes(whole)
    assert import_bandai_namco(folder, tmp_path / "out", jobs=1).num_clips == 3


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_cut_archive(archive, tmp_path, keep):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ValueError, match="raw.tar.xz cannot be read as a tar archive"):
        import_bandai_namco(archive, tmp_path / "out", jobs=1)


def test_no_archive_and_no_clip(tmp_path):
    (tmp_path / "text.tar.xz").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as a tar archive"):
        import_bandai_namco(tmp_path / "text.tar.xz", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="Bandai-Namco data not found"):
        import_bandai_namco(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="the source is empty"):
        import_bandai_namco(tmp_path / "empty", tmp_path / "out")
    with lzma.open(tmp_path / "junk.tar.xz", "w") as file:
        file.write(b"x" * 5000)
    with pytest.raises(ValueError, match="cannot be read as a tar archive"):
        import_bandai_namco(tmp_path / "junk.tar.xz", tmp_path / "out")


def test_names_and_splits():
    assert parse_clip_name("dataset-1_walk-turn-left_not-confident_012") == (
        "dataset-1",
        "walk-turn-left",
        "not-confident",
        "012",
    )
    assert parse_clip_name("dataset-3_walk_sad_001") is None
    assert parse_clip_name("walk") is None
    splits = published_splits()
    counts = {s: sum(v == s for v in splits.values()) for s in ("train", "val", "test")}
    assert counts == {"train": 2235, "val": 129, "test": 268}
    assert all(parse_clip_name(name) for name in splits)
    assert all(splits[name] == "train" for name in ABOUT_FACE_CLIPS | RELABELLED_CONTENT.keys())
    shares = [split_of(f"dataset-2_walk_normal_{i}") for i in range(2000)]
    assert 0.80 < shares.count("train") / 2000 < 0.90
