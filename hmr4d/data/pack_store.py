"""Making a packed store, small enough to be passed on with the program."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import numpy as np

from hmr4d.data import packed_joints
from hmr4d.data.store import TABLE_FILES, MotionStore
from hmr4d.utils.files import write_json

logger = logging.getLogger(__name__)


def pack_store(
    store_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    step: float = packed_joints.STEP,
    overwrite: bool = False,
) -> Path:
    """Writes a copy of a store with its joints in one small file, rounded to `step` (error at most half of it).

    `MotionStore` reads it like any other. Text embeddings are not copied; training computes them on first use.

    Args:
        store_path: folder of the store.
        out: folder to write; it appears whole or not at all.
        step: meters.
        overwrite: replace the content of `out`.

    Raises:
        FileExistsError: `out` is not empty and `overwrite` is not set.
        ValueError: the motion is too far from the origin for the step.
    """
    store, out = MotionStore.open(store_path), Path(out)
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise FileExistsError(f"{out} exists already. Pass --overwrite to write it again, or another --out.")
    joints = np.concatenate([store.joints3d(clip) for clip in range(len(store))])
    packed = packed_joints.pack_joints(joints, store.lengths.tolist(), store.skeleton, step)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / packed_joints.FILE).write_bytes(packed)
    for name in (*TABLE_FILES, "NOTICE.md"):
        shutil.copyfile(store.path / name, partial / name)
    about = {"codec": "second differences of int16 steps, xz", "step": step, "largest_error": step / 2}
    write_json(partial / "store.json", store.info | {"packed": about})
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    logger.info("Packed store %s: %.1f MB, joints off by at most %.2f mm.", out, size, 500 * step)
    return out
