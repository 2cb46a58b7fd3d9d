"""Stores joined into one: names, bodies, licences, and pairs of pieces with both sentences."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.retarget import bone_lengths, smpl_mean_bone_lengths
from hmr4d.data.importers.joined import append_piece, join_stores, pair_captions
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.motion.procedural import synthetic_joints

FPS = 20.0


def test_clips_keep_split_captions_and_length(tmp_path: Path) -> None:
    import_synthetic(tmp_path / "one", num_clips=24, seed=1)
    one = MotionStore.open(tmp_path / "one")
    summary = join_stores([tmp_path / "one"], tmp_path / "all", retarget="none", pairs=4)
    both = MotionStore.open(summary.path)
    for clip, name in enumerate(one.names):
        same = both.index_of[f"{one.name}/{name}"]
        assert both.splits[same] == one.splits[clip]
        assert np.allclose(both.joints3d(same), one.joints3d(clip), atol=1e-6)
        texts = {one.caption_texts[c.caption] for c in one.clip_captions(clip)}
        assert texts == {both.caption_texts[c.caption] for c in both.clip_captions(same)}
    pairs = [clip for clip, name in enumerate(both.names) if name.startswith("pair/")]
    assert pairs and all(both.splits[clip] == "train" for clip in pairs)
    assert all(both.labels["content"][clip] == "" for clip in pairs)


def test_the_clips_of_one_store_are_a_split(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        info = import_synthetic(tmp_path / name, num_clips=24, seed=seed).path / "store.json"
        info.write_text(json.dumps({**json.loads(info.read_text()), "name": name}))
    both = MotionStore.open(join_stores([tmp_path / "one", tmp_path / "two"], tmp_path / "all", pairs=4).path)
    for split in ("train", "test"):
        found = [both.names[clip] for name in ("one", "two") for clip in both.indices(f"{split}_{name}")]
        assert sorted(found) == sorted(both.names[i] for i in both.indices(split) if both.labels["content"][i])
        assert all(both.names[clip].startswith("two/") for clip in both.indices(f"{split}_two"))


def test_bodies_get_the_same_bones(tmp_path: Path) -> None:
    import_synthetic(tmp_path / "one", num_clips=4, seed=1)
    both = MotionStore.open(join_stores([tmp_path / "one"], tmp_path / "all").path)
    for clip in range(len(both)):
        assert np.allclose(bone_lengths(both.joints3d(clip)), smpl_mean_bone_lengths(), atol=1e-4)


def test_the_second_piece_begins_where_the_first_ends() -> None:
    first = synthetic_joints("walk-turn-left", 50, np.random.default_rng(0))
    second = synthetic_joints("walk", 40, np.random.default_rng(1))
    both = torch.from_numpy(append_piece(first, second, FPS))
    assert len(both) == 89
    fastest = max(float(torch.diff(torch.from_numpy(x), dim=0).norm(dim=-1).max()) for x in (first, second))
    assert torch.diff(both, dim=0).norm(dim=-1).max() < 1.6 * fastest
    heading = both[-1, 0] - both[55, 0]
    before = both[49, 0] - both[45, 0]
    cosine = torch.nn.functional.cosine_similarity(heading[[0, 2]], before[[0, 2]], dim=0)
    assert cosine > 0.95


def test_the_second_sentence_loses_its_subject() -> None:
    first, second = [Caption("a person bows.")], [Caption("a man waves with the left hand")]
    texts = {c.text for c in pair_captions(first, second, random.Random(0))}
    assert texts and all(t.startswith("a person bows") and t.endswith("waves with the left hand") for t in texts)
    assert not any("a man" in t for t in texts)


def test_captions_without_a_subject_are_not_joined() -> None:
    assert pair_captions([Caption("boxing")], [Caption("a man waves")], random.Random(0)) == []


def test_unknown_retarget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="retarget is 'giant'"):
        join_stores([], tmp_path / "x", retarget="giant")


def test_the_conventions_of_all_stores_are_kept_that_of_most_motion_first(tmp_path: Path) -> None:
    frames = {"cmu": 30, "bandai_namco": 50, None: 10}
    for name, length in frames.items():
        writer = StoreWriter(
            tmp_path / str(name),
            name=str(name),
            source="test",
            licence="CC0",
            notice="-",
            settings={},
            joint_convention=name,
        )
        writer.add("a", synthetic_joints("walk", length, np.random.default_rng(0)), split="train")
        writer.finish(annotate=lambda record: [Caption("a person walks", ("a/DET",), 0.0, 0.0)])
    join_stores([tmp_path / str(name) for name in frames], tmp_path / "all")
    assert MotionStore.open(tmp_path / "all").info["joint_convention"] == "bandai_namco+cmu+smpl_mean"
    join_stores([tmp_path / str(name) for name in frames], tmp_path / "own", retarget="none")
    assert MotionStore.open(tmp_path / "own").info["joint_convention"] == "bandai_namco+cmu"
