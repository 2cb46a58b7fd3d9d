"""BVH folder importer: captions files, joint maps, names, bad files."""

import json
import logging
import os
import re
from pathlib import Path

import pytest
import yaml

from hmr4d.data.importers.bvh_folder import CMU_CREDIT, import_bvh_folder, load_joint_map
from hmr4d.data.importers.caption_tables import CaptionTable, read_captions_file
from hmr4d.data.importers.conversion import Conversion
from hmr4d.data.store import MotionStore
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.motion.motion import Motion
from hmr4d.motion_files.bvh import BvhError
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO, Between
from hmr4d.motion_files.source_frame import meters_per_unit

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
        ("c.csv", 'name,notes,text\none.bvh,,"walks, then turns left"\none,,walks\ndeep/two,y,runs\n'),
        ("c.csv", 'file,caption\none.bvh,"walks, then turns left"\none,walks\ndeep/two,runs\n'),
        ("c.csv", 'caption,caption_2,file\n"walks, then turns left",walks,one.bvh\nruns,,deep/two\n'),
        ("c.tsv", "one\twalks, then turns left\none\twalks\n\ndeep\\two.bvh\truns\n"),
        ("c.txt", "name\tcaption\none.bvh\twalks, then turns left\none\twalks\ndeep/two\truns\n"),
        ("c.json", json.dumps({"one.bvh": ["walks, then turns left", "walks"], "deep/two": "runs"})),
    ],
)
def test_captions_files(tmp_path, name, content):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
        (tmp_path / name).write_bytes(content.encode(encoding))
        table = read_captions_file(tmp_path / name)
        assert table.captions == {"one": ["walks, then turns left", "walks"], "deep/two": ["runs"]}


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("c.csv", "one,walks\ntwo\n", "line 2: expected a file name and a caption"),
        ("c.csv", "one,walks\ntwo,walks, then runs\n", r"c\.csv, line 2: 3 fields where 2 .* quotation marks"),
        ("c.tsv", "one\twalks\tthen runs\n", r"c\.tsv, line 1: 3 fields where 2 .* One tab"),
        ("c.csv", 'one,"walks\ntwo,runs"\n', r"c\.csv, line 1: a line ends within quotation marks"),
        ("c.csv", 'one,walks\ntwo,"runs\n', r"c\.csv, line 2: .* not closed"),
        ("c.csv", "one,walks\ntwo,run\x00s\n", r"c\.csv, line 2: a caption has a control character"),
        ("c.txt", "one\ta man walks#a/DET man/NOUN walk/VERB#0.0#0.0\n", "line 1: got .* Write the caption alone"),
        ("c.csv", "one,“walks, then runs”\n", r"c\.csv, line 1: 3 fields .* straight quotation marks"),
        ("c.csv", 'one,"walks" and runs\n', r"c\.csv, line 1: .* quotation mark"),
        ("c.csv", "one;walks\n", r"c\.csv, line 1: fields are separated by semicolons"),
        ("c.csv", "file\none,walks\n", r"c\.csv, line 1: the heading .* has no column of captions"),
        ("c.csv", "one,caf\udce9\n", r"c\.csv is not UTF-8 text: byte 0xe9 in line 1"),
        ("c.json", '{"one": "walks",\n"one": "runs"}', r"c\.json, line 2: key 'one' is given twice"),
        ("c.csv", ".bvh,walks\n", r"c\.csv, line 1: expected a file name and a caption"),
        ("c.xlsx", "PK", r"c\.xlsx is a spreadsheet\. Save it as CSV"),
        ("c.json", "{", "is no JSON"),
        ("c.json", "[1]", "must contain an object"),
        ("c.json", '{"": "walks"}', r"c\.json: the captions 'walks' have no file name"),
        ("c.json", '{"a": 3}', "'a' needs a caption"),
    ],
)
def test_malformed_captions_files(tmp_path, name, content, cause):
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=cause):
        read_captions_file(tmp_path / name)


def test_store_of_a_folder(root, tmp_path, caplog):
    captions = CaptionTable({"one": ["a man turns left"], "deep/two": ["runs"]})
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


def test_captions_of_unknown_clips_are_refused_with_their_line(root, tmp_path, caplog):
    (tmp_path / "c.csv").write_text("one,walks\ndeep/tow,runs\n")
    captions = read_captions_file(tmp_path / "c.csv")
    with pytest.raises(ValueError, match=r"c\.csv, line 2: no clip is called 'deep/tow'; did you mean 'deep/two'"):
        import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, captions=captions, jobs=1)
    import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, captions=captions, jobs=1, skip_bad=True)
    assert "These captions are skipped" in caplog.text
    with pytest.raises(ValueError, match="name none of the 3 clips"):
        import_bvh_folder(root, tmp_path / "o", conversion=CONVERSION, captions=CaptionTable({"x": ["y"]}), jobs=1)


