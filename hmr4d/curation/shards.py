"""Output of curation: WebDataset shards, manifest, statistics and the table of excluded clips."""

from __future__ import annotations

import csv
import io
import logging
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hmr4d.curation.clip_statistics import DatasetStatistics
from hmr4d.curation.manifest import ManifestWriter, manifest_row
from hmr4d.curation.partitions import REJECTED, DeadLetter, Outcome, clips_of
from hmr4d.curation.records import Record, RecordWriter, read_records
from hmr4d.curation.review import Decision
from hmr4d.utils.files import atomic_path, write_json, write_text

logger = logging.getLogger(__name__)

SHARDS, STATISTICS, DEAD_LETTERS = "shards", "statistics.json", "dead_letters.csv"
SHARD_CLIPS = 2000
STATISTICS_ONLY = ("keypoint_speed",)  # entries of a clip's JSON that are used for statistics only


@dataclass(frozen=True)
class Packed:
    """The written data set.

    Attributes:
        folder: folder of the data set.
        clips: number of clips per split.
        dead: excluded sources and clips.
        statistics: content of statistics.json.
    """

    folder: Path
    clips: Counter[str]
    dead: Sequence[DeadLetter]
    statistics: dict[str, Any]


class ShardWriter:
    """Writes clips to `<split>-<number>.tar`, up to `size` clips each; shards are written atomically."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.written: list[str] = []
        self._open: dict[str, tuple[str, RecordWriter, ExitStack, int]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, split: str, record: Record) -> str:
        """Writes a clip and returns the name of its shard."""
        if split not in self._open:
            name = f"{split}-{self._counts[split]:05d}.tar"
            stack = ExitStack()
            temporary = stack.enter_context(atomic_path(self.folder / name))
            tar = stack.enter_context(tarfile.TarFile(temporary, "w", format=tarfile.USTAR_FORMAT))
            self._open[split] = (name, RecordWriter(tar), stack, 0)
            self._counts[split] += 1
        name, writer, stack, count = self._open[split]
        writer.add(record)
        self._open[split] = (name, writer, stack, count + 1)
        if count + 1 == self.size:
            self._close(split)
        return name

    def _close(self, split: str) -> None:
        name, _, stack, _ = self._open.pop(split)
        stack.close()
        self.written.append(name)

    def finish(self) -> None:
        """Completes the open shards and removes shards of an earlier run."""
        for split in sorted(self._open):
            self._close(split)
        for old in set(_whole_tars(self.folder)) - {self.folder / name for name in self.written}:
            old.unlink()

    def abandon(self) -> None:
        """Removes the open shards."""
        for _, _, stack, _ in self._open.values():
            stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def pack(
    outcomes: Iterable[Outcome], out: Path, *, decisions: Mapping[str, Decision], size: int = SHARD_CLIPS
) -> Packed:
    """Writes all files of a data set. Equal results and decisions give equal files.

    Clips that a review rejects, and clips with a duplicate id, are excluded with this reason.

    Args:
        outcomes: results of all partitions, in order.
        out: output folder.
        decisions: clip id -> decision of the review.
        size: clips per shard.
    """
    statistics, dead, seen = DatasetStatistics(), [], set[str]()
    shards = ShardWriter(out / SHARDS, size)
    try:
        with ManifestWriter(out) as manifest:
            for outcome in outcomes:
                dead += outcome.dead
                for record in clips_of(outcome):
                    clip = _reviewed(record, decisions)
                    if letter := _left_out(clip, seen):
                        dead.append(letter)
                        continue
                    seen.add(clip.key)
                    statistics.add(clip.meta)
                    meta = {name: value for name, value in clip.meta.items() if name not in STATISTICS_ONLY}
                    shard = shards.add(meta["split"], Record(clip.key, meta, clip.arrays))
                    manifest.add(manifest_row(meta, shard))
        shards.finish()
    except BaseException:
        shards.abandon()
        raise
    dead.sort(key=lambda letter: (letter.source, letter.stage, letter.key))
    write_dead_letters(out / DEAD_LETTERS, dead)
    table = statistics.table()
    write_json(out / STATISTICS, table)
    if unknown := sorted(decisions.keys() - seen - {letter.key for letter in dead}):
        logger.warning("The review contains %d clips that do not exist, such as %s.", len(unknown), unknown[0])
    return Packed(out, statistics.clips, dead, table)


def _reviewed(record: Record, decisions: Mapping[str, Decision]) -> Record:
    decision = decisions.get(record.key)
    return record if decision is None else record.with_meta(review=decision.as_json())


def _left_out(clip: Record, seen: set[str]) -> DeadLetter | None:
    """The reason why a clip is excluded from the shards, or None."""
    source, review = clip.meta["source"]["id"], clip.meta["review"]
    if clip.key in seen:
        return DeadLetter("pack", clip.key, source, REJECTED, "duplicate", "another clip has this id.")
    if review["status"] == "reject":
        note = f"{review['by'] or 'the review'} rejected it{': ' + review['note'] if review['note'] else ''}."
        return DeadLetter("pack", clip.key, source, REJECTED, "review", note)
    return None


def write_dead_letters(path: Path, dead: Iterable[DeadLetter]) -> None:
    """Writes a CSV table of excluded sources and clips."""
    text = io.StringIO(newline="")
    names = [f.name for f in fields(DeadLetter)]
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(vars(letter) for letter in dead)
    write_text(path, text.getvalue())


def _whole_tars(folder: Path) -> list[Path]:
    """The tar files of a folder without unfinished ones, which are hidden files."""
    return sorted(file for file in folder.glob("*.tar") if not file.name.startswith("."))


def shard_files(folder: Path) -> list[Path]:
    """The shards of a data set, in order. Raises FileNotFoundError if there is none."""
    files = _whole_tars(folder / SHARDS)
    if not files:
        raise FileNotFoundError(
            f"{folder} contains no shards. Create them: hmr4d curate run --root VIDEOS --out {folder}."
        )
    return files


def read_clips(folder: Path) -> Iterator[tuple[str, Record]]:
    """Name of the shard and record of every clip of a data set."""
    return ((file.name, record) for file in shard_files(folder) for record in read_records(file))


def write_folder(folder: Path, out: Path) -> int:
    """Writes the clips of a data set as separate files `<id>.npz` and `<id>.json`; returns the number of clips."""
    import numpy as np

    count = 0
    for _, record in read_clips(folder):
        with atomic_path(out / f"{record.key}.npz") as temporary:
            np.savez(temporary, **dict(record.arrays))  # type: ignore[arg-type]
        write_json(out / f"{record.key}.json", dict(record.meta))
        count += 1
    return count
