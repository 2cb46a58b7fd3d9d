"""Packed stores: read like any other, exact to the stated error, and the one that ships is whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.cmu_captions import read_cmu_captions
from hmr4d.data.pack_store import pack_store
from hmr4d.data.packed_joints import FILE, pack_joints, unpack_joints
from hmr4d.data.store import MotionStore, StoreError
from hmr4d.evaluators.feature_cache import FeatureCache
from tests.data.tiny_store import write_store

SHIPPED = Path(__file__).resolve().parents[2] / "inputs" / "cmu"


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", {"a": 40, "b": 1, "c": 2, "d": 75}, splits={"a": "test"})


@pytest.mark.parametrize("step", [0.0005, 0.002])
def test_packed_store_is_read_like_the_store_it_was_made_from(store, tmp_path, step):
    packed = MotionStore.open(pack_store(store.path, tmp_path / "packed", step=step))
    assert packed.is_packed and not store.is_packed
    assert (packed.names, packed.splits, packed.labels) == (store.names, store.splits, store.labels)
    assert packed.caption_texts == store.caption_texts
    assert [packed.clip_captions(i) for i in range(4)] == [store.clip_captions(i) for i in range(4)]
    for clip in range(len(store)):
        joints = packed.joints3d(clip)
        assert joints.dtype == np.float32 and not joints.flags.writeable
        assert np.abs(joints - store.joints3d(clip)).max() <= step / 2 + 1e-6
    assert packed.info["packed"]["largest_error"] == step / 2
    assert (packed.path / "NOTICE.md").read_text() == (store.path / "NOTICE.md").read_text()


def test_packing_a_packed_store_changes_nothing(store, tmp_path):
    once = pack_store(store.path, tmp_path / "once")
    twice = pack_store(once, tmp_path / "twice")
    assert (once / FILE).read_bytes() == (twice / FILE).read_bytes()


def test_packing_does_not_write_over_what_is_there(store, tmp_path):
    pack_store(store.path, tmp_path / "packed")
    with pytest.raises(FileExistsError, match="--overwrite"):
        pack_store(store.path, tmp_path / "packed")
    assert pack_store(store.path, tmp_path / "packed", overwrite=True).is_dir()


def test_motion_too_far_for_the_step_is_refused():
    joints = np.full((3, 22, 3), 20.0, dtype=np.float32)
    cause = r"20\.0 m from the origin.* at most 16\.4 m can be packed"
    with pytest.raises(ValueError, match=cause):
        pack_joints(joints, [3], SMPL22)


def test_damaged_packed_stores_are_named(store, tmp_path):
    packed = pack_store(store.path, tmp_path / "packed")
    content = (packed / FILE).read_bytes()
    for broken in (content[:-20], b"", b"no xz"):
        (packed / FILE).write_bytes(broken)
        with pytest.raises(StoreError, match="joints.xz: no readable xz file"):
            MotionStore.open(packed)
    (packed / FILE).write_bytes(pack_joints(store.joints3d(0), [40], SMPL22))
    with pytest.raises(StoreError, match="joints.xz: .* bytes of joints, expected"):
        MotionStore.open(packed)
    (packed / FILE).unlink()
    with pytest.raises(FileNotFoundError, match="lacks joints.npy"):
        MotionStore.open(packed)


def test_nothing_adds_up_along_limbs_or_over_time():
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 1, (500, 22, 3))
    back = unpack_joints(pack_joints(joints, [200, 300], SMPL22, 0.01), [200, 300], SMPL22, 0.01)
    assert np.abs(back - joints).max() <= 0.005 + 1e-6


def test_features_are_cached_for_a_packed_store(store, tmp_path):
    packed = MotionStore.open(pack_store(store.path, tmp_path / "packed"))
    cache = FeatureCache(packed, variant="corrected_hips")
    assert cache.num_rows.tolist() == [39, 0, 1, 74]


def test_shipped_store_is_small_and_carries_its_notice():
    files = [file for file in SHIPPED.iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 12e6
    info = json.loads((SHIPPED / "store.json").read_text())
    assert info["packed"]["largest_error"] <= 0.001
    assert "NSF EIA-0196217" in (SHIPPED / "NOTICE.md").read_text()
    assert not any("/" in str(value) and str(value).startswith("/") for value in info["settings"].values())


def test_shipped_store_holds_people_on_the_floor():
    store = MotionStore.open(SHIPPED)
    lowest, sizes = [], []
    for clip in range(len(store)):
        joints = store.joints3d(clip)
        lowest.append(joints[..., 1].min())
        sizes.append(np.linalg.norm(joints[0, 15] - joints[0, 12]))
        assert np.isfinite(joints).all()
    assert abs(np.median(lowest)) < 0.01 and np.quantile(lowest, 0.05) > -0.03  # meters
    assert min(sizes) > 0.05 and max(sizes) < 0.15


def test_shipped_store_has_the_sentences_of_the_caption_files():
    store, captions = MotionStore.open(SHIPPED), read_cmu_captions()
    descriptions = dict(zip(store.names, store.labels["description"], strict=True))
    for clip, name in enumerate(store.names):
        source, _, start = name.partition("@")
        stretches = captions.stretches(source, descriptions[name] or None)
        (stretch,) = (s for s in stretches if not start or f"{s.start:g}" == start)
        assert [store.caption_texts[c.caption] for c in store.clip_captions(clip)] == [*stretch.action.sentences], name
        assert store.labels["content"][clip] == stretch.action.group, name


def test_shipped_splits_test_every_large_group_and_part_no_source_clip():
    store = MotionStore.open(SHIPPED)
    sources = [name.partition("@")[0] for name in store.names]
    assert len(set(zip(sources, store.splits, strict=True))) == len(set(sources))
    sizes = Counter(store.labels["content"])
    within = {
        group: {s for s, g in zip(sources, store.labels["content"], strict=True) if g == group} for group in sizes
    }
    tested = {group for group, split in zip(store.labels["content"], store.splits, strict=True) if split == "test"}
    assert {group for group, size in sizes.items() if size >= 10 and len(within[group]) > 1} <= tested
