"""Whole runs: reasons, resuming after SIGKILL in every stage, retries, cache, shards, validation, review, store."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmr4d.cli.curate import changed_thresholds, main
from hmr4d.curation import partitions, shards, stages
from hmr4d.curation.filters import Failure, Thresholds, Track
from hmr4d.curation.manifest import read_manifest
from hmr4d.curation.partitions import run_here, tasks_of
from hmr4d.curation.records import CLIP, SOURCE, Record, read_records, write_records
from hmr4d.curation.run import curate
from hmr4d.curation.shards import read_clips, shard_files
from hmr4d.curation.sources import LocalFolder
from hmr4d.curation.stages import Settings
from hmr4d.curation.trimming import TrimRules
from hmr4d.curation.validation import validate
from hmr4d.data.keypoint_clips import KeypointClips, keypoint_faults
from hmr4d.data.store import KeypointStore
from tests.curation.sources import CASES, write_cases, write_track
from tests.curation.tracks import walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_cases(tmp_path / "files")
    return tmp_path / "files"


def settings_of(root: Path, **changes: object) -> Settings:
    return replace(Settings(str(root), captioner="template"), **changes)


def contents(folder: Path) -> dict[str, bytes]:
    """What a data set is: manifest, shards, statistics and dead letters."""
    names = ("manifest.*", "shards/*", "statistics.json", "dead_letters.csv")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for name in names for p in sorted(folder.glob(name))}


def dead_letters(folder: Path) -> dict[str, str]:
    """Source -> reason."""
    with (folder / "dead_letters.csv").open(newline="") as file:
        return {row["source"]: row["reason"] for row in csv.DictReader(file)}


def test_faults_are_skipped_with_their_reasons_and_the_rest_is_valid(root: Path, tmp_path: Path) -> None:
    packed = curate(settings_of(root), tmp_path / "out")
    wanted = {f"{name}_0.npz": reason for name, (_, reason) in CASES.items() if reason}
    assert dead_letters(tmp_path / "out") == wanted
    rows = list(read_manifest(tmp_path / "out"))
    assert sum(packed.clips.values()) == len(rows) == 3  # the long one is two clips
    assert sorted(row["n_frames"] for row in rows) == [120, 165, 165]
    assert [str(fault) for fault in validate(tmp_path / "out")] == []
    for _, clip in read_clips(tmp_path / "out"):
        assert clip.arrays["kpts"].shape == (clip.meta["n_frames"], 18, 3) and not keypoint_faults(clip.arrays["kpts"])
        assert clip.meta["filters"]["not_run"] == ["camera_motion", "shot_cut"]
        assert clip.meta["source"]["kind"] == "folder" and clip.meta["captions"][0]["model"] == "template"


def test_names_in_the_captions_file_that_no_source_has_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_track(tmp_path / "files" / "walk.npz", walk(70))
    captions = tmp_path / "captions.csv"
    captions.write_text("walk,a person walks\nwolk,a person walks\n0123456789abcdef,somebody walks\n", "utf-8")
    curate(settings_of(tmp_path / "files", captioner=f"file:{captions}"), tmp_path / "out")
    assert "1 names in the captions file match no source, such as wolk." in caplog.text


def test_the_larger_of_two_people_is_used_and_alternation_is_a_fault(tmp_path: Path) -> None:
    left, right = walk(130, start=300.0, speed=0.15).keypoints, walk(130, start=900.0, speed=0.15).keypoints
    sizes = np.where(np.arange(130) // 40 % 2, 0.8, 1.25)[:, None, None]
    middle = right[:, :, :2].mean(1, keepdims=True)
    taking_turns = np.concatenate([middle + (right[..., :2] - middle) * sizes, right[..., 2:]], -1)
    smaller = np.concatenate([middle + (right[..., :2] - middle) * 0.8, right[..., 2:]], -1)
    for name, other in (("turns", taking_turns), ("smaller", smaller)):
        people = np.stack([left, other], 1).astype(np.float32)
        (tmp_path / "files").mkdir(exist_ok=True)
        np.savez(tmp_path / f"files/{name}.npz", kp2d=people, fps=30.0, skeleton="coco17", width=1280, height=720)
    curate(settings_of(tmp_path / "files"), tmp_path / "out")
    assert dead_letters(tmp_path / "out") == {"turns.npz": "identity_switch"}
    ((_, clip),) = read_clips(tmp_path / "out")
    assert np.allclose(clip.arrays["kpts"][:, :17, :2], left[..., :2], atol=0.01)


def coco(track: Track, **head: object) -> dict[str, object]:
    """A COCO result."""
    people = [{"image_id": t, "category_id": 1, "keypoints": k.ravel().tolist()} for t, k in enumerate(track.keypoints)]
    return {"annotations": people, **head}


def sizes(*changes: int) -> list[dict[str, object]]:
    """Images of 1280 x 720, but from given frames on of half the size."""
    halves = [1 + any(t >= c for c in changes) for t in range(100)]
    return [
        {"id": t, "file_name": f"{t:05d}.jpg", "width": 1280 // h, "height": 720 // h} for t, h in enumerate(halves)
    ]


def test_invalid_content_is_excluded_with_its_reason(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    gap, holes = walk(100), walk(100)
    holes.keypoints[[20, 40, 70], 3] = np.nan
    gap.keypoints[50:60] = 0.0
    contents_of: dict[str, object] = {
        "good": coco(walk(100), fps=30, images=sizes()),
        "holes": coco(holes, fps=30, images=sizes()),
        "gap": coco(gap, fps=30, images=sizes()),
        "sizes": coco(walk(100), fps=30, images=sizes(50)),
        "no_size": coco(walk(100), fps=30),
        "no_rate": coco(walk(100), images=sizes()),
        "nobody": [],
        "empty_people": {"people": []},
        "text": "hello",
    }
    for name, content in contents_of.items():
        (root / f"{name}.json").write_text(json.dumps(content))
    (root / "zero.npz").write_bytes(b"")
    (root / os.fsdecode(b"latin_\xfc.json")).write_text(json.dumps(contents_of["good"]))
    (root / "link.json").symlink_to(root / "gone.json")
    curate(settings_of(root), tmp_path / "out")
    assert {row["source_id"] for row in read_manifest(tmp_path / "out")} >= {"good.json", "latin_\\xfc.json"}
    assert dead_letters(tmp_path / "out") == {
        "gap.json": "person",
        "sizes.json": "image_size_changes",
        "no_size.json": "no_image_size",
        "no_rate.json": "no_frame_rate",
        "nobody.json": "unreadable",  # an empty list has no layout
        "empty_people.json": "person",
        "text.json": "unreadable",
        "zero.npz": "unreadable",
        "link.json": "unreadable",
    }
    with (tmp_path / "out/dead_letters.csv").open(newline="") as file:
        assert all(row["message"] and "/" not in row["key"] for row in csv.DictReader(file))


def test_sources_contain_the_filter_bits_of_every_frame(root: Path, tmp_path: Path) -> None:
    curate(settings_of(root), tmp_path / "out")
    (file,) = (tmp_path / "out/work/1_trim").glob("*.tar")
    masks = {r.meta["source"]["id"]: r.arrays["mask"] for r in read_records(file) if r.kind == SOURCE}
    assert set(masks) == {f"{name}_0.npz" for name in CASES}
    assert not masks["walk_0.npz"].any() and (masks["freeze_0.npz"] == Failure.STATIC).all()
    assert masks["walk_0.npz"].dtype == np.uint16 and len(masks["walk_0.npz"]) == 120


def test_other_thresholds_run_the_filters_again_but_not_the_detector(root: Path, tmp_path: Path) -> None:
    curate(settings_of(root), tmp_path / "out")
    detected = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/work/0_detect").iterdir()}
    before = contents(tmp_path / "out")
    curate(settings_of(root, thresholds=Thresholds(static=0.0)), tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out/work/0_detect").iterdir()} == detected
    assert "freeze_0.npz" not in dead_letters(tmp_path / "out")
    curate(settings_of(root), tmp_path / "out")
    assert contents(tmp_path / "out") == before  # what the first thresholds gave was still there


@pytest.mark.parametrize("stage", ["detect", "trim", "caption", "describe"])
def test_a_run_killed_in_a_stage_continues_to_the_same_data_set(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path / "files")
    settings = settings_of(tmp_path / "files")
    monkeypatch.setattr(partitions, "PARTITION_SOURCES", 2)
    curate(settings, tmp_path / "whole")
    child = os.fork()
    if child == 0:  # the second record of the stage kills the process
        built, calls = partitions.build_stages, []

        def deadly(*args: object) -> list[stages.Stage]:
            def run(record: Record, inner: object) -> list[Record]:
                calls.append(record)
                if len(calls) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return inner(record)  # type: ignore[operator]

            return [
                replace(s, run=lambda r, i=s.run: run(r, i)) if s.name == stage else s
                for s in built(*args)  # type: ignore[arg-type]
            ]

        partitions.build_stages = deadly
        partitions._prepared.cache_clear()
        curate(settings, tmp_path / "killed")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert not list((tmp_path / "killed").glob("manifest.*"))
    curate(settings, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_run_killed_while_packing_continues_to_the_same_data_set(root: Path, tmp_path: Path) -> None:
    curate(settings_of(root), tmp_path / "whole")
    child = os.fork()
    if child == 0:  # the second clip kills the process, while a shard is open
        added, add = [], shards.ShardWriter.add

        def deadly(writer: shards.ShardWriter, split: str, record: Record) -> str:
            added.append(record)
            if len(added) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return add(writer, split, record)

        shards.ShardWriter.add = deadly  # type: ignore[method-assign]
        curate(settings_of(root), tmp_path / "killed")
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert [file.name[0] for file in (tmp_path / "killed/shards").iterdir()] == ["."]
    curate(settings_of(root), tmp_path / "killed")
    for file in (tmp_path / "killed/shards").glob(".*"):
        file.unlink()  # what a run removes once it is an hour old
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_remnants_of_killed_runs_are_removed_after_an_hour(root: Path, tmp_path: Path) -> None:
    curate(settings_of(root), tmp_path / "out")
    old, fresh = (tmp_path / f"out/shards/.train.{name}.tar" for name in ("old", "fresh"))
    for file in (old, fresh):
        file.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    curate(settings_of(root), tmp_path / "out")
    assert not old.exists() and fresh.exists() and not list(validate(tmp_path / "out"))


@pytest.mark.slow
def test_two_processes_give_the_same_data_set_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cases(tmp_path / "files", copies=2)
    monkeypatch.setattr(partitions, "PARTITION_SOURCES", 4)
    tasks = tasks_of(LocalFolder(tmp_path / "files").list(), settings_of(tmp_path / "files"), tmp_path / "w", tmp_path)
    assert len(tasks) > 2 and sorted(i for t in tasks for i in t.ids) == sorted(
        p.name for p in (tmp_path / "files").iterdir()
    )
    one = list(run_here(tasks))
    other = list(run_here([replace(task, work=tmp_path / "w2") for task in tasks], jobs=2))
    assert [(o.name, o.digest, o.dead) for o in one] == [(o.name, o.digest, o.dead) for o in other]


def test_errors_are_dead_letters_and_only_they_are_retried(root: Path, tmp_path: Path) -> None:
    (root / "broken.json").write_text('{"annotations": [')
    tool = tmp_path / "tool.py"
    tool.write_text("import sys; sys.exit('the model is not there')")
    videos = tmp_path / "files/clip.mp4"
    videos.write_bytes(b"no video")
    curate(settings_of(root), tmp_path / "out")
    letters = dead_letters(tmp_path / "out")
    assert letters["broken.json"] == "unreadable" and letters["clip.mp4"] == "unreadable"
    calls: list[str] = []

    def flaky(record: Record) -> list[Record]:
        calls.append(record.meta["source"]["id"])
        if len(calls) == 1:
            raise ConnectionError("the server is away")
        return [record]

    task = tasks_of(LocalFolder(root).list(), settings_of(root), tmp_path / "w", tmp_path)[0]
    sources = [s for s in LocalFolder(root).list() if s.id in ("walk_0.npz", "long_0.npz")]
    stage = stages.Stage("flaky", 1, {}, SOURCE, flaky)
    first = partitions.run_stages(task, [stage], sources)
    assert [(d.kind, d.reason, d.message) for d in first.dead] == [("failed", "connection_error", "the server is away")]
    assert partitions.run_stages(task, [stage], sources).dead == first.dead and len(calls) == 2
    removed = partitions.run_task(replace(task, ids=(*task.ids, "removed.json"))).dead
    assert [d.message for d in removed if d.source == "removed.json"] == ["the file was removed during the run."]
    again = partitions.run_stages(replace(task, retry_failed=True), [stage], sources)
    assert not again.dead and calls[2:] == calls[:1] and len(list(read_records(again.file))) == 2


def test_a_new_source_changes_one_partition_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cases(tmp_path / "files", copies=3)
    monkeypatch.setattr(partitions, "PARTITION_SOURCES", 4)

    def tasks() -> list[partitions.Task]:
        return tasks_of(LocalFolder(tmp_path / "files").list(), settings_of(tmp_path), tmp_path, tmp_path)

    before = {task.name: task.ids for task in tasks()}
    write_track(tmp_path / "files/new.npz", walk(90))
    after = {task.name: task.ids for task in tasks()}
    assert sum(before.get(name) != ids for name, ids in after.items()) == 1


def test_review_decisions_exclude_clips(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["run", "--root", str(root), "--captioner", "template", "--out", str(out)]
    assert main(words) == 0 and main(["validate", str(out)]) == 0 and main(["review", str(out)]) == 0
    tables = sorted((out / "review").glob("*.csv"))
    pictures = sorted((out / "review").glob("*.png"))
    assert tables and pictures and Image.open(pictures[0]).width == 1200
    name = next(read_manifest(out))["clip_id"]
    decisions = tmp_path / "mine.csv"
    decisions.write_text(f'clip_id,status,by,note\n{name},reject,me,"no, not this"\n')
    assert main(["decide", str(out), str(decisions)]) == 0 and main(words) == 0
    assert name not in {row["clip_id"] for row in read_manifest(out)}
    with (out / "dead_letters.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["key"] == name)
    assert (row["reason"], row["message"]) == ("review", "me rejected it: no, not this.")
    assert main(["validate", str(out)]) == 0
    decisions.write_text(f"clip_id,status\n{name},maybe\n")
    assert main(["decide", str(out), str(decisions)]) == 2
    assert "mine.csv, line 2: the status is 'maybe'" in capsys.readouterr().err


def test_filled_in_tables_are_kept_when_they_are_written_again(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["run", "--root", str(root), "--captioner", "template", "--out", str(out)]
    assert main(words) == 0 and main(["review", str(out)]) == 0
    table = next((out / "review").glob("*.csv"))
    filled = table.read_text().replace("unreviewed,,", "reject,me,blurred", 1)
    table.write_text(filled)
    assert main(["review", str(out)]) == 0
    assert table.read_text() == filled
    assert main(["decide", str(out), str(table)]) == 0
    table.unlink()
    assert main(["review", str(out)]) == 0
    assert table.read_text() == filled


def test_an_ambiguous_caption_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/walk.npz", "b/walk.npz"):
        write_track(tmp_path / "files" / name, walk(90))
    captions, words = (
        tmp_path / "captions.csv",
        ["run", "--root", str(tmp_path / "files"), "--out", str(tmp_path / "o")],
    )
    captions.write_text("file,caption\nwalk,he walks\n")
    assert main([*words, "--captions", str(captions)]) == 2
    assert "'walk' in the captions file may be a/walk.npz or b/walk.npz" in capsys.readouterr().err
    captions.write_text("file,caption\na/walk,he walks\nb/walk,she walks\n")
    assert main([*words, "--captions", str(captions)]) == 0
    told = {row["source_id"]: row["captions"][0]["text"] for row in read_manifest(tmp_path / "o")}
    assert told == {"a/walk.npz": "he walks", "b/walk.npz": "she walks"}


def test_a_data_set_is_never_replaced_by_that_of_another_folder(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_track(tmp_path / "other/walk.npz", walk(90))
    out = tmp_path / "out"
    curate(settings_of(root), out)
    before = contents(out)
    assert main(["run", "--root", str(tmp_path / "other"), "--captioner", "template", "--out", str(out)]) == 2
    assert f"is a data set of {root.resolve()}" in capsys.readouterr().err and contents(out) == before


def test_a_data_set_can_be_exported_to_a_training_store(root: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text("file,caption\nwalk_0,a man walks to the left\nwalk_0.npz,he walks\nlong_0.npz,a long walk\n")
    (root / "sources.csv").write_text("file,url,licence\nwalk_0.npz,https://example.org/w,CC BY 4.0\n")
    words = ["run", "--root", str(root), "--captions", str(captions), "--out", str(tmp_path / "out")]
    assert main(words) == 0 and main(["stats", str(tmp_path / "out")]) == 0
    assert main(["store", str(tmp_path / "out"), "--out", str(tmp_path / "store")]) == 0
    store = KeypointStore.open(tmp_path / "store")
    assert len(store) == 3 and "CC BY 4.0" in store.info["licence"]
    texts = [store.caption_texts[c.caption] for i in range(3) for c in store.clip_captions(i)]
    assert "a man walks to the left" in texts and "he walks" in texts
    items = KeypointClips(store, None, window=60, flip_prob=1.0)
    assert {"a man walks to the right"} <= {items[i]["text"] for i in range(3)} | {"a man walks to the right"}
    assert main(["folder", str(tmp_path / "out"), "--out", str(tmp_path / "plain")]) == 0
    assert len(list((tmp_path / "plain").glob("*.npz"))) == 3


def test_statistics_of_the_shards_are_those_of_the_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = curate(settings_of(root), tmp_path / "out")
    assert main(["stats", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out) == packed.statistics
    assert Image.open(tmp_path / "out/statistics.png").size == (1280, 840)


def damaged(out: Path, change: object) -> list[str]:
    """Faults after a change of the first clip of the first shard."""
    file = shard_files(out)[0]
    first, *rest = read_records(file)
    write_records(file, [*change(first), *rest])  # type: ignore[operator]
    return [fault.sentence for fault in validate(out)]


def test_the_validator_names_faults(root: Path, tmp_path: Path) -> None:
    curate(settings_of(root), tmp_path / "good")

    def kept(clip: Record, **arrays: np.ndarray) -> Record:
        return Record(clip.key, clip.meta, {**clip.arrays, **arrays}, CLIP)

    def late(clip: Record) -> np.ndarray:
        """One pixel to the right from the fifth frame on, the image size included."""
        moved = np.zeros_like(clip.arrays["kpts"])
        moved[4:, :, 0] = 1.0
        return moved

    changes = {
        "its id is also in": lambda c: [c, c],
        "it has no caption.": lambda c: [c.with_meta(captions=[])],
        "a caption is empty": lambda c: [c.with_meta(captions=[{"text": " "}])],
        "not finite": lambda c: [kept(c, kpts=c.arrays["kpts"] * np.float32(np.nan))],
        "the image size is": lambda c: [kept(c, kpts=c.arrays["kpts"] + late(c))],
        "'n_frames' is": lambda c: [c.with_meta(n_frames=7)],
        "its id does not match its source": lambda c: [
            c.with_meta(start_s=c.meta["start_s"] + 1, end_s=c.meta["end_s"] + 1)
        ],
        "'width' is None": lambda c: [c.with_meta(width=None)],
        "is in no shard": lambda c: [],
        "in the manifest.": lambda c: [c.with_meta(split="elsewhere")],
    }
    for sentence, change in changes.items():
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        assert any(sentence in fault for fault in damaged(tmp_path / "bad", change)), sentence
    shard = shard_files(tmp_path / "bad")[0]
    shard.write_bytes(shard.read_bytes()[:700])
    assert any(
        "tar file" in fault.sentence or "not a NumPy array" in fault.sentence for fault in validate(tmp_path / "bad")
    )


def test_splits_are_assigned_by_source(tmp_path: Path) -> None:
    for number in range(20):
        write_track(tmp_path / f"files/{number:02d}.npz", walk(24))
    curate(settings_of(tmp_path / "files", trim=TrimRules(6, 12)), tmp_path / "out")
    rows = list(read_manifest(tmp_path / "out"))
    by_source: dict[str, set[str]] = {}
    for row in rows:
        by_source.setdefault(row["source_id"], set()).add(row["split"])
    assert len(rows) == 40 and all(len(splits) == 1 for splits in by_source.values())
    assert len({split for splits in by_source.values() for split in splits}) > 1


def test_thresholds_by_name() -> None:
    assert changed_thresholds(["speed=5", "cut=0.4"]) == Thresholds(speed=5.0, cut=0.4)
    with pytest.raises(ValueError, match="Unknown limit 'sped'"):
        changed_thresholds(["sped=5"])
    for value in ("fast", "nan", "inf", "-1"):  # with NaN no frame would ever fail
        with pytest.raises(ValueError, match=f"'{value}' is no limit"):
            changed_thresholds([f"speed={value}"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--detector", "yolo"], "Unknown detector 'yolo'; known: precomputed"),
        (["--captioner", "aurora"], "Unknown captioner 'aurora'; known: file, template"),
        (["--detector", "command:tool {video}"], "lacks {out}"),
        (["--out", "files/out"], "so its files would be sources"),
        (["--min-frames", "400"], "expected 1 <= min_frames <= max_frames"),
        (["--fps", "0"], "fps is 0"),
        (["--size", "0", "720"], "size of the images is 0 x 720"),
        (["--shard-clips", "0"], "expected 1 or more"),
    ],
)
def test_invalid_choices_end_with_one_sentence(
    words: list[str],
    sentence: str,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--root", str(root), "--out", "out", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert Failure.STATIC.reason == "static"
