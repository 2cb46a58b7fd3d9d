"""Joints of a whole store in one small file: rounded to a step, second differences over time, compressed by xz.

For stores that are passed on with the program. Each number is off by at most half a step.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np

from hmr4d.body.skeleton import Skeleton

FILE = "joints.xz"
STEP = 0.0005  # meters


def pack_joints(joints: np.ndarray, lengths: Sequence[int], skeleton: Skeleton, step: float = STEP) -> bytes:
    """Compressed joints; `unpack_joints` restores them with an error of at most step / 2.

    Joints are relative to their parent after rounding, so that errors do not accumulate along a limb. Each clip begins
    with its first frame and its first difference.

    Args:
        joints: (N, J, 3) meters, clip after clip.
        lengths: frames of each clip; they add up to N.
        skeleton: skeleton of the joints.
        step: meters.

    Raises:
        ValueError: a number too large for the step.
    """
    steps = np.rint(joints.astype(np.float64) / step).astype(np.int64)
    steps[:, _children(skeleton)] -= steps[:, _parents(skeleton)]
    for start, end in _clips(lengths):
        for first in (start + 1, start + 2):
            steps[first:end] -= steps[first - 1 : end - 1].copy()
    limit = np.iinfo(np.int16).max
    if (largest := np.abs(steps).max(initial=0)) > limit:
        raise ValueError(
            f"A joint is {largest * step:.1f} m from the origin, or as fast; at steps of {step} m at most "
            f"{limit * step:.1f} m can be packed. Move the motion to the origin or choose a larger step."
        )
    columns = np.ascontiguousarray(steps.reshape(len(steps), -1).T, dtype="<i2")
    return lzma.compress(columns.tobytes(), preset=9)


def unpack_joints(packed: bytes, lengths: Sequence[int], skeleton: Skeleton, step: float) -> np.ndarray:
    """(N, J, 3) float32 meters from `pack_joints`.

    Raises:
        ValueError: the bytes are damaged, or of other clips.
    """
    try:
        content = lzma.decompress(packed)
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(f"no readable xz file ({error})") from error
    num_frames = int(np.sum(lengths))
    if len(content) != (expected := 2 * num_frames * skeleton.num_joints * 3):
        raise ValueError(f"{len(content)} bytes of joints, expected {expected}")
    columns = np.frombuffer(content, dtype="<i2").reshape(skeleton.num_joints * 3, num_frames)
    steps = columns.T.astype(np.int32, order="C").reshape(num_frames, skeleton.num_joints, 3)
    for start, end in _clips(lengths):
        for first in (start + 1, start):
            np.cumsum(steps[first:end], axis=0, out=steps[first:end])
    for parent, child in skeleton.bones:  # parents come first
        steps[:, child] += steps[:, parent]
    return (steps * step).astype(np.float32)


def _children(skeleton: Skeleton) -> list[int]:
    return [child for _, child in skeleton.bones]


def _parents(skeleton: Skeleton) -> list[int]:
    return [parent for parent, _ in skeleton.bones]


def _clips(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """[start, end) of every clip."""
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64))
    return [(int(end - length), int(end)) for end, length in zip(ends, lengths, strict=True)]
