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
STATISTICS_ONLY = ("keypoint_speed",)  # of the JSON of a clip: counted, and not passed on


@dataclass(frozen=True)
class Packed:
    """The written files.

    Attributes:
        folder: of all.
        clips: by split.
        dead: what was left out.
        statistics: as statistics.json has them.
    """

    folder: Path
    clips: Counter[str]
    dead: Sequence[DeadLetter]
    statistics: dict[str, Any]


class ShardWriter:
    """Writes clips to `<split>-<number>.tar`, each of up to `size` clips; a shard appears once it is complete."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.written: list[str] = []
        self._open: dict[str, tuple[str, RecordWriter, ExitStack, int]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, split: str, record: Record) -> str:
        """The name of the shard that the clip went to."""
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
        """Completes the open shards and removes those of an earlier run that are not among them."""
        for split in sorted(self._open):
            self._close(split)
        for old in set(_whole_tars(self.folder)) - {self.folder / name for name in self.written}:
            old.unlink()

    def abandon(self) -> None:
        """Leaves no part of the open shards behind."""
        for _, _, stack, _ in self._open.values():
            stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def pack(
    outcomes: Iterable[Outcome], out: Path, *, decisions: Mapping[str, Decision], size: int = SHARD_CLIPS
) -> Packed:
    """Writes everything that a data set needs. The same outcomes and decisions give the same files.

    Clips that a review rejects, and clips whose id is there already, are left out with that reason.

    Args:
        outcomes: of all partitions, in order.
        out: folder to write.
        decisions: clip id -> decision of the review.
        size: clips of a shard.
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
        logger.warning("The review decides on %d clips that are not there, such as %s.", len(unknown), unknown[0])
    return Packed(out, statistics.clips, dead, table)


def _reviewed(record: Record, decisions: Mapping[str, Decision]) -> Record:
    decision = decisions.get(record.key)
    return record if decision is None else record.with_meta(review=decision.as_json())


def _left_out(clip: Record, seen: set[str]) -> DeadLetter | None:
    """Why a clip does not go into a shard, or None."""
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
    """The tar files of a folder, but no unfinished ones, which are hidden."""
    return sorted(file for file in folder.glob("*.tar") if not file.name.startswith("."))


def shard_files(folder: Path) -> list[Path]:
    """The shards of a data set, in order. FileNotFoundError if there is none."""
    files = _whole_tars(folder / SHARDS)
    if not files:
        raise FileNotFoundError(f"{folder} holds no shards. Make some: hmr4d curate run --root VIDEOS --out {folder}.")
    return files


def read_clips(folder: Path) -> Iterator[tuple[str, Record]]:
    """Name of the shard and record of every clip of a data set."""
    return ((file.name, record) for file in shard_files(folder) for record in read_records(file))


def write_folder(folder: Path, out: Path) -> int:
    """Writes the clips of a data set as plain files, `<id>.npz` and `<id>.json`; the number of clips."""
    import numpy as np

    count = 0
    for _, record in read_clips(folder):
        with atomic_path(out / f"{record.key}.npz") as temporary:
            np.savez(temporary, **dict(record.arrays))  # type: ignore[arg-type]
        write_json(out / f"{record.key}.json", dict(record.meta))
        count += 1
    return count
