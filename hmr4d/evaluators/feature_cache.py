"""Cache of HumanML3D features: all clips of a store are encoded once and then memory-mapped."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hmr4d.data.store import MotionStore
from hmr4d.motion.canonical import mirror
from hmr4d.motion.resampling import resample_positions, resampled_length
from hmr4d.representation.hml263 import NUM_FEATURES, Hml263Codec
from hmr4d.utils.files import write_json
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

FORMAT = "hmr4d-hml263-features"
VERSION = 1  # raised when the encoding changes
FRAMES_PER_BATCH = 8192  # padded frames per batch; bounds the memory


class FeatureCache:
    """Features of all clips of a store in one memory-mapped file, `hml263_<variant>[_mirrored]/` of its
    `derived_folder`.

    The files are created if missing and replaced if joints, frame rate or encoding have changed.

    Args:
        store: motion store.
        variant: variant of `Hml263Codec`.
        fps: frame rate of the features; a cubic spline resamples motion of another rate.
        mirrored: encode the mirror images of the clips.

    Attributes:
        num_rows: (N,) int64 feature rows per clip, one less than frames.
    """

    def __init__(self, store: MotionStore, *, variant: str, fps: float = 20.0, mirrored: bool = False) -> None:
        self.store, self.fps, self.mirrored = store, fps, mirrored
        self.codec = Hml263Codec(variant)
        self.folder = store.derived_folder / f"hml263_{variant}{'_mirrored' if mirrored else ''}"
        wanted = {
            "format": FORMAT,
            "version": VERSION,
            "variant": variant,
            "mirrored": mirrored,
            "fps": fps,
            "joints": _digest(store.frames_file.read_bytes()),
            "skeleton": _digest(self.codec.target_offsets.numpy().tobytes()),
        }
        if _read_meta(self.folder) != wanted:
            self._encode(wanted)
        self._offsets: np.ndarray = np.load(self.folder / "offsets.npy")
        self._features: np.ndarray = np.load(self.folder / "features.npy", mmap_mode="r")
        self.num_rows = np.diff(self._offsets)

    def __len__(self) -> int:
        return len(self.num_rows)

    def features(self, clip: int) -> np.ndarray:
        """Unnormalized rows (F, 263) of a clip, float32, as a read-only view of the mapped file."""
        return self._features[self._offsets[clip] : self._offsets[clip + 1]]

    def is_usable(self, clip: int) -> bool:
        """Whether a clip has rows and all are finite; degenerate bone directions give NaN."""
        rows = self.features(clip)
        return len(rows) > 0 and bool(np.isfinite(rows).all())

    def _joints(self, clip: int) -> Tensor:
        joints3d = resample_positions(np.array(self.store.joints3d(clip)), self.store.fps, self.fps)
        clip_joints = torch.from_numpy(joints3d)
        return mirror(clip_joints, self.store.skeleton) if self.mirrored else clip_joints

    def _encode(self, meta: dict[str, Any]) -> None:
        frames = [resampled_length(int(n), self.store.fps, self.fps) for n in self.store.lengths]
        offsets = np.cumsum([0, *(n - 1 for n in frames)], dtype=np.int64)
        partial = self.folder.with_name(f".{self.folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        shape = (int(offsets[-1]), NUM_FEATURES)
        rows = np.lib.format.open_memmap(partial / "features.npy", mode="w+", dtype=np.float32, shape=shape)
        for ids in progress(list(_batches(frames)), f"features ({self.folder.name})", unit="batch"):
            joints3d = pad_sequence([self._joints(i) for i in ids], batch_first=True)
            encoded = self.codec.encode(joints3d, torch.tensor([frames[i] for i in ids]), degenerate="nan").numpy()
            for i, clip_rows in zip(ids, encoded, strict=True):
                rows[offsets[i] : offsets[i + 1]] = clip_rows[: frames[i] - 1]
        rows.flush()
        np.save(partial / "offsets.npy", offsets)
        write_json(partial / "meta.json", meta)
        shutil.rmtree(self.folder, ignore_errors=True)
        partial.rename(self.folder)
        logger.info("Features %s: %d clips, %d rows.", self.folder, len(frames), shape[0])


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Batches of clips with at least two frames, grouped by length."""
    batch: list[int] = []
    for i in sorted((i for i, length in enumerate(lengths) if length > 1), key=lambda i: (lengths[i], i)):
        if batch and lengths[i] * (len(batch) + 1) > FRAMES_PER_BATCH:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _read_meta(folder: Path) -> Any:
    try:
        return json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
