"""HumanML3D from made-up archives of the true layout: what comes out, what is missing, what is broken, what resumes."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datasets import Framing, MotionViews
from hmr4d.data.importers import humanml3d_build, source_files
from hmr4d.data.importers.humanml3d import import_humanml3d
from hmr4d.data.importers.humanml3d_build import BuildReport, build_humanml3d, mirror_text_file
from hmr4d.data.importers.humanml3d_inventory import Places
from hmr4d.data.importers.humanml3d_release import (
    IndexRow,
    count_differences,
    crop_clip,
    published_release,
    read_index,
    rows_per_subset,
    source_key,
)
from hmr4d.data.store import MotionStore
from hmr4d.evaluators.hml263_clips import EvaluationClips
from hmr4d.representation.hml263 import Hml263Codec, Hml263Statistics, fit_statistics
from hmr4d.utils.safe_pickle import load_arrays_pickle
from tests.body.smplh_file import joints_by_chains
from tests.data.amass_files import (
    FRAMES,
    RATES,
    ROWS,
    amass_arrays,
    humanact12_joints,
    npz_bytes,
    npz_path,
    write_index,
    write_parts,
)

LENGTHS = {"000000": 30, "000001": 50, "000002": 35, "000003": 45, "000004": 36}
PLAIN = sorted(ROWS)
ALL = sorted([*ROWS, *(f"M{name}" for name in ROWS)])
LEFT, RIGHT = [1, 4, 7, 10, 13, 16, 18, 20], [2, 5, 8, 11, 14, 17, 19, 21]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def built(parts: Places) -> tuple[Places, BuildReport]:
    return parts, build_humanml3d(parts, jobs=1)


@pytest.fixture
def own_parts(parts: Places, tmp_path: Path) -> Places:
    """A copy of the parts, to be broken."""
    root = parts.index.parent
    shutil.copytree(root, tmp_path / "parts", ignore=shutil.ignore_patterns("out"))
    changed = {
        field.name: tmp_path / "parts" / value.relative_to(root)
        for field in dataclasses.fields(parts)
        if (value := getattr(parts, field.name)) is not None
    }
    return Places(**changed)


def mirror_by_hand(joints3d: np.ndarray) -> np.ndarray:
    result = joints3d.copy()
    result[:, LEFT], result[:, RIGHT] = joints3d[:, RIGHT], joints3d[:, LEFT]
    result[..., 0] *= -1
    return result


def load(places: Places, folder: str, name: str) -> np.ndarray:
    return np.load(places.out / folder / f"{name}.npy")


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "gender", "dropped"), [("000001", "male", 0), ("000002", "female", 60)])
def test_raw_clips_are_joints_of_the_body_cut_and_turned(
    built: tuple[Places, BuildReport], name: str, gender: str, dropped: int
) -> None:
    """000002: gender stored as bytes (female body), 59 frames per second (every second frame), 60 frames dropped."""
    source, start, _ = ROWS[name]
    subset = source.split("/")[2]
    arrays, stride = amass_arrays(subset), int(RATES[subset] / 20)
    few = slice(stride * (dropped + start), stride * (dropped + start + 3), stride)
    x, y, z = np.moveaxis(
        joints_by_chains(gender, arrays["poses"][few], arrays["trans"][few], arrays["betas"][:10]), -1, 0
    )
    raw = load(built[0], "preparation/raw_joints", name)
    np.testing.assert_allclose(raw[:3], np.stack([-x, z, y], -1)[:, :22], atol=1e-6)
    assert raw.dtype == np.float32 and {n: len(load(built[0], "preparation/raw_joints", n)) for n in PLAIN} == LENGTHS


def test_humanact12_clips_are_unchanged(built: tuple[Places, BuildReport]) -> None:
    np.testing.assert_array_equal(load(built[0], "preparation/raw_joints", "000004"), humanact12_joints()[:, :22])


def test_features_of_clips_and_of_mirrored_clips(built: tuple[Places, BuildReport]) -> None:
    places, codec = built[0], Hml263Codec()
    for folder in ("new_joints", "new_joint_vecs"):
        assert sorted(path.stem for path in (places.out / folder).iterdir()) == ALL
    for name in PLAIN:
        raw = load(places, "preparation/raw_joints", name)
        for own_name, own in ((name, raw), (f"M{name}", mirror_by_hand(raw))):
            features = load(places, "new_joint_vecs", own_name)
            assert features.shape == (LENGTHS[name] - 1, 263) and features.dtype == np.float32
            np.testing.assert_allclose(features, codec.encode(torch.from_numpy(own)).numpy(), atol=1e-5)
            joints3d = codec.decode(torch.from_numpy(features)).numpy()
            np.testing.assert_allclose(load(places, "new_joints", own_name), joints3d, atol=1e-6)
            assert abs(joints3d[..., 1].min()) < 0.2  # on the floor, up to the frame that features lack


def test_statistics_are_those_of_all_features(built: tuple[Places, BuildReport]) -> None:
    features = [load(built[0], "new_joint_vecs", name) for name in ALL]
    rows = np.concatenate(features).astype(np.float64)
    mean, std = np.load(built[0].out / "Mean.npy"), np.load(built[0].out / "Std.npy")
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(std[4:67], rows.std(0)[4:67].mean(), rtol=1e-5)
    np.testing.assert_array_equal(std, fit_statistics(features).std)


def test_joints3d_keeps_the_actor_and_faces_forward(built: tuple[Places, BuildReport]) -> None:
    places = built[0]
    table = load_arrays_pickle(places.out / "joints3d.pth")
    assert list(table) == [f"{n}.npy" for name in ROWS for n in (name, f"M{name}")]
    for name, (source, *_) in ROWS.items():
        entry, twin = table[f"{name}.npy"], table[f"M{name}.npy"]
        joints3d, raw = entry["joints3d"], load(places, "preparation/raw_joints", name)
        assert entry["name"] == twin["name"] == source and joints3d.dtype == np.float32
        np.testing.assert_allclose(joints3d[0, 0, [0, 2]], 0, atol=1e-6)
        across = joints3d[0, 1] - joints3d[0, 2] + joints3d[0, 16] - joints3d[0, 17]
        assert across[0] > 0 and abs(across[2]) < 1e-5
        np.testing.assert_allclose(joints3d[..., 1], raw[..., 1], atol=1e-6)  # not put on the floor
        distance = np.linalg.norm(joints3d[:, :, None] - joints3d[:1, None, :], axis=-1)
        expected = np.linalg.norm(raw[:, :, None] - raw[:1, None, :], axis=-1)
        np.testing.assert_allclose(distance, expected, atol=1e-5)  # turned and moved, not scaled
        np.testing.assert_allclose(twin["joints3d"], mirror_by_hand(joints3d), atol=1e-5)


def test_joints3d_is_what_torch_reads(built: tuple[Places, BuildReport]) -> None:
    table = torch.load(built[0].out / "joints3d.pth", weights_only=False)
    own = load_arrays_pickle(built[0].out / "joints3d.pth")
    assert list(table) == list(own)
    np.testing.assert_array_equal(table["M000003.npy"]["joints3d"], own["M000003.npy"]["joints3d"])


def test_texts(built: tuple[Places, BuildReport]) -> None:
    texts = built[0].out / "texts"
    assert sorted(path.stem for path in texts.iterdir()) == ALL
    with zipfile.ZipFile(built[0].texts) as archive:
        assert (texts / "000002.txt").read_bytes() == archive.read("texts/000002.txt")
        assert (texts / "M000001.txt").read_bytes() == archive.read("texts/M000001.txt")
    assert (texts / "M000002.txt").read_text() == (
        "a man lifts his right leg, then turns counterclockwise."
        "#a/DET man/NOUN right/ADJ counterclockwise/ADV#0.0#0.0\n"
        "he stays upright.#he/PRON stay/VERB upright/ADV#nan#1.5\n"
    )
    assert mirror_text_file("a leftover#leftover/NOUN#0.0#0.0") == "a leftover#leftover/NOUN#0.0#0.0\n"


@pytest.mark.parametrize("joints", ["joints3d.pth", "new_joints"])
def test_the_importer_reads_what_was_built(built: tuple[Places, BuildReport], tmp_path: Path, joints: str) -> None:
    out = built[0].out
    summary = import_humanml3d(out, tmp_path / "store", joints=out / joints)
    assert summary.num_clips == len(ALL) and not summary.dropped
    store = MotionStore.open(tmp_path / "store")
    assert sorted(store.names) == ALL
    assert [store.names[i] for i in store.indices("train")] == ["000000", "M000000", "000001", "M000001"]
    assert [store.names[i] for i in store.indices("test")] == ["000002", "M000002"]
    clip = store.index_of["M000003"]
    assert store.lengths[clip] == 45 - (joints == "new_joints")
    row = store.clip_captions(clip)[0]
    assert store.caption_texts[row.caption] == "a man lifts his right leg, then turns counterclockwise."
    twin = store.caption_texts[store.caption_mirror[row.caption]]
    assert twin == "a man lifts his left leg, then turns clockwise."


def test_datasets_read_what_was_built(built: tuple[Places, BuildReport], tmp_path: Path) -> None:
    """The views of training, from the store, and the features of evaluation, from the folder; 000000 is too short."""
    out = built[0].out
    import_humanml3d(out, tmp_path / "store")
    store = MotionStore.open(tmp_path / "store")
    views = MotionViews(store, "train", cameras=OrbitRig(), framing=Framing(), rules=IndexRules(), fps=20.0)
    assert {tuple(item["joints3d"].shape) for item in map(views.__getitem__, range(len(views)))} == {(50, 22, 3)}
    statistics = Hml263Statistics.load(out / "statistics.npz")
    np.testing.assert_array_equal(statistics.mean, np.load(out / "Mean.npy"))
    draws = random.Random(0), np.random.RandomState(0)
    clips = EvaluationClips(out, "train", statistics=statistics, choices=draws[0], crops=draws[1])
    assert {entry.name for entry in clips.entries} == {"000001", "M000001"} and "000000" in clips.dropped
    assert all(torch.isfinite(value).all() for value in clips[0].values() if isinstance(value, torch.Tensor))


# --- counts -----------------------------------------------------------------------------------------------------------


def test_the_report_counts_and_says_what_differs(built: tuple[Places, BuildReport]) -> None:
    places, report = built
    assert report.num_clips == 5 and not report.problems
    assert report.counts["clips KIT"] == 2 and report.counts["clips humanact12"] == 1
    assert report.counts["feature_clips"] == 10
    assert report.counts["statistics_rows"] == 2 * sum(n - 1 for n in LENGTHS.values())
    assert report.counts["amass_clips_below_40_frames"] == 2 and report.counts["split train"] == 4
    assert "clips KIT: 2, the release has 4,648" in report.differences
    assert "rows: 5, the release has 14,616" in report.differences
    assert report.remarks == {"male stored as bytes: female body, as published": ["000002"]}
    record = json.loads((places.notes / "record.json").read_text())
    assert record["is_complete"] and record["counts"] == report.counts and record["differences"] == report.differences


def test_the_metadata_of_the_release_agree_with_each_other() -> None:
    release = published_release()
    assert sum(release.rows_of.values()) == release.counts["rows"]
    usable = release.counts["rows"] - len(release.one_frame_clips)
    assert 2 * usable == release.counts["feature_clips"] == release.splits["all"]
    assert sum(release.splits[name] for name in ("train", "val", "test")) == release.splits["all"]
    assert len([n for n in release.rows_of if n != "humanact12"]) == 18
    exact = release.counts | {f"clips {k}": v for k, v in release.rows_of.items()}
    assert count_differences(exact) == []
    assert count_differences({"clips KIT": 1}) == ["clips KIT: 1, the release has 4,648"]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("./pose_data/KIT/3/a b_poses.npy", "KIT/3/a_b_poses"),
        ("KIT/KIT/3/a_b_poses.npz", "KIT/3/a_b_poses"),
        ("PosePrior/03099/lop_poses.npz", "MPI_Limits/03099/lop_poses"),
        ("smplh/DFaust/50002/x_poses.npz", "DFaust_67/50002/x_poses"),
        ("./pose_data/humanact12/humanact12/P01.npy", "humanact12/P01"),
        ("elsewhere/x_poses.npz", None),
        ("KIT.npz", None),
    ],
)
def test_keys_do_not_depend_on_the_place(path: str, key: str | None) -> None:
    assert source_key(PurePosixPath(path)) == key


# --- what is missing --------------------------------------------------------------------------------------------------


def test_everything_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        build_humanml3d(Places(*(tmp_path / n for n in ("amass", "index.csv", "texts", "models", "out"))))
    message = str(caught.value)
    assert message.startswith("5 parts are missing. Get them first.")
    for part in (
        "index of the clips:",
        "HumanAct12: no path is given (1,191 clips)",
        "body model SMPL+H male and female:",
        "https://mano.is.tue.mpg.de",
        "AMASS: no folder",
        "https://amass.is.tue.mpg.de",
        "texts:",
    ):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_without_an_index_the_subsets_of_the_release_are_looked_for(own_parts: Places) -> None:
    own_parts.index.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        build_humanml3d(own_parts, jobs=1)
    message = str(caught.value)
    assert message.startswith("2 parts are missing") and "AMASS subsets ACCAD, " in message
    assert "HumanAct12" not in message and "KIT" not in message


def test_missing_parts_of_every_kind_are_named_at_once(own_parts: Places) -> None:
    rows = ROWS | {
        "000005": ("./pose_data/CMU/01/01_01_poses.npy", 0, 40),
        "000006": ("./pose_data/KIT/3/gone_poses.npy", 0, 40),
        "000007": ("./pose_data/humanact12/humanact12/P99.npy", 0, -1),
    }
    write_index(own_parts.index, rows)
    (own_parts.body_models / "smplh" / "female" / "model.npz").unlink()
    archive = own_parts.amass / "EyesJapanDataset.tar.bz2"
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(FileNotFoundError) as caught:
        build_humanml3d(own_parts, jobs=1)
    message = str(caught.value)
    for part in (
        "body model SMPL+H female: ",
        "AMASS CMU: no folder or archive CMU",
        "(1 clips)",
        "AMASS KIT, 1 of 2 files: ./pose_data/KIT/3/gone_poses.npy",
        "EyesJapanDataset.tar.bz2 is damaged or cut short",
        "AMASS Eyes_Japan_Dataset: no folder or archive Eyes_Japan_Dataset or EyesJapanDataset",
        "HumanAct12, 1 of 2 files",
        "P99.npy",
        "texts, 3 of 8 files",
        "000005.txt, 000006.txt, 000007.txt",
        "add --allow-missing",
    ):
        assert part in message, part
    assert "SMPL+H male" not in message
    assert not (own_parts.notes / "raw_joints").exists()


def test_long_lists_go_to_a_file(own_parts: Places) -> None:
    rows = {f"{i:06d}": (f"./pose_data/KIT/3/walk_{i}_poses.npy", 0, 40) for i in range(30)}
    write_index(own_parts.index, rows | {"000099": ROWS["000000"]})
    with pytest.raises(FileNotFoundError, match=r"walk_19_poses\.npy, and 10 more; all are in .*missing\.txt"):
        build_humanml3d(own_parts, jobs=1)
    named = (own_parts.notes / "missing.txt").read_text().split()
    assert all(source in named for source, *_ in rows.values())


def test_allow_missing_builds_the_rest_and_lists_what_is_skipped(own_parts: Places) -> None:
    write_index(own_parts.index, ROWS | {"000005": ("./pose_data/CMU/01/01_01_poses.npy", 0, 40)})
    (own_parts.body_models / "smplh" / "female" / "model.npz").unlink()
    report = build_humanml3d(own_parts, make=["joints3d"], jobs=1, allow_missing=True)
    assert report.num_clips == 3
    assert report.problems["source missing"] == ["000005: ./pose_data/CMU/01/01_01_poses.npy"]
    assert sorted(text[:6] for text in report.problems["no body model"]) == ["000002", "000003"]
    assert list(load_arrays_pickle(own_parts.out / "joints3d.pth")) == [
        f"{n}.npy" for name in ("000000", "000001", "000004") for n in (name, f"M{name}")
    ]
    assert not (own_parts.out / "new_joints").exists()


# --- what is broken ---------------------------------------------------------------------------------------------------


def test_bad_clips_are_listed_and_counted(own_parts: Places) -> None:
    changes: dict[str, tuple[dict[str, Any] | bytes, tuple[int, int]]] = {
        "damaged": (b"PK hello", (0, 40)),
        "shape": ({"mocap_framerate": None}, (0, 40)),
        "holes": ({"trans": np.full((FRAMES["KIT"], 3), np.nan)}, (0, 40)),
        "fine": ({}, (0, 1)),
        "late": ({}, (500, 540)),
    }
    rows = dict(ROWS)
    for number, (name, (change, cut)) in enumerate(changes.items(), start=10):
        rows[f"0000{number}"] = (f"./pose_data/KIT/3/{name}_poses.npy", *cut)
        arrays = (
            {}
            if isinstance(change, bytes)
            else {k: v for k, v in (amass_arrays("KIT") | change).items() if v is not None}
        )
        (own_parts.amass / npz_path(rows[f"0000{number}"][0])).write_bytes(
            change if isinstance(change, bytes) else npz_bytes(arrays)
        )
    write_index(own_parts.index, rows)
    report = build_humanml3d(own_parts, jobs=1, allow_missing=True)
    assert {kind: [text[:6] for text in texts] for kind, texts in report.problems.items()} == {
        "unreadable": ["000010"],
        "no frame rate": ["000011"],
        "not finite": ["000012"],
        "one frame": ["000013"],
        "no frames left": ["000014"],
    }
    assert report.num_problems == 5 and report.num_clips == 6
    table = load_arrays_pickle(own_parts.out / "joints3d.pth")
    assert len(table["000013.npy"]["joints3d"]) == 1  # too short for features, not for joints
    assert not (own_parts.out / "new_joints" / "000013.npy").exists()


def test_bad_texts_are_listed(own_parts: Places) -> None:
    texts = own_parts.texts.with_suffix("")
    with zipfile.ZipFile(own_parts.texts) as archive:
        archive.extractall(texts)
    (texts / "texts" / "000003.txt").write_text("no fields\n")
    report = build_humanml3d(dataclasses.replace(own_parts, texts=texts / "texts"), make=["joints3d"], jobs=1)
    assert report.problems == {
        "text unreadable": ["000003: 000003.txt, line 1: expected 'caption#tokens#start#end', got 'no fields'."]
    }
    assert not (own_parts.out / "texts" / "M000003.txt").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,b\n1,2\n", "has no column source_path, start_frame, end_frame, new_name"),
        ("source_path,start_frame,end_frame,new_name\nx,1,a,b\n", "line 2: expected a path, two frame numbers"),
        ("source_path,start_frame,end_frame,new_name\nx,1,2,b\ny,1,2,b\n", "line 3: the name 'b' is empty or appears"),
        ("source_path,start_frame,end_frame,new_name\n", "has no rows"),
    ],
)
def test_malformed_index(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "index.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_index(path)


def test_nothing_at_all_is_an_error(own_parts: Places) -> None:
    write_index(own_parts.index, {"000000": ("./pose_data/CMU/1/x_poses.npy", 0, 9)})
    with pytest.raises(ValueError, match=r"No clip came out of 1 rows of index\.csv\. For example 000000"):
        build_humanml3d(own_parts, jobs=1, allow_missing=True)


# --- stopping and going on --------------------------------------------------------------------------------------------


def test_a_stopped_run_continues(own_parts: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = humanml3d_build.write_raw_clips, []

    def stops(task: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(task)
        return whole(task)

    monkeypatch.setattr(humanml3d_build, "write_raw_clips", stops)
    with pytest.raises(KeyboardInterrupt):
        build_humanml3d(own_parts, jobs=1)
    raw = own_parts.notes / "raw_joints"
    done = {path.name: path.stat().st_mtime_ns for path in raw.iterdir()}
    assert done and not (own_parts.out / "joints3d.pth").exists()
    leftovers = [
        raw / ".000003.abc.npy",
        *(
            own_parts.out / name
            for name in ("new_joints/.000003.abc.npy", ".joints3d.abc.pth", ".train.abc.txt", "texts/.000000.abc.txt")
        ),
    ]
    for leftover in leftovers:  # what a killed writer leaves
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_bytes(b"half")
    calls.clear()
    monkeypatch.setattr(humanml3d_build, "write_raw_clips", lambda task: calls.append(task) or whole(task))
    report = build_humanml3d(own_parts, jobs=1)
    assert len(calls) == 2  # of four sources
    assert not any(leftover.exists() for leftover in leftovers)
    assert {path.name: path.stat().st_mtime_ns for path in raw.iterdir()}.items() >= done.items()
    assert sorted(path.stem for path in (own_parts.out / "new_joints").iterdir()) == ALL
    assert report.num_clips == 5

    joints3d = (own_parts.out / "joints3d.pth").stat().st_mtime_ns
    monkeypatch.setattr(source_files, "_read_tar", None)  # a finished run is not read again
    again = build_humanml3d(own_parts, jobs=1)
    assert len(calls) == 2 and again.counts == report.counts and again.remarks == report.remarks
    assert (own_parts.out / "joints3d.pth").stat().st_mtime_ns == joints3d


def test_results_of_others_and_other_settings_are_not_mixed(own_parts: Places) -> None:
    (own_parts.out / "new_joints").mkdir(parents=True)
    with pytest.raises(
        ValueError, match=r"new_joints: not created by this command\. Choose another --out, or --overwrite"
    ):
        build_humanml3d(own_parts, jobs=1)
    build_humanml3d(own_parts, make=["joints3d"], jobs=1)
    with pytest.raises(ValueError, match="new_joints: not created by this command"):
        build_humanml3d(own_parts, make=["new_joints"], jobs=1)
    write_index(own_parts.index, {k: v for k, v in ROWS.items() if k != "000001"})
    with pytest.raises(ValueError, match=r"started with another index\.csv"):
        build_humanml3d(own_parts, make=["joints3d"], jobs=1)
    assert build_humanml3d(own_parts, make=["joints3d"], jobs=1, overwrite=True).num_clips == 4


@pytest.mark.slow
def test_worker_processes_change_nothing(built: tuple[Places, BuildReport], tmp_path: Path) -> None:
    places = dataclasses.replace(built[0], out=tmp_path / "out")
    report = build_humanml3d(places, make=["joints3d"], jobs=2)
    assert report.num_clips == 5
    assert (places.out / "joints3d.pth").read_bytes() == (built[0].out / "joints3d.pth").read_bytes()


def test_dropped_frames_come_before_the_cut() -> None:
    row = IndexRow("000000", "./pose_data/TotalCapture/s/d_poses.npy", 10, 60)
    joints3d = np.arange(90, dtype=np.float32)[:, None, None] * np.ones((1, 22, 3), np.float32)
    assert crop_clip(joints3d, row)[[0, -1], 0, 1].tolist() == [30, 79]
    assert rows_per_subset([row])["TotalCapture"] == 1
