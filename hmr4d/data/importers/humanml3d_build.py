"""HumanML3D out of AMASS, HumanAct12, index.csv and texts: raw clips, features, joints3d.pth, texts and statistics.

Guo et al., "Generating Diverse and Natural 3D Human Motions from Text", CVPR 2022; HumanAct12 is by Guo et al.,
"Action2Motion", ACM Multimedia 2020, arXiv 2007.15240.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmr4d.data.importers.humanml3d import captions_of
from hmr4d.data.importers.humanml3d_clips import (
    FeatureTask,
    Outcome,
    SourceTask,
    feature_files,
    mirrored,
    save_array,
    write_features,
    write_raw_clips,
)
from hmr4d.data.importers.humanml3d_inventory import Inventory, Places, split_lists, take_inventory
from hmr4d.data.importers.humanml3d_release import (
    MAKES,
    IndexRow,
    count_differences,
    mirror_clip,
    published_release,
    rows_per_subset,
)
from hmr4d.data.importers.source_files import SourceFiles
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.motion.canonical import face_first_frame
from hmr4d.representation.hml263 import fit_statistics
from hmr4d.utils.files import atomic_path, file_hash, write_json, write_text
from hmr4d.utils.parallel import default_jobs, ordered_map
from hmr4d.utils.progress import progress
from hmr4d.utils.text_files import decode_text, read_text

logger = logging.getLogger(__name__)

_MADE = {
    "new_joints": ("new_joints", "new_joint_vecs", "Mean.npy", "Std.npy", "statistics.npz"),
    "joints3d": ("joints3d.pth",),
}
_SPLITS = ("train", "val", "test", "train_val", "all")
_CLIPS_PER_TASK = 32
_VERSION = 1  # of the rules by which clips are made; other rules make other clips


@dataclass
class BuildReport:
    """Report of the build.

    Attributes:
        path: folder of the result.
        record: file that holds this report.
        num_clips: rows of index.csv with joints. counts: counts by the names of `count_differences`. differences:
            messages about differences from the release. problems: reason -> details of the skipped clips, features or
            texts.
        remarks: remark -> names of clips.
    """

    path: Path
    record: Path
    num_clips: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)

    @property
    def num_problems(self) -> int:
        return sum(map(len, self.problems.values()))

    def take(self, outcomes: Iterable[Outcome], journal: Path) -> None:
        """Sorts outcomes in; remarks go to a file too, for a later run does not meet finished clips again."""
        for outcome in outcomes:
            if outcome.problem:
                self.problems.setdefault(outcome.problem, []).append(f"{outcome.name}: {outcome.detail}")
            if outcome.remark:
                self.remarks.setdefault(outcome.remark, []).append(outcome.name)
                with journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([outcome.remark, outcome.name]) + "\n")


def build_humanml3d(
    places: Places,
    *,
    make: Sequence[str] = MAKES,
    jobs: int | None = None,
    allow_missing: bool = False,
    overwrite: bool = False,
) -> BuildReport:
    """Builds HumanML3D as published, in one pass over the sources; an interrupted run continues.

    Args:
        places: paths of the parts and of the result. make: "new_joints" for features, the joints that they represent
            and their statistics; "joints3d" for joints3d.pth, joints of the actors' own size that face +z in the first
            frame. Both include the texts.
        jobs: worker processes; None: one per core.
        allow_missing: build what the available parts allow. overwrite: delete earlier results in `places.out`, except
            texts.

    Raises:
        FileNotFoundError: missing parts; all are listed before any work. ValueError: a different result exists,
            index.csv or an archive is damaged, or there is no clip.
    """
    inventory = take_inventory(places, allow_missing=allow_missing)
    report = BuildReport(places.out, places.notes / "record.json")
    jobs = default_jobs() if jobs is None else jobs
    record = _open_record(places, inventory, make, overwrite)
    journal = places.notes / "remarks.jsonl"
    if journal.is_file():
        for line in dict.fromkeys(journal.read_text(encoding="utf-8").splitlines()):
            remark, name = json.loads(line)
            report.remarks.setdefault(remark, []).append(name)

    raw = places.notes / "raw_joints"
    report.take(_make_raw_clips(inventory, raw, jobs), journal)
    rows = [row for row in inventory.rows if (raw / f"{row.name}.npy").is_file()]
    if not rows:
        reasons = "; ".join(details[0] for details in report.problems.values())
        raise ValueError(f"No clip came out of {len(inventory.rows)} rows of index.csv. For example {reasons}.")
    report.num_clips = len(rows)
    report.counts = _count(inventory, rows, raw)
    if "new_joints" in make:
        report.take(_make_features(rows, raw, places.out, jobs), journal)
        _make_statistics(rows, places.out, report)
    if "joints3d" in make:
        _make_joints3d(rows, raw, places.out / "joints3d.pth", record)
    report.take(_make_texts(inventory.texts, rows, places.out / "texts", overwrite), journal)
    report.differences += _copy_splits(places, rows, report)
    report.differences = count_differences(report.counts) + report.differences
    findings = {key: value for key, value in asdict(report).items() if key not in ("path", "record")}
    write_json(report.record, record | findings | {"is_complete": True})
    _log(report)
    return report


def _open_record(places: Places, inventory: Inventory, make: Sequence[str], overwrite: bool) -> dict[str, Any]:
    """The record of an earlier run with the same index and body models, or a new one; clears unfinished files."""
    path = places.notes / "record.json"
    record: dict[str, Any] = {"settings": None, "begun": [], "joints3d": None}
    if overwrite:
        shutil.rmtree(places.notes, ignore_errors=True)
    elif path.is_file():
        record |= json.loads(path.read_text(encoding="utf-8"))
    there = [
        places.out / n for key in make if key not in record["begun"] for n in _MADE[key] if (places.out / n).exists()
    ]
    if there and not overwrite:
        raise ValueError(
            f"{', '.join(map(str, there))}: not created by this command. Choose another --out, or --overwrite."
        )
    for target in there:
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    models = {gender: file_hash(model) for gender, model in inventory.models.items()}
    settings = {"version": _VERSION, "rows": _rows_hash(inventory.rows), "models": models}
    if (old := record["settings"]) is not None:
        same_models = all(models.get(gender, known) == known for gender, known in old["models"].items())
        if (old["version"], old["rows"]) != (_VERSION, settings["rows"]) or not same_models:
            raise ValueError(
                f"{places.out} was started with another index.csv, other body models or another version of this "
                "program. "
                "Choose another --out, or pass --overwrite."
            )
        settings["models"] = old["models"] | models
    begun = sorted({*record["begun"], *make})
    record = {"settings": settings, "begun": begun, "is_complete": False, "joints3d": record["joints3d"]}
    write_json(path, record)
    _remove_leftovers(places)
    return record


def _remove_leftovers(places: Places) -> None:
    """Removes the partially written temporary files of a killed run."""
    patterns = [f"{folder}/.*.npy" for folder in ("preparation/raw_joints", "new_joints", "new_joint_vecs")]
    patterns += [
        "texts/.*.txt",
        ".joints3d.*.pth",
        ".Mean.*.npy",
        ".Std.*.npy",
        *(f".{name}.*.txt" for name in _SPLITS),
    ]
    for leftover in (path for pattern in patterns for path in places.out.glob(pattern)):
        leftover.unlink()


def _rows_hash(rows: Sequence[IndexRow]) -> str:
    return hashlib.sha256(json.dumps([asdict(row) for row in rows]).encode()).hexdigest()


def _make_raw_clips(inventory: Inventory, raw: Path, jobs: int) -> Iterator[Outcome]:
    """Raw clips of all sources, each source read once; sources whose clips are all there are not read."""
    pending: dict[str, list[IndexRow]] = {}
    for row in inventory.rows:
        if not (raw / f"{row.name}.npy").is_file():
            pending.setdefault(row.key, []).append(row)
    there = set[str]().union(*(files.keys() for files in inventory.motions))
    for key in pending.keys() - there:
        yield from (Outcome(row.name, "source missing", row.source) for row in pending[key])
    wanted = pending.keys() & there

    def tasks() -> Iterator[SourceTask]:
        for files in inventory.motions:
            for key, content in files.read(wanted & files.keys()):
                yield SourceTask(content, tuple(pending[key]), inventory.models, raw)

    for outcomes in progress(ordered_map(write_raw_clips, tasks(), jobs), "joints", total=len(wanted), unit="source"):
        yield from outcomes


def _make_features(rows: Sequence[IndexRow], raw: Path, out: Path, jobs: int) -> Iterator[Outcome]:
    names = [row.name for row in rows if not all(path.is_file() for path in feature_files(out, row.name))]
    groups = [tuple(names[i : i + _CLIPS_PER_TASK]) for i in range(0, len(names), _CLIPS_PER_TASK)]
    tasks = [FeatureTask(group, raw, out) for group in groups]
    for outcomes in progress(ordered_map(write_features, tasks, jobs), "features", total=len(tasks), unit="batch"):
        yield from outcomes


def _make_statistics(rows: Sequence[IndexRow], out: Path, report: BuildReport) -> None:
    """Mean.npy and Std.npy over all features, mirrored ones included, and both with their origin as statistics.npz."""
    paths = [path for row in rows for path in feature_files(out, row.name)[1::2] if path.is_file()]
    report.counts["feature_clips"] = len(paths)
    if not paths:
        return
    features = progress(paths, "statistics", unit="clip")
    statistics = fit_statistics(features, name="humanml3d_built", source=f"{len(paths)} clips built from AMASS")
    report.counts["statistics_rows"] = statistics.num_rows
    with atomic_path(out / "statistics.npz") as temporary:
        statistics.save(temporary)
    save_array(out / "Mean.npy", statistics.mean)
    save_array(out / "Std.npy", statistics.std)


class _Table:
    """Pickles as a dict whose items are created while they are written, so that only one is in memory."""

    def __init__(self, items: Iterator[tuple[str, Any]]) -> None:
        self._items = items

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), None, None, self._items


def write_joints3d(path: Path, clips: Iterable[tuple[str, str, np.ndarray]]) -> None:
    """Writes joints3d.pth: clip name with ".npy" -> {"joints3d": (L, 22, 3) float32, "name": source}.

    The file has the format of torch.save for such a dict of arrays; it contains only arrays, text and containers.
    """
    items = ((f"{name}.npy", {"joints3d": joints3d, "name": source}) for name, source, joints3d in clips)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        # An explicit ZipInfo has no time stamp, so that the same clips give the same file.
        with archive.open(zipfile.ZipInfo("joints3d/data.pkl"), "w", force_zip64=True) as stream:
            pickler = pickle.Pickler(stream, protocol=4)
            pickler.fast = True  # no memo, which would keep all arrays in memory
            pickler.dump(_Table(items))
        archive.writestr(zipfile.ZipInfo("joints3d/byteorder"), "little")
        archive.writestr(zipfile.ZipInfo("joints3d/version"), "3\n")


def _make_joints3d(rows: Sequence[IndexRow], raw: Path, path: Path, record: dict[str, Any]) -> None:
    """Every clip and its mirrored copy, above the origin and facing +z in the first frame, not scaled and not moved
    to the floor."""
    names = [row.name for row in rows]
    if path.is_file() and record["joints3d"] == {"clips": names, "bytes": path.stat().st_size}:
        return

    def clips() -> Iterator[tuple[str, str, np.ndarray]]:
        for row in progress(rows, path.name, unit="clip"):
            joints3d = np.load(raw / f"{row.name}.npy", allow_pickle=False)
            for name, clip in ((row.name, joints3d), (mirrored(row.name), mirror_clip(joints3d))):
                yield name, row.source, face_first_frame(torch.from_numpy(clip)).numpy()

    write_joints3d(path, clips())
    record["joints3d"] = {"clips": names, "bytes": path.stat().st_size}


def mirror_text_file(text: str) -> str:
    """The text file of a mirrored clip: left and right, and the senses of turning, swapped in captions and tokens."""
    lines = [line.strip().rsplit("#", 3) for line in text.splitlines() if line.strip()]
    return "".join(
        "#".join([mirror_text(caption), mirror_text(tokens), *times]) + "\n" for caption, tokens, *times in lines
    )


def _make_texts(files: SourceFiles, rows: Sequence[IndexRow], out: Path, overwrite: bool) -> Iterator[Outcome]:
    """Copies texts; a mirrored clip without its own text gets the mirrored text."""
    there = files.keys()
    wanted: dict[str, list[str]] = {}  # text to read -> clips to write
    for name, plain in ((n, row.name) for row in rows for n in (row.name, mirrored(row.name))):
        source = name if name in there else plain
        if source in there and (overwrite or not (out / f"{name}.txt").is_file()):
            wanted.setdefault(source, []).append(name)
    for source, content in progress(files.read(wanted), "texts", total=len(wanted), unit="file"):
        try:
            data = content if isinstance(content, bytes) else content.read_bytes()
            text = decode_text(data, f"{source}.txt")
            captions_of(text, f"{source}.txt")
        except ValueError as error:
            yield Outcome(source, "text unreadable", str(error))
            continue
        for name in wanted[source]:
            write_text(out / f"{name}.txt", text if name == source else mirror_text_file(text))


def _count(inventory: Inventory, rows: Sequence[IndexRow], raw: Path) -> dict[str, int]:
    counts = {"rows": len(inventory.rows)}
    counts |= {f"clips {subset}": number for subset, number in rows_per_subset(rows).items()}
    lengths = [np.load(raw / f"{r.name}.npy", mmap_mode="r").shape[0] for r in rows if not r.is_humanact12]
    counts["amass_clips_of_200_frames"] = sum(length == 200 for length in lengths)
    counts["amass_clips_below_40_frames"] = sum(length < 40 for length in lengths)
    return counts


def _copy_splits(places: Places, rows: Sequence[IndexRow], report: BuildReport) -> list[str]:
    """Copies the existing split lists, counts them, and reports lists with unknown clips."""
    names = {n for row in rows for n in (row.name, mirrored(row.name))}
    found, differences = split_lists(places, _SPLITS), []
    for split, path in found.items():
        text = read_text(path)
        listed = text.split()
        if split in published_release().splits:
            report.counts[f"split {split}"] = len(listed)
        if lacking := [name for name in listed if name not in names]:
            differences.append(f"{split}.txt: {len(lacking):,} of {len(listed):,} clips were not built")
        target = places.out / path.name
        if not (target.is_file() and target.read_text(encoding="utf-8") == text):
            write_text(target, text)
    if not found:
        differences.append(
            f"split lists: none next to {places.texts} or {places.index}; pass their folder with --splits"
        )
    return differences


def _log(report: BuildReport) -> None:
    for remark, names in report.remarks.items():
        logger.info("%d clips: %s (%s%s).", len(names), remark, ", ".join(names[:5]), ", ..." if len(names) > 5 else "")
    for problem, details in report.problems.items():
        logger.warning(
            "%d clips skipped, %s: %s%s", len(details), problem, details[0], ", ..." if len(details) > 1 else ""
        )
    if report.differences:
        logger.warning(
            "Differs from the release in %d points: %s.", len(report.differences), "; ".join(report.differences)
        )
