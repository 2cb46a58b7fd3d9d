"""CMU importer on made-up files of all three forms."""

import io
import json
import logging
import tarfile

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.cmu import import_cmu
from hmr4d.data.importers.cmu_files import CmuFile, CmuFolder, clip_name, read_index, read_joints
from hmr4d.data.importers.splits import split_by_groups, split_by_name
from hmr4d.data.store import MotionStore
from tests.data.cmu_layouts import amc_text, asf_text, bvh31_text, daz_text, motion

SENTENCES = "[" + ", ".join(f"a person does it with the left hand in way {n}" for n in range(8)) + "]"
CAPTIONS = f"""
actions:
  walk: {{group: walk, sentences: {SENTENCES.replace("it with", "a walk with")}}}
  wave: {{group: wave, sentences: {SENTENCES.replace("it with", "a wave with")}}}
descriptions: {{stroll: walk}}
clips:
  05_01: [[0, 0.8, walk], [1, 1.95, wave]]
left_out: {{05_09: nothing can be named}}
"""
INDEX = """clip,format,fps,frames,description
05_01,amc,120.0,240,"walk, wave"
05_02,amc,120.0,240,stroll
05_09,amc,120.0,240,odd
06_01,bvh,120.0,241,juggle
salsa/01,bvh,60,110,stroll
"""


def contents():
    """Path -> bytes of a small data set."""
    return {
        "cmu/05/05.asf": asf_text(),
        "cmu/05/05_01.amc": amc_text(motion(240, seed=1)),
        "cmu/05/05_02.amc": amc_text(motion(240, seed=2)),
        "cmu/05/05_09.amc": amc_text(motion(240, seed=3)),
        "cmu/06/06_01.bvh": bvh31_text(motion(240, seed=4)),
        "cmu/salsa/01.bvh": daz_text(100),
        "cmu/index.csv": INDEX,
        "cmu/NOTICE.md": "free",
    }


