"""CSV: joint positions as a table, for spreadsheets and statistics programs."""

from __future__ import annotations

import json
import os

import numpy as np
import torch

from hmr4d.body.joint_checks import check_size
from hmr4d.export.posing import FRAMES_PER_BLOCK, motion_metadata
from hmr4d.export.text_rows import write_rows
from hmr4d.motion.motion import Motion
from hmr4d.utils.files import atomic_path

_DECIMALS = 5  # meters


def write_csv(path: str | os.PathLike[str], motion: Motion) -> None:
    """Writes one motion atomically: one line `# {...}` of metadata, one line of column names, one line per frame.

    Args:
        path: file to write.
        motion: motion of any skeleton; the columns are named after its joints.

    Raises:
        ValueError: the motion is invalid or cannot be in meters.
        OSError: the file cannot be written.
    """
    joints3d, fps, skeleton = motion.array(), motion.fps, motion.skeleton
    check_size(torch.from_numpy(joints3d), skeleton)
    metadata = motion_metadata(motion)
    columns = ["frame", "time", *(f"{joint}_{axis}" for joint in skeleton.joint_names for axis in "xyz")]
    decimals = [0, 6, *[_DECIMALS] * (len(columns) - 2)]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f"# {json.dumps(metadata, ensure_ascii=False)}\n{','.join(columns)}\n")
        for start in range(0, len(joints3d), FRAMES_PER_BLOCK):
            block = joints3d[start : start + FRAMES_PER_BLOCK].astype(np.float64)
            frames = np.arange(start, start + len(block), dtype=np.float64)[:, None]
            rows = np.concatenate([frames, frames / fps, block.reshape(len(block), -1)], 1)
            write_rows(stream, rows, decimals, ",")
