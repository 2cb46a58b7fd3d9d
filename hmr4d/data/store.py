"""The store: one folder and one format for all sources. Frames are memory-mapped, opening takes milliseconds.

There are two kinds: 3D motion, and 2D tracks of keypoints. Clips, splits, labels, captions and text embeddings are the
same in both (`ClipStore`). `docs/data.md` describes the files. `MotionStore` and `KeypointStore` read, `StoreWriter`
writes, `write_text_cache` adds text embeddings.

A 2D store contains `keypoints.npy` (all frames, J + 1, 3) float32, memory-mapped. Rows 0 to J - 1 of a frame are the
keypoints of the store's skeleton (COCO-17: J = 17): x to the right and y down in pixels from the top left corner, and a
confidence from 0 to 1. Missing keypoints are (0, 0, 0). The last row is (width, height, 1) of the image, the same in
every frame of a clip; (0, 0, 1) if unknown. Left and right are the person's own. float16 would lose pixels above 1024,
so there is no such form. Clips have 30 frames per second unless `fps` says otherwise.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hmr4d.body.skeleton import Skeleton, get_skeleton
from hmr4d.data import packed_joints
from hmr4d.utils.files import cache_folder, write_json
from hmr4d.utils.places import is_installed_file
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

VERSION = 1
TABLE_FILES = ("clips.json", "captions.json", "clip_captions.npz")


@dataclass(frozen=True)
class StoreKind:
    """Content of the frames of a store.

    Attributes:
        format: name in store.json.
        about: for messages.
        file: (all frames, P, 3) float32.
        extra_points: points of a frame beyond the joints of the skeleton.
    """

    format: str
    about: str
    file: str
    extra_points: int

    def num_points(self, skeleton: Skeleton) -> int:
        """P, points of a frame."""
        return skeleton.num_joints + self.extra_points


MOTION = StoreKind("hmr4d-motion-store", "3D motion", "joints.npy", 0)
KEYPOINTS = StoreKind("hmr4d-keypoint-store", "2D keypoints", "keypoints.npy", 1)
KINDS = {kind.format: kind for kind in (MOTION, KEYPOINTS)}


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


Store = TypeVar("Store", bound="ClipStore")


class ClipStore:
    """Reader of the common part of all stores: clips, splits, labels, captions and their embeddings.

    Attributes:
        path: folder of the store.
        kind: content of its frames.
        name: dataset name.
        fps: frames per second of every clip.
        skeleton: skeleton of the joints.
        names: one name per clip.
        splits: one split per clip, "" if the source has none.
        labels: label kind -> one label per clip, such as content and style.
        lengths: (N,) int64 frames per clip.
        info: content of store.json.
    """

    wanted: StoreKind | None = None  # the kind of store that a class reads

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if (self.path / "store.json").is_file():
            self.info = self._read_json("store.json")
            self.kind = self._checked_kind()
        frames = [] if self.wanted is None else [self.frames_file.name]
        if missing := [name for name in ("store.json", *frames, *TABLE_FILES) if not (self.path / name).is_file()]:
            what = "does not exist" if not self.path.is_dir() else f"lacks {', '.join(missing)}"
            raise FileNotFoundError(
                f"Motion store {self.path} {what}. Build it with: hmr4d prepare <dataset> --out {self.path} "
                "(see docs/data.md)."
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

    def _checked_kind(self) -> StoreKind:
        kind = KINDS.get(str(self.info.get("format")))
        if kind is None or self.info.get("version") != VERSION:
            raise StoreError(
                f"{self.path / 'store.json'} is {self.info.get('format')!r} version {self.info.get('version')!r}; "
                f"expected {' or '.join(map(repr, KINDS))} version {VERSION}. Prepare the dataset again."
            )
        if self.wanted not in (None, kind):
            raise StoreError(f"Motion store {self.path} contains {kind.about}; expected one of {self.wanted.about}.")
        return kind

    @property
    def frames_file(self) -> Path:
        """The file that holds the frames of all clips."""
        return self.path / (self.wanted or self.kind).file

    def _frames(self) -> np.ndarray:
        """(N, P, 3) float32 of all clips, read-only; StoreError if they do not match the tables."""
        file, expected = self.frames_file.name, (int(self.lengths.sum()), self.kind.num_points(self.skeleton), 3)
        try:
            frames = self._loaded()
        except (ValueError, EOFError, OSError, KeyError) as error:
            raise StoreError(f"Motion store {self.path} is damaged: {file}: {error}. Prepare it again.") from error
        if frames.shape != expected or frames.dtype != np.float32:
            raise StoreError(
                f"Motion store {self.path} is damaged: {file} is {frames.dtype} {frames.shape}, "
                f"expected float32 {expected}. Prepare it again."
            )
        frames.flags.writeable = False
        return frames

    def _loaded(self) -> np.ndarray:
        return np.load(self.frames_file, mmap_mode="r")

    @classmethod
    def open(cls: type[Store], path: str | os.PathLike[str]) -> Store:
        """Opens a store; `ClipStore.open` takes one of any kind.

        Raises:
            FileNotFoundError: the folder or some of its files are missing; the message lists them.
            StoreError: a file is damaged or of another version.
        """
        return cls(path)

    def __len__(self) -> int:
        return len(self.names)

    def indices(self, split: str | None = None) -> np.ndarray:
        """(n,) int64 clips of a split: in the order of its list file if the source has one, else in store order.

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
        """Per caption its "word/POS" tokens; empty if the source has none."""
        return self._captions["tokens"]

    @property
    def caption_mirror(self) -> list[int]:
        """Per caption the index of the one that describes the mirrored motion, -1 when unknown."""
        return self._captions["mirror"]

    def points(self, index: int) -> np.ndarray:
        """(L, P, 3) float32 frames of a clip, in the form of the specific store class."""
        raise TypeError(f"{self.path} was opened as a store of any kind; open it as a MotionStore or a KeypointStore.")

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
        """Folder of data derived from this store: the store, or `cache_folder` if the store is not writable."""
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


