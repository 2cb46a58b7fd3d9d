"""Features of a store: what is kept, and when it is made again."""

import json
from pathlib import Path

import numpy as np
import torch

from hmr4d.evaluators.feature_cache import FeatureCache, _batches
from hmr4d.motion.canonical import mirror
from hmr4d.representation.hml263 import Hml263Codec
from tests.data.tiny_store import clip, write_store

CLIPS = {"a": 30, "b": 2, "c": 51, "d": 24}


def test_rows_are_those_of_the_codec(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", CLIPS)
    codec = Hml263Codec("corrected_hips")
    for is_mirrored in (False, True):
        cache = FeatureCache(store, variant="corrected_hips", mirrored=is_mirrored)
        assert cache.num_rows.tolist() == [frames - 1 for frames in CLIPS.values()]
        for number, frames in enumerate(CLIPS.values()):
            joints3d = torch.from_numpy(clip(frames, number))
            wanted = codec.encode(mirror(joints3d) if is_mirrored else joints3d)
            np.testing.assert_allclose(cache.features(number), wanted.numpy(), atol=1e-6)
            assert cache.is_usable(number)


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    cache = FeatureCache(write_store(tmp_path / "store", CLIPS), variant="humanml3d", fps=10.0)
    assert cache.num_rows.tolist() == [14, 0, 25, 11]
    assert [cache.is_usable(number) for number in range(4)] == [True, False, True, True]


def test_files_are_created_once_and_replaced_for_other_joints(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", CLIPS)
    first = FeatureCache(store, variant="humanml3d")
    made = (first.folder / "features.npy").stat().st_mtime_ns
    assert (FeatureCache(store, variant="humanml3d").folder / "features.npy").stat().st_mtime_ns == made
    before = np.array(first.features(0))
    joints = np.load(store.path / "joints.npy")
    joints[:30, 20] += 0.1
    np.save(store.path / "joints.npy", joints)
    changed = FeatureCache(type(store).open(store.path), variant="humanml3d")
    assert np.abs(changed.features(0) - before).max() > 1e-3
    meta = json.loads((changed.folder / "meta.json").read_text())
    assert meta["variant"] == "humanml3d" and meta["joints"]
    assert [p.name for p in store.path.glob(".hml263*")] == []


def test_clips_without_a_heading_are_not_usable(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", CLIPS)
    joints = np.load(store.path / "joints.npy")
    joints[:30] = 0.0
    np.save(store.path / "joints.npy", joints)
    cache = FeatureCache(type(store).open(store.path), variant="humanml3d")
    assert [cache.is_usable(number) for number in range(4)] == [False, True, True, True]


def test_batches_contain_every_clip_once_and_stay_small() -> None:
    lengths = [5, 1, 4000, 5000, 2, 3000, 9000]
    batches = list(_batches(lengths))
    assert sorted(i for batch in batches for i in batch) == [0, 2, 3, 4, 5, 6]
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 8192 for b in batches)