def test_a_caption_goes_to_one_clip():
    clips = {"a": "a.bvh", "deep/two": "deep/two.bvh", "flat/two": "flat/two.bvh", "cafe\u0301": "cafe\u0301.bvh"}
    with pytest.raises(ValueError, match=r"'two' may be any of deep/two.bvh, flat/two.bvh\. Write the folder"):
        CaptionTable({"two": ["runs"]}).of_clips(clips)
    told = CaptionTable({"./flat/two.bvh".removeprefix("./"): ["runs"], "caf\u00e9": ["walks"]}).of_clips(clips)
    assert told == {"a": [], "deep/two": [], "flat/two": ["runs"], "cafe\u0301": ["walks"]}
    told = CaptionTable({"two": ["runs"]}).of_clips({"two": "two.bvh", "deep/two": "deep/two.bvh"})
    assert told == {"two": ["runs"], "deep/two": []}


def test_hidden_files_are_passed_over_and_no_two_files_share_a_name(root, tmp_path, bandai_bvh):
    (root / "._one.bvh").write_bytes(b"\x00\x05\x16\x07")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "one.bvh").write_bytes(b"\x00")
    (root / "deep" / "two.bvh").write_bytes(bandai_bvh(31))
    import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    assert MotionStore.open(tmp_path / "out").names == ["deep/two.BVH", "deep/two.bvh", "one", "three"]


def test_odd_files_are_reported_once_with_both_numbers(root, tmp_path, caplog):
    for name in ("one.bvh", "deep/three.bvh"):
        path = root / name
        path.write_text(re.sub(r"Frames:\t\d+", "Frames: 30", path.read_text()))
    import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    told = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 1 and re.search("announces 30 frames, 3[13] whole rows follow", told[0])
    assert "This affects 2 of 3 files." in told[0]
    assert len(MotionStore.open(tmp_path / "out")) == 3


def test_bad_file_stops_or_is_skipped(root, tmp_path):
    (root / "one.bvh").write_text("no motion")
    with pytest.raises(BvhError, match=r"one\.bvh, line 1: expected HIERARCHY"):
        import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    summary = import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1, skip_bad=True)
    assert (summary.num_clips, dict(summary.dropped)) == (2, {"one": "unreadable file"})


def test_a_file_name_that_is_no_text_is_named(root, tmp_path, bandai_bvh):
    try:
        (root / os.fsdecode(b"w\xe9.bvh")).write_bytes(bandai_bvh(31))
    except OSError:
        pytest.skip("this file system only has names in UTF-8")
    with pytest.raises(ValueError, match=r"w\ufffd.bvh: the name of this file is not UTF-8 text"):
        import_bvh_folder(root, tmp_path / "store", conversion=CONVERSION, jobs=1)


def test_an_empty_file_is_skipped_with_a_word(root, tmp_path, caplog):
    (root / "one.bvh").write_bytes(b"")
    summary = import_bvh_folder(root, tmp_path / "out", conversion=CONVERSION, jobs=1)
    assert (summary.num_clips, dict(summary.dropped)) == (2, {"one": "empty file"})
    assert any("one.bvh is empty. Skipped." in record.message for record in caplog.records)


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
    with pytest.raises(FileNotFoundError, match="none is no folder"):
        import_bvh_folder(tmp_path / "none", tmp_path / "out", conversion=CONVERSION)


def test_joint_maps_from_yaml(tmp_path):
    table = {k: v if isinstance(v, str) else {"from": v.start, "to": v.end} for k, v in BANDAI_NAMCO.rules.items()}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(table))
    loaded = load_joint_map(str(path))
    assert (loaded.name, loaded.rules["spine1"]) == ("mine", Between("Hips", "Spine", 0.5))
    assert load_joint_map("cmu").name == "cmu"
    with pytest.raises(
        FileNotFoundError,
        match=r"neither a file nor one of \['bandai_namco', 'cmu', ",
    ):
        load_joint_map("nobody")
    path.write_text("pelvis: Hips\npelvis: Spine\n")
    with pytest.raises(ValueError, match=r"mine\.yaml, line 2: key 'pelvis' is given twice"):
        load_joint_map(str(path))
    path.write_text("[1, 2")
    with pytest.raises(ValueError, match="is no YAML"):
        load_joint_map(str(path))
    path.write_text("pel\tvis:\n")
    with pytest.raises(ValueError, match=r"'pel\\tvis'"):  # no control character reaches a terminal
        load_joint_map(str(path))


def test_units():
    assert meters_per_unit("inch") == 0.0254
    assert meters_per_unit("cmu") == pytest.approx(0.056444, abs=1e-6)
    assert meters_per_unit("0.5") == 0.5 and meters_per_unit("mm") == 0.001
    with pytest.raises(ValueError, match="must be a positive number, got -1"):
        meters_per_unit("-1")
    with pytest.raises(ValueError, match="Unit 'mile' is neither"):
        meters_per_unit("mile")
    assert "NSF EIA-0196217" in CMU_CREDIT


def test_the_page_says_how_one_file_becomes_a_motion_file(tmp_path, bandai_bvh, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.bvh").write_bytes(bandai_bvh(31, seed=1))
    page = (Path(__file__).parents[2] / "docs" / "motion_format.md").read_text("utf-8")
    names = {"save_motion_npz": save_motion_npz, "Motion": Motion}
    exec(re.findall(r"\*\*BVH\*\*.*?```python\n(.*?)```", page, re.S)[0], names)
    motion = load_motion_npz("clip.npz")
    assert motion.num_frames == 31 and motion.joints3d[..., 1].min() == 0.0
