"""BVH folder importer: captions files, joint maps, names, bad files."""

import json
import re
from pathlib import Path

import pytest
import yaml

from hmr4d.data.bvh import BvhError
from hmr4d.data.importers.bvh_folder import (
    CMU_CREDIT,
    import_bvh_folder,
    load_joint_map,
    metres_per_unit,
    read_captions_file,
)
from hmr4d.data.importers.conversion import Conversion
from hmr4d.data.joint_maps import BANDAI_NAMCO, Between
from hmr4d.data.store import MotionStore
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz

CONVERSION = Conversion(BANDAI_NAMCO)


@pytest.fixture
def root(tmp_path, bandai_bvh):
    for i, name in enumerate(("one.bvh", "deep/two.BVH", "deep/three.bvh")):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bandai_bvh(31 + i, seed=i))
    return tmp_path / "clips"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", 'file,caption\none.bvh,"walks, then turns left"\none,walks\ndeep/two,runs\n'),
        ("c.tsv", "one\twalks, then turns left\none\twalks\n\ndeep\\two.bvh\truns\n"),
        ("c.txt", "name\tcaption\none.bvh\twalks, then turns left\none\twalks\ndeep/two\truns\n"),
        ("c.json", json.dumps({"one.bvh": ["walks, then turns left", "walks"], "deep/two": "runs"})),
    ],
)
def test_captions_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    captions = read_captions_file(tmp_path / name)
    assert captions == {"one": ["walks, then turns left", "walks"], "deep/two": ["runs"]}


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("c.csv", "one,walks\ntwo\n", "line 2: expected a file name and a caption"),
        ("c.json", "{", "is no JSON"),
        ("c.json", "[1]", "must hold an object"),
        ("c.json", '{"a": 3}', "'a' needs a caption"),
    ],
)
def test_malformed_captions_files(tmp_path, name, content, cause):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=cause):
        read_captions_file(tmp_path / name)


def test_store_of_a_folder(root, tmp_path, caplog):
    captions = {"one": ["a man turns left"], "deep/two": ["runs"]}
    import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, captions=captions, jobs=1)
    store = MotionStore.open(tmp_path / "out")
    assert store.names == ["one", "three", "two"]
    assert [len(store.clip_captions(i)) for i in range(3)] == [1, 0, 1]
    assert "1 of 3 clips have no caption" in caplog.text
    first = store.clip_captions(0)[0].caption
    assert store.caption_texts[store.caption_mirror[first]] == "a man turns right"
    assert set(store.splits) <= {"train", "val", "test"}


def test_same_file_name_in_two_folders(root, tmp_path, bandai_bvh):
    (root / "two.bvh").write_bytes(bandai_bvh(31))
    import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, split="train", jobs=1)
    store = MotionStore.open(tmp_path / "out")
    assert store.names == ["deep/two", "one", "three", "two"]
    assert store.splits == ["train"] * 4


def test_captions_that_name_no_clip(root, tmp_path):
    with pytest.raises(ValueError, match="name none of the 3 clips"):
        import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, captions={"x": ["y"]}, jobs=1)


def test_bad_file_stops_or_is_left_out(root, tmp_path):
    (root / "one.bvh").write_text("no motion")
    with pytest.raises(BvhError, match=r"one\.bvh, line 1: expected HIERARCHY"):
        import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    summary = import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1, skip_bad=True)
    assert (summary.num_clips, dict(summary.dropped)) == (2, {"one": "unreadable file"})


def test_an_interrupted_import_is_not_continued_from_another_folder(root, tmp_path, bandai_bvh):
    (root / "zzz.bvh").write_text("no motion")
    with pytest.raises(BvhError):
        import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    (root / "zzz.bvh").unlink()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "four.bvh").write_bytes(bandai_bvh(31))
    import_bvh_folder(tmp_path / "others", tmp_path / "out", conversion=CONVERSION, jobs=1)
    assert MotionStore.open(tmp_path / "out").names == ["four"]


def test_an_interrupted_import_forgets_files_that_have_gone(root, tmp_path):
    (root / "zzz.bvh").write_text("no motion")
    with pytest.raises(BvhError):
        import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    for name in ("zzz.bvh", "one.bvh"):
        (root / name).unlink()
    import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    assert MotionStore.open(tmp_path / "out").names == ["three", "two"]


def test_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No \.bvh file below"):
        import_bvh_folder(tmp_path, tmp_path / "out", conversion=CONVERSION)


def test_joint_maps_from_yaml(tmp_path):
    table = {k: v if isinstance(v, str) else {"from": v.start, "to": v.end} for k, v in BANDAI_NAMCO.rules.items()}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(table))
    loaded = load_joint_map(str(path))
    assert (loaded.name, loaded.rules["spine1"]) == ("mine", Between("Hips", "Spine", 0.5))
    assert load_joint_map("cmu").name == "cmu"
    with pytest.raises(FileNotFoundError, match=r"neither a file nor one of \['bandai_namco', 'cmu'\]"):
        load_joint_map("nobody")
    path.write_text("[1, 2")
    with pytest.raises(ValueError, match="is no YAML"):
        load_joint_map(str(path))


def test_units():
    assert metres_per_unit("inch") == 0.0254
    assert metres_per_unit("cmu") == pytest.approx(0.056444, abs=1e-6)
    assert metres_per_unit("0.5") == 0.5
    with pytest.raises(ValueError, match="Unit 'mile' is neither"):
        metres_per_unit("mile")
    assert "NSF EIA-0196217" in CMU_CREDIT


def test_the_page_says_how_one_file_becomes_a_motion_file(tmp_path, bandai_bvh, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.bvh").write_bytes(bandai_bvh(31, seed=1))
    page = (Path(__file__).parents[2] / "docs" / "motion_format.md").read_text("utf-8")
    exec(re.findall(r"\*\*BVH\*\*.*?```python\n(.*?)```", page, re.S)[0], {"save_motion_npz": save_motion_npz})
    motion = load_motion_npz("clip.npz")
    assert motion.num_frames == 31 and motion.joints3d[..., 1].min() == 0.0