def write_folder(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def captions(tmp_path):
    return write_folder(tmp_path / "captions", {"a.yaml": CAPTIONS})


def test_asf_and_bvh_of_one_motion_give_the_same_joints():
    values = motion(60)
    asf = ("a.asf", asf_text().encode())
    joints, fps = read_joints(CmuFile("a", "a.amc", amc_text(values).encode(), asf))
    converted, bvh_fps = read_joints(CmuFile("a", "a.bvh", bvh31_text(values).encode()))
    assert joints.shape == (60, 22, 3) and (fps, bvh_fps) == (120.0, 120.0)
    assert np.abs(joints - converted).max() < 1e-5  # meters; the T-pose is gone, lost bones are back


def test_daz_conversion_has_upright_head_toes_and_no_added_frames():
    joints, fps = read_joints(CmuFile("a", "a.bvh", daz_text(5).encode(), fps=60.0))
    assert joints.shape == (5, 22, 3) and fps == 60.0
    assert np.abs(joints - joints[0]).max() < 1e-9
    at = dict(zip(SMPL22.joint_names, joints[0], strict=True))
    np.testing.assert_allclose(at["pelvis"], [0.0, 0.97, 0.0], atol=1e-9)
    neck_to_head = at["head"] - at["neck"]
    assert neck_to_head[2] == pytest.approx(0.0, abs=1e-6) and neck_to_head[1] > 0.07
    np.testing.assert_allclose(at["left_foot"] - at["left_ankle"], [0.0, -0.04, 0.12], atol=1e-9)
    assert at["left_wrist"][0] > 0.6 and at["right_wrist"][0] < -0.6


def test_folder_and_archive_give_the_same_store(tmp_path, captions):
    folder = write_folder(tmp_path / "raw", contents())
    archive = tmp_path / "raw.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in reversed(contents().items()):  # skeletons need not come first
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    import_cmu(folder, tmp_path / "a", captions=captions, jobs=1)
    import_cmu(archive, tmp_path / "b", captions=captions, jobs=1)
    for name in ("joints.npy", "clips.json", "captions.json", "store.json", "NOTICE.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    store = MotionStore.open(tmp_path / "a")
    assert store.names == ["05_01@0", "05_01@1", "05_02", "06_01", "salsa/01"]
    assert store.labels["content"] == ["walk", "wave", "walk", "other", "walk"]
    assert store.labels["action"] == ["walk", "wave", "walk", "juggle", "walk"]
    assert store.labels["description"][:2] == ["walk, wave"] * 2
    assert store.lengths.tolist() == [16, 19, 40, 40, 34]  # the dance at 60 frames per second, not 120
    assert store.info["dropped"] == {"05_09": "nothing can be named"}
    assert "mocap.cs.cmu.edu" in (tmp_path / "a" / "NOTICE.md").read_text()
    texts = [store.caption_texts[c.caption] for c in store.clip_captions(1)]
    assert len(texts) == 8 and all("a wave with the left hand" in text for text in texts)
    mirrored = store.caption_texts[store.caption_mirror[store.clip_captions(1)[0].caption]]
    assert "right hand" in mirrored
    assert [store.caption_texts[c.caption] for c in store.clip_captions(3)] == ["juggle"]
    assert store.info["licence"].startswith("free for all uses (CMU)")


def test_feet_that_stand_are_at_the_floor(tmp_path, captions):
    files = {k: v for k, v in contents().items() if k.startswith("cmu/05/05.")}
    files["cmu/05/05_03.amc"] = amc_text(motion(120, walk=0.0))
    import_cmu(write_folder(tmp_path / "raw", files), tmp_path / "out", captions=captions, jobs=1)
    store = MotionStore.open(tmp_path / "out")
    feet = store.joints3d(0)[:, list(SMPL22.contact_joints), 1].min(1)
    assert abs(feet.min()) < 0.02
    assert store.labels["content"] == ["other"] and store.clip_captions(0) == []  # no index, no description


def test_stretch_beyond_the_end_of_its_clip_is_refused(tmp_path, captions):
    (captions / "a.yaml").write_text(CAPTIONS.replace("[1, 1.95, wave]", "[1, 2.2, wave]"))
    with pytest.raises(ValueError, match=r"clip '05_01': the stretch \[1, 2.2\] ends after the clip, which has 2.0"):
        import_cmu(write_folder(tmp_path / "raw", contents()), tmp_path / "out", captions=captions, jobs=1)


def test_faults_are_corrected_and_noted_or_skipped_with_the_reason(tmp_path, captions, caplog):
    values = motion(240, seed=5)
    values["root"][120:, 0] += 50  # three meters at once
    glitch = motion(240, seed=6)
    glitch["lradius"] = glitch["lradius"].copy()
    glitch["lradius"][100:104, 1] += 90.0
    far = motion(60)
    far["root"][:, 0] += 1e6
    giant = asf_text().replace("length 0.45", "length 0.2")
    files = {k: v for k, v in contents().items() if k.startswith("cmu/05/05.")} | {
        "cmu/05/05_01.amc": amc_text(motion(240)),
        "cmu/05/05_04.amc": amc_text(values),
        "cmu/05/05_05.amc": amc_text(glitch),
        "cmu/05/05_06.amc": amc_text(motion(240))[:-30],
        "cmu/07/07.asf": giant,
        "cmu/07/07_01.amc": amc_text(motion(60)),
        "cmu/08/08.asf": asf_text(),
        "cmu/08/08_01.amc": amc_text(far),
    }
    with caplog.at_level(logging.INFO):
        summary = import_cmu(write_folder(tmp_path / "raw", files), tmp_path / "out", captions=captions, jobs=1)
    assert "pelvis jumps" in summary.dropped["05_04"]
    assert "no person's size" in summary.dropped["07_01"]
    assert "away from the origin" in summary.dropped["08_01"]
    assert "05_06.amc, line" in caplog.text and "truncated" in caplog.text
    notes = MotionStore.open(tmp_path / "out").info["notes"]
    assert set(notes) == {"05_05"} and "jumps bridged in" in notes["05_05"]


def test_unreadable_file_stops_or_is_skipped(tmp_path, captions):
    files = contents() | {"cmu/05/05_02.amc": "1\nroot 1 2\nroot 1 2\n"}
    folder = write_folder(tmp_path / "raw", files)
    with pytest.raises(ValueError, match="05_02.amc, line 2: 'root' needs 6 values"):
        import_cmu(folder, tmp_path / "out", captions=captions, jobs=1)
    summary = import_cmu(folder, tmp_path / "out", captions=captions, jobs=1, skip_bad=True)
    assert summary.dropped["05_02"] == "unreadable file"


def test_missing_skeletons_and_sources_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="CMU data not found"):
        CmuFolder.open(tmp_path / "nowhere")
    folder = write_folder(tmp_path / "raw", {"09/09_01.amc": "", "10/10_01.amc": "", "10/10.asf": asf_text()})
    with pytest.raises(FileNotFoundError, match="Skeletons of 1 motions are missing in .*: 09/09.asf"):
        CmuFolder.open(folder)
    with pytest.raises(ValueError, match="No .amc or .bvh file"):
        CmuFolder.open(write_folder(tmp_path / "empty", {"a.txt": ""}))
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read as a tar archive"):
        CmuFolder.open(tmp_path / "broken.tar")


def test_clip_in_two_forms_is_read_as_the_index_says(tmp_path):
    files = {"05/05.asf": asf_text(), "05/05_01.amc": "", "05/05_01.bvh": "", "bvh/05_02.bvh": "", "05/05_02.amc": ""}
    folder = write_folder(tmp_path / "raw", files | {"index.csv": "clip,format,fps,description\n05_01,bvh,,walk\n"})
    assert CmuFolder.open(folder).clips == {"05_01": "05/05_01.bvh", "05_02": "05/05_02.amc"}


def test_clip_names():
    from pathlib import PurePosixPath

    assert clip_name(PurePosixPath("a/05/05_01.amc")) == "05_01"
    assert clip_name(PurePosixPath("a/salsa/01.bvh")) == "salsa/01"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("clip,fps\n", "lacks the columns description"),
        ("clip,fps,description\na,fast,walk\n", "line 2: fps is 'fast'"),
        ("clip,fps,description\na,0,walk\n", "line 2: fps is '0'"),
        ("clip,fps,description\na,inf,walk\n", "line 2: fps is 'inf'"),
        ("clip,fps,description\na,,walk\na,,run\n", "line 3: clip 'a' is listed twice"),
        ("fps,clip,description\n30\n", "line 2: the row names no clip"),
        ("clip,description\nläuft,x\n".encode("cp1252"), "index.csv is not UTF-8 text: byte 0xe4 in line 2"),
    ],
)
def test_faults_of_the_index_are_named(text, cause):
    with pytest.raises(ValueError, match=cause):
        read_index(text if isinstance(text, bytes) else text.encode(), "index.csv")


