"""Preparation of joints at any frame rate as input of an evaluator: normalized, padded feature rows and their number.

There are two preparations: the common protocol of the field, and the protocol of the published table of Motion-2-to-3.
They differ in resampling, inverse kinematics (the variant of the features), last row and padding value, so their
scores are not comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.datasets import stretch_linear
from hmr4d.evaluation.action_recognition import resample_clip
from hmr4d.motion.canonical import align_to_floor, face_first_frame, repeat_last_valid
from hmr4d.representation.hml263 import Hml263Codec
from hmr4d.representation.variant_statistics import VariantStatistics
from hmr4d.utils.tensors import as_tensor

Rows = tuple[int, int]  # first valid row and number of valid rows

MAX_ROWS = 196  # padded length of the common protocol: the largest multiple of 4 below 200
PUBLISHED_ROWS = 200  # padded length of the published model's protocol


class Encoded(NamedTuple):
    """Motions as features.

    Attributes:
        joints3d: (L, 22, 3) of each motion, meters, at the frame rate of the features.
        features: (B, F, 263) float32, not normalized, zero from row `num_rows` on.
        num_rows: (B,) int64, valid rows.
    """

    joints3d: list[Tensor]
    features: Tensor
    num_rows: Tensor


class EvaluatorInput(NamedTuple):
    """Input of an evaluator.

    Attributes:
        features: (B, R, 263) float32, normalized; rows from `num_rows` on are padding.
        num_rows: (B,) int64, valid rows.
    """

    features: Tensor
    num_rows: Tensor


class Preparation(Protocol):
    """Interface: converts joints to evaluator input in two steps, because a clip may be cut several times."""

    max_rows: int

    def encode(self, motions: Sequence[Tensor | NDArray[Any]], fps: float) -> Encoded:
        """Features of whole motions."""
        ...

    def cut(self, encoded: Encoded, rows: Sequence[Rows | None]) -> EvaluatorInput:
        """Selected rows of each motion, normalized and padded."""
        ...

    def shown(self, encoded: Encoded, rows: Sequence[Rows | None]) -> list[Tensor]:
        """Frames (L, 22, 3) of the selected rows of each motion, for physical metrics."""
        ...


class StandardPreparation:
    """The common protocol: features at the frame rate of the statistics, whole units of rows, zero padding.

    Args:
        statistics: normalization statistics of the evaluator.
        max_rows: padded length.
        unit: rows per unit.
    """

    def __init__(self, statistics: VariantStatistics, *, max_rows: int = MAX_ROWS, unit: int = 4) -> None:
        self.statistics, self.max_rows, self.unit = statistics, max_rows, unit
        self.codec = Hml263Codec(statistics.variant)

    def encode(self, motions: Sequence[Tensor | NDArray[Any]], fps: float) -> Encoded:
        """Features of whole motions.

        Args:
            motions: (L, 22, 3) each, meters, y up, any heading and position.
            fps: frame rate of all motions; a spline resamples them to the rate of the statistics.

        Raises:
            ValueError: wrong shape, coordinates that are not finite, or an unknown rate.
        """
        joints3d = [resample_clip(motion, fps, self.statistics.fps) for motion in checked_motions(motions, fps)]
        lengths = torch.tensor([len(one) for one in joints3d])
        features = self.codec.encode(pad_sequence(joints3d, batch_first=True), lengths)
        return Encoded(joints3d, features, lengths - 1)

    def cut(self, encoded: Encoded, rows: Sequence[Rows | None]) -> EvaluatorInput:
        """Selected rows of each motion, normalized, with zeros after the last one.

        Args:
            encoded: encoded motions.
            rows: selected rows of each motion; None: all. They are cut to the whole units that the motion has; shorter
                motions are not extended.

        Raises:
            ValueError: a motion has no whole unit of rows.
        """
        taken, device = self._units(encoded, rows), encoded.features.device
        first, count = (torch.tensor(column, device=device) for column in zip(*taken, strict=True))
        place = torch.arange(self.max_rows, device=device)
        index = (first[:, None] + place).clamp(max=encoded.features.shape[1] - 1)
        chosen = encoded.features.gather(1, index[..., None].expand(-1, -1, encoded.features.shape[-1]))
        return EvaluatorInput(self.statistics.normalize(chosen) * (place < count[:, None])[..., None], count)

    def shown(self, encoded: Encoded, rows: Sequence[Rows | None]) -> list[Tensor]:
        """Frames of the selected rows; a row needs its own frame and the next one."""
        taken = self._units(encoded, rows)
        parts = zip(encoded.joints3d, taken, strict=True)
        return [joints3d[first : first + count + 1] for joints3d, (first, count) in parts]

    def _units(self, encoded: Encoded, rows: Sequence[Rows | None]) -> list[Rows]:
        taken = []
        for num_rows, wanted in zip(encoded.num_rows.tolist(), rows, strict=True):
            first, count = wanted or (0, self.max_rows)
            count = min(count, num_rows - first, self.max_rows) // self.unit * self.unit
            if count < self.unit:
                raise ValueError(
                    f"A motion has {num_rows} feature rows at {self.statistics.fps:g} frames per second, "
                    f"{max(num_rows - first, 0)} of them from row {first} on; the evaluator needs at least "
                    f"{self.unit}. Exclude motions that are this short."
                )
            taken.append((first, count))
        return taken


class PublishedModelPreparation:
    """Preparation by the callback of the published model; `published_placement` is its first step.

    Motions are interpolated linearly to the rate of the statistics. The last frame is repeated, so that each frame has
    a row. Padding is zero before normalization, not after it.

    Args:
        statistics: normalization statistics of the evaluator. The features have the corrected hips, whatever variant
            the statistics name.
        max_rows: padded length.
    """

    def __init__(self, statistics: VariantStatistics, *, max_rows: int = PUBLISHED_ROWS) -> None:
        self.statistics, self.max_rows = statistics, max_rows
        self.codec = Hml263Codec("corrected_hips")

    def encode(self, motions: Sequence[Tensor | NDArray[Any]], fps: float) -> Encoded:
        """Features of whole motions.

        Args:
            motions: (L, 22, 3) each, meters, y up.
            fps: frame rate of all motions, 30 in the published protocol.

        Raises:
            ValueError: wrong shape, coordinates that are not finite (the published code replaces them by zeros), an
                unknown rate, or a motion longer than `max_rows`.
        """
        motions = checked_motions(motions, fps)
        lengths = torch.tensor([len(motion) for motion in motions])
        placed = published_placement(pad_sequence(list(motions), batch_first=True), lengths)
        counts = (lengths.float() / fps * self.statistics.fps).round().long()
        if int(counts.min()) < 1:
            raise ValueError(
                f"A motion of {int(lengths.min())} frames at {fps:g} frames per second is shorter than a frame at "
                f"{self.statistics.fps:g}. Exclude it."
            )
        if int(counts.max()) > self.max_rows:
            raise ValueError(
                f"A motion has {int(counts.max())} frames at {self.statistics.fps:g} frames per second; this protocol "
                f"takes at most {self.max_rows}. Exclude or cut it."
            )
        sizes = zip(placed, lengths.tolist(), counts.tolist(), strict=True)
        joints3d = [stretch_linear(motion[:length], count) for motion, length, count in sizes]
        doubled = pad_sequence([torch.cat([one, one[-1:]]) for one in joints3d], batch_first=True)
        return Encoded(joints3d, self.codec.encode(doubled, counts + 1), counts)

    def cut(self, encoded: Encoded, rows: Sequence[Rows | None]) -> EvaluatorInput:
        """All rows of each motion. Raises ValueError if rows are selected: this protocol scores whole motions."""
        self._refuse_rows(rows)
        features = encoded.features
        missing = features.new_zeros(len(features), self.max_rows - features.shape[1], features.shape[-1])
        return EvaluatorInput(self.statistics.normalize(torch.cat([features, missing], 1)), encoded.num_rows)

    def shown(self, encoded: Encoded, rows: Sequence[Rows | None]) -> list[Tensor]:
        """All frames of each motion."""
        self._refuse_rows(rows)
        return encoded.joints3d

    def _refuse_rows(self, rows: Sequence[Rows | None]) -> None:
        if any(wanted is not None for wanted in rows):
            raise ValueError("The published model's protocol scores whole motions; use FrameCuts for its clips.")


def published_placement(joints3d: Tensor, lengths: Tensor) -> Tensor:
    """Motions (B, L, 22, 3) facing +z in frame 0, lowest joint at y = 0, padded by repeating the last valid frame.

    The published callback saves all generated and real motions in this placement.
    """
    return align_to_floor(repeat_last_valid(face_first_frame(joints3d), lengths))


def checked_motions(motions: Sequence[Tensor | NDArray[Any]], fps: float | None) -> list[Tensor]:
    """The motions, tensors or arrays, as float32 tensors.

    Raises:
        ValueError: there are no motions, the rate is unknown, a shape is not (L, 22, 3) with L > 1, or a coordinate is
            not finite; the message names the first such motion.
    """
    if not len(motions):
        raise ValueError("No motions to prepare; give at least one.")
    if fps is None or not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps}; give the frame rate of the motions.")
    checked = [as_tensor(motion).float() for motion in motions]
    for number, motion in enumerate(checked):
        if motion.ndim != 3 or motion.shape[1:] != (SMPL22.num_joints, 3) or len(motion) < 2:
            raise ValueError(
                f"Motion {number} has shape {tuple(motion.shape)}; evaluators expect (L, {SMPL22.num_joints}, 3) "
                f"joints of skeleton '{SMPL22.name}' and at least two frames. Select these joints."
            )
        if not bool(torch.isfinite(motion).all()):
            frame = int((~torch.isfinite(motion)).flatten(1).any(1).nonzero()[0])
            raise ValueError(
                f"Motion {number} has coordinates that are not finite, first in frame {frame}. Repair or exclude the "
                "motion. If a model generated it, its weights are damaged or its training diverged."
            )
    return checked
