"""Conversion of lifted motion from the root frame to world coordinates, and of batches to prompt order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hmr4d.methods.motion2to3.options import SamplingOptions
from hmr4d.motion.canonical import align_to_floor, face_first_frame
from hmr4d.motion.cleaning import clean_motion
from hmr4d.motion.motion import MotionBatch
from hmr4d.representation.root_velocity import from_root_velocity
from hmr4d.utils.precision import full_precision


@full_precision
def finish_motion(local: Tensor, lengths: Tensor, options: SamplingOptions, *, fps: float) -> Tensor:
    """Motion (B, L, J, 3) in world coordinates from local points (B, L, P + 1, 3): summed root steps, facing +z, on
    the floor, zero padded."""
    joints3d = in_camera_world(local, options)
    if options.smooth or options.rigid_bones or options.plant_feet:
        joints3d = clean_motion(
            joints3d,
            fps=fps,
            lengths=lengths,
            smooth=options.smooth,
            rigid_bones=options.rigid_bones,
            plant=options.plant_feet,
        )
    joints3d = align_to_floor(face_first_frame(joints3d), lengths)
    valid = torch.arange(joints3d.shape[1], device=joints3d.device) < lengths.to(joints3d.device)[:, None]
    return joints3d * valid[..., None, None]


def in_camera_world(local: Tensor, options: SamplingOptions) -> Tensor:
    """Joints (B, L, J, 3) in the coordinate frame of the cameras, with the first root at the origin."""
    return from_root_velocity(local) if options.accumulate_root else local[..., :-1, :]


def in_prompt_order(drawn: Iterable[tuple[list[tuple[int, int]], MotionBatch]]) -> MotionBatch:
    """All motions of a request as one batch, in prompt order, with the samples of a prompt next to each other.

    Args:
        drawn: (prompt index, sample index) of each motion of a batch, and the batch; see `sample_batches`.
    """
    motions: dict[tuple[int, int], tuple[MotionBatch, int]] = {}
    for jobs, batch in drawn:
        motions |= {job: (batch, row) for row, job in enumerate(jobs)}
    ordered = [motions[job] for job in sorted(motions)]

    def padded(of: Callable[[MotionBatch], Any], axis: int = 0) -> Tensor:
        """A tensor of all motions, zero padded along the frame axis."""
        parts = [of(batch)[row].movedim(axis, 0)[: int(batch.lengths[row])] for batch, row in ordered]
        return nn.utils.rnn.pad_sequence(parts, batch_first=True).movedim(1, axis + 1)

    first = ordered[0][0]
    return replace(
        first,
        joints3d=padded(lambda batch: batch.joints3d),
        lengths=torch.stack([batch.lengths[row] for batch, row in ordered]),
        text=[batch.text[row] for batch, row in ordered],
        joints2d=padded(lambda batch: batch.joints2d, 1),
        seeds=[batch.seeds[row] for batch, row in ordered],
        more_provenance=[batch.more_provenance[row] for batch, row in ordered] if first.more_provenance else (),
        extras={
            "next_root2d": padded(lambda batch: batch.extras["next_root2d"], 1),
            "camera_joints3d": padded(lambda batch: batch.extras["camera_joints3d"]),
            "T_w2c": torch.stack([batch.extras["T_w2c"][row] for batch, row in ordered]),
            "is_perspective": first.extras["is_perspective"],
        },
    )


def replace_motions(batch: MotionBatch, rows: Tensor, others: MotionBatch, other_rows: Tensor) -> None:
    """Writes motions of `others` over motions of the same lengths in `batch`, in place; seeds and texts stay."""

    def write(of: Callable[[MotionBatch], Any], axis: int = 1) -> None:
        values = of(others)[other_rows].movedim(axis, 1)
        of(batch).movedim(axis, 1)[rows, : values.shape[1]] = values

    write(lambda of: of.joints3d)
    write(lambda of: of.joints2d, 2)
    write(lambda of: of.extras["next_root2d"], 2)
    write(lambda of: of.extras["camera_joints3d"])
    write(lambda of: of.extras["T_w2c"])
