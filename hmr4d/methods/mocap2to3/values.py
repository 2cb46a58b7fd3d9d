"""Values passed between the stages of lifting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from hmr4d.geometry.rigs import Rig
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec

MOTION = -1  # number of the sample that starts from the motion of a guess
ViewCodec = BboxPose2DCodec | ImagePose2DCodec  # codec of the motion of a view


@dataclass(frozen=True)
class LiftDraws:
    """The random numbers of one training step: eps (B, V, L, D) noise, t (B,) steps, keep_camera (B,) bool."""

    eps: Tensor
    t: Tensor
    keep_camera: Tensor


@dataclass(frozen=True)
class CameraInputs:
    """Camera input of the network: rig, camera condition `cam` (B, V, C), and map tokens `memory` (B, V, M, dim)."""

    rig: Rig
    cam: Tensor
    memory: Tensor

    def select(self, rows: Tensor) -> CameraInputs:
        """The camera inputs of selected items."""
        rig = Rig(self.rig.size[rows], self.rig.K4[rows], self.rig.T_w2c[rows])
        return CameraInputs(rig, self.cam[rows], self.memory if len(self.memory) == 1 else self.memory[rows])


@dataclass(frozen=True)
class Track:
    """Observation of view 0: `pixels` (B, L, J, 2), `conf` (B, L, J), 0 where missing, `lengths` (B,)."""

    pixels: Tensor
    conf: Tensor
    lengths: Tensor

    def seen(self, min_conf: float) -> Tensor:
        """(B, L, J) bool: joints observed with a confidence of at least `min_conf`."""
        return (self.conf >= min_conf) & (self.conf > 0)

    def cut(self, rows: Tensor, start: int, window: int) -> Track:
        """A window of selected items, cut to the longest of them."""
        lengths = (self.lengths[rows] - start).clamp(max=window)
        end = start + int(lengths.max())
        return Track(self.pixels[rows, start:end], self.conf[rows, start:end], lengths)


@dataclass(frozen=True)
class Lifted:
    """World motion `joints3d` (B, L, J, 3) and `residual` (B, L, J), both meters."""

    joints3d: Tensor
    residual: Tensor


def mean_of_samples(
    samples: Mapping[tuple[int, int], Lifted], num_tracks: int, drawn: Sequence[int]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Motions (B, L, J, 3) of tracks, zero padded, and statistics of their samples.

    The motion is the mean of the samples or, if it exists, the sample MOTION; the other samples then start from
    perturbed guesses.

    Args:
        samples: (track, sample) -> motion (L, J, 3) and residual (L, J).
        num_tracks: B.
        drawn: sample numbers of each track, MOTION first.

    Returns: The motions, and "samples" (B, K, L, J, 3), "spread" (B, L, J), the root mean square distance of the
        samples from the motion, and "residual" (B, L, J), the mean residual of all samples; meters.
    """
    order = [(i, k) for i in range(num_tracks) for k in drawn]
    columns = [samples[job].joints3d for job in order], [samples[job].residual for job in order]
    joints3d, residual = (
        nn.utils.rnn.pad_sequence(column, batch_first=True).unflatten(0, (num_tracks, len(drawn))) for column in columns
    )
    mean = joints3d.mean(1)
    if drawn[0] == MOTION:
        mean, joints3d = joints3d[:, 0], joints3d[:, 1:] if len(drawn) > 1 else joints3d
    spread = (joints3d - mean[:, None]).square().sum(-1).mean(1).sqrt()
    return mean, {"samples": joints3d, "spread": spread, "residual": residual.mean(1)}
