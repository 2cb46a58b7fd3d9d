"""Runs stages over partitions of the sources; finished partitions are not repeated after an interruption.

Every stage has a folder in the work folder. The result of a partition is `<partition>-<key>.tar` with the done-marker
`<partition>-<key>.json`, which lists the excluded records. The key is a hash of the previous result, the stage, its
version and its settings. New thresholds therefore repeat only the filters and later stages, and earlier results are
kept. Both files are written atomically; without the marker the work is repeated.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hmr4d.curation.records import CLIP, Record, Rejected, read_records, source_key, write_records
from hmr4d.curation.sources import Source, open_sources
from hmr4d.curation.stages import Settings, Stage, build_stages
from hmr4d.utils.files import file_hash, write_json
from hmr4d.utils.parallel import ordered_map
from hmr4d.utils.progress import progress
from hmr4d.utils.text_files import printable

logger = logging.getLogger(__name__)

REJECTED, FAILED = "rejected", "failed"
PARTITION_SOURCES = 200
_LONGEST = 400  # characters; longest message


@dataclass(frozen=True)
class DeadLetter:
    """An excluded source or clip.

    Attributes:
        stage: name of the stage.
        key: key of the record.
        source: id of the source.
        kind: REJECTED by a rule, or FAILED by an error that may be temporary.
        reason: short name of the reason.
        message: sentence with the reason.
    """

    stage: str
    key: str
    source: str
    kind: str
    reason: str
    message: str


@dataclass(frozen=True)
class Task:
    """One partition, the input of a worker.

    Attributes:
        name: name of the partition.
        ids: ids of its sources.
        settings: settings of the stages.
        work: folder of the results.
        videos: folder of the videos of clips.
        retry_failed: whether failed records are tried again.
        run: id of the run; a worker lists the source folder once per run.
    """

    name: str
    ids: tuple[str, ...]
    settings: Settings
    work: Path
    videos: Path
    retry_failed: bool = False
    run: str = ""


@dataclass(frozen=True)
class Outcome:
    """Result of a partition.

    Attributes:
        name: name of the partition.
        file: records after the last stage.
        digest: SHA-256 of the file.
        dead: excluded records of each stage.
        stages_run: number of stages that were run now.
    """

    name: str
    file: Path
    digest: str
    dead: tuple[DeadLetter, ...]
    stages_run: int = 0


@dataclass
class _Marker:
    digest: str
    dead: list[DeadLetter] = field(default_factory=list)


def tasks_of(
    sources: Iterable[Source], settings: Settings, work: Path, videos: Path, *, retry_failed: bool = False
) -> list[Task]:
    """Partitions of sources by the first digits of their keys; a new source changes one partition only."""
    ids = sorted((source_key(source.id), source.id) for source in sources)
    bits = max(math.ceil(math.log2(max(len(ids) / PARTITION_SOURCES, 1))), 0)
    groups: dict[int, list[str]] = {}
    run = uuid.uuid4().hex
    for key, name in ids:
        groups.setdefault(int(key[:8], 16) >> (32 - bits) if bits else 0, []).append(name)
    return [
        Task(f"part-{number:05d}", tuple(group), settings, work, videos, retry_failed, run)
        for number, group in sorted(groups.items())
    ]


@functools.lru_cache(maxsize=2)
def _prepared(settings: Settings, videos: Path, run: str) -> tuple[list[Stage], dict[str, Source]]:
    """Stages and sources, computed once per process and run."""
    return build_stages(settings, videos), {source.id: source for source in open_sources(settings.root).list()}


def run_task(task: Task) -> Outcome:
    """Runs all stages of one partition. Repeated and concurrent runs are safe."""
    stages, sources = _prepared(task.settings, task.videos, task.run)
    outcome = run_stages(task, stages, [sources[name] for name in task.ids if name in sources])
    gone = [name for name in task.ids if name not in sources]
    sentence = "the file was removed during the run."
    removed = (DeadLetter("list", source_key(name), name, FAILED, "unreadable", sentence) for name in gone)
    return replace(outcome, dead=(*removed, *outcome.dead))


def run_stages(task: Task, stages: Sequence[Stage], sources: Sequence[Source]) -> Outcome:
    """Runs given stages of one partition."""
    dead: list[DeadLetter] = []
    records: list[Record] = []
    for source in sources:
        try:
            records.append(source.record())
        except OSError as error:
            key = source_key(source.id)
            dead.append(DeadLetter("list", key, source.id, FAILED, "unreadable", _sentence(error)))
    fingerprints = [(record.meta["source"], record.meta["fingerprints"]) for record in records]
    digest, file = _hash(fingerprints), None
    stages_run = 0
    for number, stage in enumerate(stages):
        key = _hash([digest, stage.name, stage.version, dict(stage.settings)])[:16]
        out = task.work / f"{number}_{stage.name}" / f"{task.name}-{key}.tar"
        marker = _read_marker(out)
        again = (
            {letter.key for letter in marker.dead if letter.kind == FAILED} if marker and task.retry_failed else set()
        )
        if marker is None or again:
            before = records if file is None else list(read_records(file))
            marker = _run_stage(stage, before, out, again, marker)
            stages_run += 1
        digest, file = marker.digest, out
        dead += marker.dead
    assert file is not None  # there are always stages
    return Outcome(task.name, file, digest, tuple(dead), stages_run)


def _run_stage(stage: Stage, records: list[Record], out: Path, again: set[str], old: _Marker | None) -> _Marker:
    """Runs a stage over the records of a partition, or over those that failed before, and saves the result."""
    made: dict[str, Record] = {}
    dead: list[DeadLetter] = []
    if old is not None:
        made = {record.key: record for record in read_records(out)}
        dead = [letter for letter in old.dead if letter.key not in again]
    for record in records:
        if record.kind != stage.takes:
            made[record.key] = record
        elif old is None or record.key in again:
            results = _tried(stage, record, dead)
            made |= {result.key: result for result in results}
    write_records(out, (made[key] for key in sorted(made)))
    marker = _Marker(file_hash(out), sorted(dead, key=lambda letter: letter.key))
    write_json(out.with_suffix(".json"), {"digest": marker.digest, "dead": [vars(letter) for letter in marker.dead]})
    return marker


def _tried(stage: Stage, record: Record, dead: list[DeadLetter]) -> list[Record]:
    """Result of a stage for a record; what remains of it, with an entry in `dead`, if it is excluded."""
    source = str(record.meta["source"]["id"])
    try:
        return stage.run(record)
    except Rejected as error:
        dead.append(DeadLetter(stage.name, record.key, source, REJECTED, error.reason, _sentence(error)))
        return list(error.kept)
    except Exception as error:  # one bad source never stops a run
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(error).__name__).strip("_")
        dead.append(DeadLetter(stage.name, record.key, source, FAILED, name, _sentence(error)))
    return []


def _sentence(error: Exception) -> str:
    return printable(" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]


def _read_marker(out: Path) -> _Marker | None:
    """The done-marker of an outcome; None if it or its file does not exist."""
    marker = out.with_suffix(".json")
    if not (marker.is_file() and out.is_file()):
        return None
    try:
        content = json.loads(marker.read_text("utf-8"))
        return _Marker(content["digest"], [DeadLetter(**letter) for letter in content["dead"]])
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged (%s); its work is repeated.", marker, error)
        return None


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def run_here(tasks: Sequence[Task], jobs: int = 1) -> Iterator[Outcome]:
    """Results of all partitions in order, computed by `jobs` processes of this machine; 1: in the current process."""
    yield from progress(ordered_map(run_task, tasks, jobs), "curate", total=len(tasks), unit="partition")


def run_on_ray(
    tasks: Sequence[Task], workers: int | None = None, *, run: Callable[[Task], Outcome] = run_task
) -> Iterator[Outcome]:
    """Results of all partitions, computed by Ray Data on this machine or on the cluster of RAY_ADDRESS. Partitions of a
    failed worker are computed by another one.

    Args:
        tasks: partitions.
        workers: number of concurrent partitions; None: number of cores.
        run: function that processes a partition.

    Raises:
        ImportError: Ray is not installed.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("The backend 'ray' needs Ray. Install it: pip install 'hmr4d[curation]'.") from error
    if not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, include_dashboard=False)
    rows = [{"number": number, "task": task} for number, task in enumerate(tasks)]
    count = len(rows)
    data = ray.data.from_items(rows, override_num_blocks=count).map(
        lambda row: {"number": row["number"], "outcome": run(row["task"])}, concurrency=workers, num_cpus=1
    )
    outcomes = {row["number"]: row["outcome"] for row in data.iter_rows()}
    yield from (outcomes[number] for number in range(count))


BACKENDS: dict[str, Callable[..., Iterator[Outcome]]] = {"local": run_here, "ray": run_on_ray}


def clips_of(outcome: Outcome) -> Iterator[Record]:
    """The clips of a partition after the last stage."""
    return (record for record in read_records(outcome.file) if record.kind == CLIP)