def test_splits_keep_small_groups_together_and_test_every_large_one():
    many = {f"{number:02d}_{clip:02d}": ["run"] for number in range(20) for clip in range(20)}
    few = {"90_01": ["mop"], "90_02": ["mop", "run"]}
    same_hash = [name for name in (f"95_{n}" for n in range(400)) if split_by_name(name) == "train"][:12]
    splits = split_by_groups(many | few | dict.fromkeys(same_hash, ["hop"]))
    assert [splits[name] for name in few] == ["train", "train"]
    assert all(splits[name] == split_by_name(name) for name in many)
    assert sorted(splits[name] for name in same_hash) == ["test"] + ["train"] * 11
    mixed = {"a": ["sit"] * 9 + ["mop"], "b": ["sit"] * 9 + ["mop", "mop"], "c": ["sit"] * 9 + ["hop"]}
    assert split_by_groups(mixed) == {"a": "test", "b": "train", "c": "train"}
    assert split_by_groups({"a": ["sit"] * 30, "b": []}) == {"a": "train", "b": "train"}


def test_settings_name_what_shaped_the_store(tmp_path, captions):
    import_cmu(write_folder(tmp_path / "raw", contents()), tmp_path / "out", captions=captions, jobs=1, min_frames=18)
    info = json.loads((tmp_path / "out" / "store.json").read_text())
    assert info["settings"]["captions"] == ["a.yaml"]
    assert info["dropped"]["05_01@0"] == "shorter than 18 frames"
