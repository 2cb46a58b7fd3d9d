"""The motion store: one folder, one format, whatever the source. Joints are memory-mapped, opening takes milliseconds.

`docs/data.md` describes the files. `MotionStore` reads, `StoreWriter` writes, `write_text_cache` adds text embeddings.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmr4d.body.skeleton import SMPL22, Skeleton, get_skeleton
from hmr4d.data import packed_joints
from hmr4d.utils.files import atomic_path, cache_folder, write_json, write_text
from hmr4d.utils.places import is_installed_file
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

FORMAT = "hmr4d-motion-store"
VERSION = 1
_JOINTS = "joints.npy"
TABLE_FILES = ("clips.json", "captions.json", "clip_captions.npz")


class NoClipsError(ValueError):
    """A store has no such split, or no clip of it is left by the rules."""


class StoreError(ValueError):
    """A store that is missing, damaged or written by another version."""


class ClipCaption(NamedTuple):
    """A caption of a clip.

    Attributes:
        caption: index into the store's caption table.
        start_s: seconds from the start of the clip.
        end_s: seconds; start and end both 0 mean the whole clip.
    """

    caption: int
    start_s: float
    end_s: float


class MotionStore:
    """Reader of one prepared dataset.

    Attributes:
        path: folder of the store.
        name: dataset name.
        fps: frames per second of every clip.
        skeleton: joint meaning.
        names: one name per clip.
        splits: one split per clip, "" where the source gives none.
        labels: label kind -> one label per clip, such as content and style.
        lengths: (N,) int64 frames per clip.
        info: content of store.json.
        is_packed: whether the joints are in one compressed file, see `pack_store`; else they are mapped.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.is_packed = (self.path / packed_joints.FILE).is_file() and not (self.path / _JOINTS).is_file()
        files = ("store.json", packed_joints.FILE if self.is_packed else _JOINTS, *TABLE_FILES)
        missing = [name for name in files if not (self.path / name).is_file()]
        if missing:
            what = "does not exist" if not self.path.is_dir() else f"lacks {', '.join(missing)}"
            raise FileNotFoundError(
                f"Motion store {self.path} {what}. Build it with: hmr4d prepare <dataset> --out {self.path} "
                "(see docs/data.md)."
            )
        self.info = self._read_json("store.json")
        if self.info.get("format") != FORMAT or self.info.get("version") != VERSION:
            raise StoreError(
                f"{self.path / 'store.json'} is {self.info.get('format')!r} version {self.info.get('version')!r}; "
                f"expected {FORMAT!r} version {VERSION}. Prepare the dataset again."
            )
        clips = self._read_json("clips.json")
        try:
            self.name: str = self.info["name"]
            self.fps = float(self.info["fps"])
            self.skeleton: Skeleton = get_skeleton(self.info["skeleton"])
            self.names: list[str] = clips["name"]
            self.splits: list[str] = clips["split"]
            self.labels: dict[str, list[str]] = clips["labels"]
            self._starts = np.array(clips["start"], dtype=np.int64)
            self.lengths = np.array(clips["length"], dtype=np.int64)
            self._split_lists: dict[str, list[str]] = self.info.get("splits", {})
        except KeyError as error:
            raise StoreError(
                f"Motion store {self.path} is damaged: key {error} is missing. Prepare it again."
            ) from error
        self._joints = self._read_joints()

    def _read_joints(self) -> np.ndarray:
        """(N, J, 3) float32 of all clips: mapped, or unpacked into memory."""
        file = self.joints_file
        expected = (int(self.lengths.sum()), self.skeleton.num_joints, 3)
        try:
            if self.is_packed:
                step = float(self.info["packed"]["step"])
                joints = packed_joints.unpack_joints(file.read_bytes(), self.lengths.tolist(), self.skeleton, step)
            else:
                joints = np.load(file, mmap_mode="r")
        except (ValueError, EOFError, OSError, KeyError) as error:
            raise StoreError(f"Motion store {self.path} is damaged: {file.name}: {error}. Prepare it again.") from error
        if joints.shape != expected or joints.dtype != np.float32:
            raise StoreError(
                f"Motion store {self.path} is damaged: {file.name} is {joints.dtype} {joints.shape}, "
                f"expected float32 {expected}. Prepare it again."
            )
        joints.flags.writeable = False
        return joints

    @property
    def joints_file(self) -> Path:
        """The file that holds the joints."""
        return self.path / (packed_joints.FILE if self.is_packed else _JOINTS)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MotionStore:
        """Opens a store.

        Raises:
            FileNotFoundError: the folder or some of its files are missing; all are named.
            StoreError: a file is damaged or of another version.
        """
        return cls(path)

    def __len__(self) -> int:
        return len(self.names)

    def joints3d(self, index: int) -> np.ndarray:
        """(L, J, 3) float32 metres, y up: a read-only view of the mapped file, or of memory for a packed store."""
        start = self._starts[index]
        return self._joints[start : start + self.lengths[index]]

    def indices(self, split: str | None = None) -> np.ndarray:
        """(n,) int64 clips of a split: in the order of its list file where the source has one, else in store order.

        None gives every clip. ValueError lists the known splits.
        """
        if split is None:
            return np.arange(len(self), dtype=np.int64)
        if split in self._split_lists:
            index = self.index_of
            return np.array([index[n] for n in self._split_lists[split] if n in index], dtype=np.int64)
        if split not in self.splits:
            known = sorted({*self._split_lists, *self.splits} - {""})
            raise NoClipsError(f"Motion store '{self.name}' has no split '{split}'; it has {known}.")
        return np.flatnonzero(np.array(self.splits) == split).astype(np.int64)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Clip name -> clip index."""
        return {name: i for i, name in enumerate(self.names)}

    @property
    def caption_texts(self) -> list[str]:
        """The unique captions."""
        return self._captions["text"]

    @property
    def caption_tokens(self) -> list[list[str]]:
        """Per caption its "word/POS" tokens; empty where the source has none."""
        return self._captions["tokens"]

    @property
    def caption_mirror(self) -> list[int]:
        """Per caption the index of the one that describes the mirrored motion, -1 when unknown."""
        return self._captions["mirror"]

    def clip_captions(self, index: int) -> list[ClipCaption]:
        """Captions of one clip, in source order."""
        offsets, caption, start_s, end_s = self._clip_captions
        span = slice(offsets[index], offsets[index + 1])
        rows = zip(caption[span].tolist(), start_s[span].tolist(), end_s[span].tolist(), strict=True)
        return [ClipCaption(*row) for row in rows]

    def text_cache(self, encoder_name: str) -> TextCache | None:
        """Cached embeddings of all captions by this encoder, or None where they were not prepared.

        They lie in the store, or in `derived_folder`.
        """
        for folder in (self.path, self.derived_folder):
            if (folder / f"text_{encoder_name}" / "meta.json").is_file():
                return TextCache(folder / f"text_{encoder_name}", self.path / "captions.json")
        return None

    @cached_property
    def derived_folder(self) -> Path:
        """Where things made from this store are kept: in it, or in `cache_folder` where it may not be written to."""
        if os.access(self.path, os.W_OK) and not is_installed_file(self.path):
            return self.path
        return cache_folder() / "stores" / f"{self.name}-{_sha256(self.path / 'captions.json')[:16]}"

    @cached_property
    def _captions(self) -> dict[str, list[Any]]:
        return self._read_json("captions.json")

    @cached_property
    def _clip_captions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        with np.load(self.path / "clip_captions.npz", allow_pickle=False) as arrays:
            return arrays["offsets"], arrays["caption"], arrays["start_s"], arrays["end_s"]

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"Motion store {self.path} is damaged: {name}: {error}. Prepare it again.") from error


class TextCache:
    """Embeddings of a store's captions by one text encoder.

    Attributes:
        encoder: name of the encoder.
        dim: D, size of token states and of the pooled vector.
    """

    def __init__(self, folder: Path, captions_file: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["sha256"] != _sha256(captions_file):
            raise StoreError(
                f"Text cache {folder} was made for other captions than those in {captions_file}. "
                f"Delete the folder and prepare the text again."
            )
        self.encoder: str = meta["encoder"]
        self.dim: int = meta["dim"]
        self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self._offsets = np.load(folder / "offsets.npy")
        self._pooled = np.load(folder / "pooled.npy", mmap_mode="r")

    def __len__(self) -> int:
        """Number of captions, without the empty prompt."""
        return len(self._offsets) - 2

    @property
    def null_caption(self) -> int:
        """Row of the empty prompt."""
        return len(self)

    def tokens(self, caption: int) -> np.ndarray:
        """(T, D) float16 token states of one caption."""
        return self._tokens[self._offsets[caption] : self._offsets[caption + 1]]

    def pooled(self, caption: int) -> np.ndarray:
        """(D,) float32 pooled vector of one caption."""
        return self._pooled[caption]


def write_text_cache(
    store_path: str | os.PathLike[str],
    encoder_name: str,
    encode: Callable[[list[str]], tuple[list[np.ndarray], np.ndarray]],
    *,
    batch_size: int = 256,
) -> Path:
    """Encodes every caption of a store once and keeps the result in `text_<encoder>/` of its `derived_folder`.

    Args:
        store_path: folder of the store.
        encoder_name: key under which `MotionStore.text_cache` finds the result.
        encode: n texts -> (n token arrays (T_i, D), pooled (n, D)).
        batch_size: texts per call. Texts are sorted by length first, so that padding in the encoder stays small.

    Returns:
        The folder written. It appears whole or not at all; an older cache of the same encoder is replaced.
    """
    store = MotionStore.open(store_path)
    texts = [*store.caption_texts, ""]  # the empty prompt comes last
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
    states: list[np.ndarray | None] = [None] * len(texts)
    pooled: np.ndarray | None = None
    for start in progress(range(0, len(order), batch_size), f"text ({encoder_name})", unit="batch"):
        ids = order[start : start + batch_size]
        batch_states, batch_pooled = encode([texts[i] for i in ids])
        if len(batch_states) != len(ids) or batch_pooled.shape[0] != len(ids):
            raise ValueError(
                f"Text encoder '{encoder_name}' returned {len(batch_states)} results for {len(ids)} texts."
            )
        if not np.isfinite(batch_pooled).all():
            raise ValueError(f"Text encoder '{encoder_name}' returned a value that is not finite.")
        if pooled is None:
            pooled = np.zeros((len(texts), batch_pooled.shape[1]), dtype=np.float32)
        pooled[ids] = batch_pooled
        for i, state in zip(ids, batch_states, strict=True):
            states[i] = state.astype(np.float16)
    if pooled is None or len(texts) == 1:
        raise ValueError(f"Motion store {store.path} has no captions to encode.")
    final = store.derived_folder / f"text_{encoder_name}"
    final.parent.mkdir(parents=True, exist_ok=True)
    # Of this process alone: several may find the cache missing at the same time.
    partial = Path(tempfile.mkdtemp(prefix=f".text_{encoder_name}.", dir=final.parent))
    rows = [s for s in states if s is not None]
    np.save(partial / "tokens.npy", np.concatenate(rows))
    np.save(partial / "offsets.npy", np.cumsum([0, *(len(r) for r in rows)], dtype=np.int64))
    np.save(partial / "pooled.npy", pooled)
    meta = {
        "encoder": encoder_name,
        "dim": int(pooled.shape[1]),
        "num_captions": len(store.caption_texts),
        "sha256": _sha256(store.path / "captions.json"),
    }
    write_json(partial / "meta.json", meta)
    shutil.rmtree(final, ignore_errors=True)
    partial.chmod(0o755)
    partial.rename(final)
    logger.info("Text cache %s: %d captions, %d numbers each.", final, len(texts), pooled.shape[1])
    return final


@dataclass(frozen=True)
class Caption:
    """One sentence about a clip, or about a part of it.

    Attributes:
        text: the sentence.
        tokens: "word/POS" tokens, empty when there are none.
        start_s: seconds from the start of the clip.
        end_s: seconds; both 0 for the whole clip.
    """

    text: str
    tokens: tuple[str, ...] = ()
    start_s: float = 0.0
    end_s: float = 0.0


@dataclass(frozen=True)
class ClipRecord:
    """What the writer knows of a clip besides its joints."""

    name: str
    split: str
    labels: Mapping[str, str]
    num_frames: int


@dataclass(frozen=True)
class StoreSummary:
    """What was written.

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
    """Writes a store clip by clip. Work survives interruption: finished chunks wait in `<out>.partial/`.

    A run with the same settings and origin skips the clips that `is_done` knows; another one starts afresh.

    Attributes:
        out: folder to build; it appears under this name when everything is in it.
        name: dataset name.
        source: where the data comes from.
        licence: short name of its licence.
        notice: text of NOTICE.md: licence and credit.
        settings: everything that shaped the result; kept in store.json.
        joint_convention: where in the body the joints are, see `hmr4d.body.joint_conventions`; None: where bodies have
            them.
        fps: frames per second.
        skeleton: joint meaning.
        overwrite: replace a finished store.
        origin: folders and files that are read; an unfinished run that read others is not continued. Kept in the plan
            of the run only: the store says nothing about the machine it was made on.
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
    joint_convention: str | None = None
    overwrite: bool = False
    origin: Sequence[Path] = ()
    chunk_clips: int = 256
    _joints: list[np.ndarray] = field(default_factory=list, init=False, repr=False)
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
                logger.info("%s holds an unfinished run of other settings or files; starting afresh.", self._partial)
                shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True, exist_ok=True)
        write_json(plan_file, plan)

    def _resume(self) -> None:
        self._chunks = sorted(self._partial.glob("chunk_*.npz"))
        for chunk in self._chunks:
            records, meta, _ = _read_chunk(chunk, with_joints=False)
            self._done.update(r.name for r in records)
            self._dropped |= meta["dropped"]
            self._notes |= meta["notes"]
        self._done |= self._dropped.keys()
        logger.info("Resuming %s: %d clips are there already.", self._partial, len(self._done))

    def is_done(self, name: str) -> bool:
        """Whether this clip was added or dropped already, now or in the interrupted run."""
        return name in self._done

    def add(self, name: str, joints3d: np.ndarray, *, split: str = "", labels: Mapping[str, str] | None = None) -> None:
        """Appends one clip.

        Args:
            name: unique clip name.
            joints3d: (L, J, 3) metres, y up, at the store's fps.
            split: train, val, test or "".
            labels: label kind -> label.

        Raises:
            ValueError: the name is taken, the shape is wrong or a coordinate is not finite; names the clip.
        """
        if name in self._done:
            raise ValueError(f"Clip '{name}' is given twice.")
        if joints3d.ndim != 3 or joints3d.shape[1:] != (self.skeleton.num_joints, 3) or not len(joints3d):
            raise ValueError(
                f"Clip '{name}' has shape {joints3d.shape} but skeleton '{self.skeleton.name}' needs "
                f"(L, {self.skeleton.num_joints}, 3) with L > 0."
            )
        if not np.isfinite(joints3d).all():
            frame = int(np.flatnonzero(~np.isfinite(joints3d).all(axis=(1, 2)))[0])
            raise ValueError(f"Clip '{name}' has a coordinate that is not finite in frame {frame}.")
        self._joints.append(np.ascontiguousarray(joints3d, dtype=np.float32))
        self._pending.append(ClipRecord(name, split, dict(labels or {}), len(joints3d)))
        self._done.add(name)
        if len(self._pending) >= self.chunk_clips:
            self.flush()

    def drop(self, name: str, reason: str) -> None:
        """Records a clip that is left out; the reasons are logged and counted by `finish`."""
        self._dropped[name] = reason
        self._done.add(name)

    def note(self, name: str, remark: str) -> None:
        """Records what was changed in a source clip; the remarks go into store.json."""
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
            np.savez(temporary, joints=np.concatenate(self._joints), meta=np.array(json.dumps(meta)))
        self._chunks.append(chunk)
        self._joints.clear()
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
        """Puts the chunks together and moves the store to its place.

        Args:
            annotate: captions of a clip, in order.
            mirror_text: the sentence for the mirrored motion. With `tokenize`, mirrored sentences join the caption
                table, so that every caption has its mirror; without, only sentences that are there anyway are linked.
            tokenize: "word/POS" tokens for mirrored sentences.
            order: clip names in the wanted order, clips it does not name are left away; all by name when None.
            split_lists: split -> clip names, kept in this order for `MotionStore.indices`; names of clips that are
                not in the store are left out and counted in the log.

        Raises:
            ValueError: there is no clip to write.
        """
        self.flush()
        locations: dict[str, tuple[int, int, ClipRecord]] = {}
        for number, chunk in enumerate(self._chunks):
            start = 0
            for record in _read_chunk(chunk, with_joints=False)[0]:
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
        self._write_joints(building, names, locations)
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
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "source": self.source,
            "licence": self.licence,
            "fps": self.fps,
            "skeleton": self.skeleton.name,
            "joint_convention": self.joint_convention,
            "num_clips": len(names),
            "num_frames": sum(lengths),
            "settings": self.settings,
            "dropped": dict(sorted(self._dropped.items())),
        }
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
            logger.info("Left out: %s.", _count_reasons(self._dropped))
        logger.info("Store %s: %d clips, %.2f h.", self.out, len(names), sum(lengths) / self.fps / 3600)
        return StoreSummary(self.out, len(names), sum(lengths), num_captions, dict(self._dropped))

    def _write_joints(
        self, building: Path, names: Sequence[str], locations: Mapping[str, tuple[int, int, ClipRecord]]
    ) -> None:
        """Copies the clips from the chunks to their place in joints.npy, one chunk in memory at a time."""
        total = sum(locations[name][2].num_frames for name in names)
        shape = (total, self.skeleton.num_joints, 3)
        target = np.lib.format.open_memmap(building / "joints.npy", mode="w+", dtype=np.float32, shape=shape)
        wanted: list[list[tuple[int, int, int]]] = [[] for _ in self._chunks]
        position = 0
        for name in names:
            chunk, start, record = locations[name]
            wanted[chunk].append((start, position, record.num_frames))
            position += record.num_frames
        for chunk_path, moves in zip(self._chunks, wanted, strict=True):
            joints = _read_chunk(chunk_path, with_joints=True)[2]
            for start, position, count in moves:
                target[position : position + count] = joints[start : start + count]
        target.flush()

    def _move_into_place(self, building: Path) -> None:
        old = self._partial / "replaced"
        if self.out.exists():
            self.out.rename(old)
        building.rename(self.out)
        shutil.rmtree(self._partial)


def _read_chunk(path: Path, *, with_joints: bool) -> tuple[list[ClipRecord], dict[str, Any], np.ndarray]:
    """Clips, what is known beside them ("dropped", "notes"), and joints."""
    with np.load(path, allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        joints = arrays["joints"] if with_joints else np.empty(0, dtype=np.float32)
    return [ClipRecord(*clip) for clip in meta["clips"]], meta, joints


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
            # A sentence without a side mirrors onto itself, even where two token lists share its text.
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


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