class MotionStore(ClipStore):
    """Reader of 3D motion."""

    wanted = MOTION

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._joints = self._frames()

    @property
    def is_packed(self) -> bool:
        """Whether the joints are in one compressed file, see `pack_store`; else they are mapped."""
        return (self.path / packed_joints.FILE).is_file() and not (self.path / MOTION.file).is_file()

    @property
    def frames_file(self) -> Path:
        return self.path / (packed_joints.FILE if self.is_packed else MOTION.file)

    def _loaded(self) -> np.ndarray:
        if not self.is_packed:
            return super()._loaded()
        packed, step = self.frames_file.read_bytes(), float(self.info["packed"]["step"])
        return packed_joints.unpack_joints(packed, self.lengths.tolist(), self.skeleton, step)

    def joints3d(self, index: int) -> np.ndarray:
        """(L, J, 3) float32 meters, y up: a read-only view of the mapped file, or of memory for a packed store."""
        start = self._starts[index]
        return self._joints[start : start + self.lengths[index]]

    def points(self, index: int) -> np.ndarray:
        """`joints3d`, for code that reads both kinds of stores."""
        return self.joints3d(index)


class KeypointStore(ClipStore):
    """Reader of 2D tracks."""

    wanted = KEYPOINTS

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._keypoints = self._frames()

    def keypoints(self, index: int) -> np.ndarray:
        """(L, J + 1, 3) float32 x, y, confidence, the image's (width, height, 1) last: a read-only view of the file."""
        start = self._starts[index]
        return self._keypoints[start : start + self.lengths[index]]

    def points(self, index: int) -> np.ndarray:
        """`keypoints`, for code that reads both kinds of stores."""
        return self.keypoints(index)

    def image_size(self, index: int) -> tuple[int, int] | None:
        """Width and height in pixels of a clip's image, None if unknown."""
        width, height = (int(v) for v in self._keypoints[self._starts[index], -1, :2])
        return (width, height) if width and height else None


def open_store(path: str | os.PathLike[str]) -> MotionStore | KeypointStore:
    """A store of the class of its format; errors as for `ClipStore.open`."""
    return KeypointStore(path) if ClipStore(path).kind == KEYPOINTS else MotionStore(path)


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
    """Encodes every caption of a store once and saves the result in `text_<encoder>/` of its `derived_folder`.

    Args:
        store_path: folder of the store.
        encoder_name: key of the result in `MotionStore.text_cache`.
        encode: n texts -> (n token arrays (T_i, D), pooled (n, D)).
        batch_size: texts per call. Texts are sorted by length first, so that padding in the encoder stays small.

    Returns:
        The folder written. It appears whole or not at all; an older cache of the same encoder is replaced.
    """
    store = ClipStore.open(store_path)
    texts = [*store.caption_texts, ""]  # the empty prompt is last
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
    # Private to this process: several may create the cache at the same time.
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


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
