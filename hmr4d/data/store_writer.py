"""Writing a store clip by clip: work survives interruption, and the store appears whole or not at all."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.data.store import MOTION, VERSION, StoreKind
from hmr4d.utils.files import atomic_path, write_json, write_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caption:
    """One sentence about a clip, or about a part of it.

    Attributes:
        text: the sentence.
        tokens: "word/POS" tokens, or empty.
        start_s: seconds from the start of the clip.
        end_s: seconds; both 0 for the whole clip.
    """

    text: str
    tokens: tuple[str, ...] = ()
    start_s: float = 0.0
    end_s: float = 0.0


@dataclass(frozen=True)
class ClipRecord:
    """Metadata of a clip in the writer."""

    name: str
    split: str
    labels: Mapping[str, str]
    num_frames: int


@dataclass(frozen=True)
class StoreSummary:
    """Summary of the written store.

    Attributes:
        path: folder of the store.
        num_clips: clips kept.
        num_frames: frames kept.
        num_captions: rows of the caption table.
        dropped: clip name -> reason.
    """

    path: Path
    num_clips: int
    num_frames: int
    num_captions: int
    dropped: Mapping[str, str]


@dataclass
class StoreWriter:
    """Writes a store clip by clip. Interrupted work continues: finished chunks are kept in `<out>.partial/`.

    A run with the same settings and origin skips the clips for which `is_done` is true; any other run starts again.

    Attributes:
        out: folder to build; it appears under this name only when complete.
        name: dataset name.
        source: origin of the data.
        licence: short name of its license.
        notice: text of NOTICE.md: license and credit.
        settings: all settings of the result; saved in store.json. joint_convention: positions of the joints in the
            body, see `hmr4d.body.joint_conventions`; None: those of the bodies.
        fps: frames per second.
        skeleton: skeleton of the joints.
        kind: content of the frames.
        overwrite: replace a finished store.
        origin: source folders and files; an unfinished run with other sources is not continued. It is saved only in the
            plan of the run, not in the store.
        chunk_clips: clips per chunk on disk.
    """

    out: Path
    name: str
    source: str
    licence: str
    notice: str
    settings: dict[str, Any]
    fps: float = 20.0
    skeleton: Skeleton = SMPL22
    kind: StoreKind = MOTION
    joint_convention: str | None = None
    overwrite: bool = False
    origin: Sequence[Path] = ()
    chunk_clips: int = 256
    _frames: list[np.ndarray] = field(default_factory=list, init=False, repr=False)
    _pending: list[ClipRecord] = field(default_factory=list, init=False, repr=False)
    _dropped: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _notes: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _done: set[str] = field(default_factory=set, init=False, repr=False)
    _chunks: list[Path] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.out = Path(self.out)
        if self.out.exists() and any(self.out.iterdir()) and not self.overwrite:
            raise FileExistsError(f"{self.out} exists already. Pass --overwrite to build it again, or another --out.")
        self._partial = self.out.with_name(self.out.name + ".partial")
        plan = {
            "format": self.kind.format,
            "name": self.name,
            "fps": self.fps,
            "skeleton": self.skeleton.name,
            "settings": self.settings,
            "origin": [str(path.resolve()) for path in self.origin],
        }
        plan = json.loads(json.dumps(plan))
        plan_file = self._partial / "plan.json"
        if self._partial.exists():
            if plan_file.is_file() and json.loads(plan_file.read_text(encoding="utf-8")) == plan:
                self._resume()
            else:
                logger.info(
                    "%s contains an unfinished run with other settings or files; starting again.", self._partial
                )
                shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True, exist_ok=True)
        write_json(plan_file, plan)

    def _resume(self) -> None:
        self._chunks = sorted(self._partial.glob("chunk_*.npz"))
        for chunk in self._chunks:
            records, meta, _ = _read_chunk(chunk, with_frames=False)
            self._done.update(r.name for r in records)
            self._dropped |= meta["dropped"]
            self._notes |= meta["notes"]
        self._done |= self._dropped.keys()
        logger.info("Resuming %s: %d clips are there already.", self._partial, len(self._done))

    def is_done(self, name: str) -> bool:
        """Whether this clip was added or dropped already, now or in the interrupted run."""
        return name in self._done

    def add(self, name: str, frames: np.ndarray, *, split: str = "", labels: Mapping[str, str] | None = None) -> None:
        """Appends one clip.

        Args:
            name: unique clip name.
            frames: (L, P, 3) at the store's fps: joints in meters, y up; or keypoints as in `KeypointStore`.
            split: train, val, test or "".
            labels: label kind -> label.

        Raises:
            ValueError: a duplicate name, a wrong shape or a number that is not finite; the message names the clip.
        """
        num_points = self.kind.num_points(self.skeleton)
        if name in self._done:
            raise ValueError(f"Clip '{name}' is given twice.")
        if frames.ndim != 3 or frames.shape[1:] != (num_points, 3) or not len(frames):
            raise ValueError(
                f"Clip '{name}' has shape {frames.shape} but {self.kind.about} of skeleton '{self.skeleton.name}' "
                f"needs (L, {num_points}, 3) with L > 0."
            )
        if not np.isfinite(frames).all():
            frame = int(np.flatnonzero(~np.isfinite(frames).all(axis=(1, 2)))[0])
            raise ValueError(f"Clip '{name}' has a coordinate that is not finite in frame {frame}.")
        self._frames.append(np.ascontiguousarray(frames, dtype=np.float32))
        self._pending.append(ClipRecord(name, split, dict(labels or {}), len(frames)))
        self._done.add(name)
        if len(self._pending) >= self.chunk_clips:
            self.flush()

    def drop(self, name: str, reason: str) -> None:
        """Records an excluded clip; `finish` logs and counts the reasons."""
        self._dropped[name] = reason
        self._done.add(name)

    def note(self, name: str, remark: str) -> None:
        """Records changes of a source clip, which are saved in store.json."""
        self._notes[name] = remark

    def flush(self) -> None:
        """Writes the clips that are still in memory as a chunk."""
        if not self._pending:
            return
        chunk = self._partial / f"chunk_{len(self._chunks):05d}.npz"
        meta = {
            "clips": [[r.name, r.split, r.labels, r.num_frames] for r in self._pending],
            "dropped": self._dropped,
            "notes": self._notes,
        }
        with atomic_path(chunk) as temporary:
            np.savez(temporary, frames=np.concatenate(self._frames), meta=np.array(json.dumps(meta)))
        self._chunks.append(chunk)
        self._frames.clear()
        self._pending.clear()

    def finish(
        self,
        *,
        annotate: Callable[[ClipRecord], Iterable[Caption]],
        mirror_text: Callable[[str], str] | None = None,
        tokenize: Callable[[str], Sequence[str]] | None = None,
        order: Sequence[str] | None = None,
        split_lists: Mapping[str, Sequence[str]] | None = None,
    ) -> StoreSummary:
        """Joins the chunks and moves the store to its final path.

        Args:
            annotate: captions of a clip, in order.
            mirror_text: the sentence for the mirrored motion. With `tokenize`, mirrored sentences join the caption
                table, so that every caption has its mirror; without, only existing sentences are linked.
            tokenize: "word/POS" tokens for mirrored sentences.
            order: clip names in the target order, other clips are excluded; None: all, sorted by name.
            split_lists: split -> clip names, kept in this order for `MotionStore.indices`; names of unknown clips are
                skipped and counted in the log.

        Raises:
            ValueError: there is no clip to write.
        """
        self.flush()
        locations: dict[str, tuple[int, int, ClipRecord]] = {}
        for number, chunk in enumerate(self._chunks):
            start = 0
            for record in _read_chunk(chunk, with_frames=False)[0]:
                locations[record.name] = (number, start, record)
                start += record.num_frames
        if not locations:
            raise ValueError(
                f"No clip to write to {self.out}: {_count_reasons(self._dropped) or 'the source is empty'}."
            )
        names = [n for n in order if n in locations] if order is not None else sorted(locations)
        records = [locations[n][2] for n in names]
        building = self._partial / "store"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        self._write_frames(building, names, locations)
        lengths = [r.num_frames for r in records]
        kinds = sorted({kind for r in records for kind in r.labels})
        clips = {
            "name": names,
            "split": [r.split for r in records],
            "start": np.cumsum([0, *lengths[:-1]]).tolist(),
            "length": lengths,
            "labels": {kind: [r.labels.get(kind, "") for r in records] for kind in kinds},
        }
        (building / "clips.json").write_text(json.dumps(clips) + "\n", encoding="utf-8")
        num_captions = _write_captions(building, records, annotate, mirror_text, tokenize)
        info = {
            "format": self.kind.format, "version": VERSION, "name": self.name, "source": self.source,
            "licence": self.licence,
            "fps": self.fps, "skeleton": self.skeleton.name, "joint_convention": self.joint_convention,
            "num_clips": len(names), "num_frames": sum(lengths),
            "settings": self.settings, "dropped": dict(sorted(self._dropped.items())),
        }  # fmt: skip
        if self._notes:
            info["notes"] = dict(sorted(self._notes.items()))
        if split_lists is not None:
            info["splits"] = {s: [n for n in listed if n in locations] for s, listed in split_lists.items()}
            for split, listed in split_lists.items():
                if absent := len(listed) - len(info["splits"][split]):
                    logger.info("Split %s: %d of %d names have no clip in the store.", split, absent, len(listed))
        write_text(building / "NOTICE.md", self.notice.strip() + "\n")
        write_json(building / "store.json", info)
        self._move_into_place(building)
        if self._dropped:
            logger.info("Excluded: %s.", _count_reasons(self._dropped))
        logger.info("Store %s: %d clips, %.2f h.", self.out, len(names), sum(lengths) / self.fps / 3600)
        return StoreSummary(self.out, len(names), sum(lengths), num_captions, dict(self._dropped))

    def _write_frames(
        self, building: Path, names: Sequence[str], locations: Mapping[str, tuple[int, int, ClipRecord]]
    ) -> None:
        """Copies the clips from the chunks to their position in the file, with one chunk in memory at a time."""
        total = sum(locations[name][2].num_frames for name in names)
        shape = (total, self.kind.num_points(self.skeleton), 3)
        target = np.lib.format.open_memmap(building / self.kind.file, mode="w+", dtype=np.float32, shape=shape)
        wanted: list[list[tuple[int, int, int]]] = [[] for _ in self._chunks]
        position = 0
        for name in names:
            chunk, start, record = locations[name]
            wanted[chunk].append((start, position, record.num_frames))
            position += record.num_frames
        for chunk_path, moves in zip(self._chunks, wanted, strict=True):
            frames = _read_chunk(chunk_path, with_frames=True)[2]
            for start, position, count in moves:
                target[position : position + count] = frames[start : start + count]
        target.flush()

    def _move_into_place(self, building: Path) -> None:
        old = self._partial / "replaced"
        if self.out.exists():
            self.out.rename(old)
        building.rename(self.out)
        shutil.rmtree(self._partial)


def _read_chunk(path: Path, *, with_frames: bool) -> tuple[list[ClipRecord], dict[str, Any], np.ndarray]:
    """Clips, additional metadata ("dropped", "notes"), and their frames."""
    with np.load(path, allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        frames = arrays["frames"] if with_frames else np.empty(0, dtype=np.float32)
    return [ClipRecord(*clip) for clip in meta["clips"]], meta, frames


def _write_captions(
    building: Path,
    records: Sequence[ClipRecord],
    annotate: Callable[[ClipRecord], Iterable[Caption]],
    mirror_text: Callable[[str], str] | None,
    tokenize: Callable[[str], Sequence[str]] | None,
) -> int:
    """Writes captions.json and clip_captions.npz; returns the number of unique captions."""
    table: dict[tuple[str, tuple[str, ...]], int] = {}
    offsets, rows = [0], []
    for record in records:
        for c in annotate(record):
            rows.append((table.setdefault((c.text, c.tokens), len(table)), c.start_s, c.end_s))
        offsets.append(len(rows))
    by_text: dict[str, int] = {}
    for (text, _), index in table.items():
        by_text.setdefault(text, index)
    mirror = [-1] * len(table)
    if mirror_text is not None:
        for (text, _), index in list(table.items()):
            twin = mirror_text(text)
            if twin not in by_text and tokenize is not None:
                by_text[twin] = table.setdefault((twin, tuple(tokenize(twin))), len(table))
                mirror.append(index)
            # A sentence without a side is its own mirror, even if two token lists share its text.
            mirror[index] = index if twin == text else by_text.get(twin, -1)
    captions = {"text": [t for t, _ in table], "tokens": [list(k) for _, k in table], "mirror": mirror}
    (building / "captions.json").write_text(json.dumps(captions, ensure_ascii=False) + "\n", encoding="utf-8")
    columns = np.array(rows, dtype=np.float64).reshape(-1, 3)
    np.savez(
        building / "clip_captions.npz",
        offsets=np.array(offsets, dtype=np.int64),
        caption=columns[:, 0].astype(np.int64),
        start_s=columns[:, 1].astype(np.float32),
        end_s=columns[:, 2].astype(np.float32),
    )
    return len(table)


def _count_reasons(dropped: Mapping[str, str]) -> str:
    counts: dict[str, int] = {}
    for reason in dropped.values():
        counts[reason] = counts.get(reason, 0) + 1
    return "; ".join(f"{count} x {reason}" for reason, count in sorted(counts.items()))
