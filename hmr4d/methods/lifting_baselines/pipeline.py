"""The lifting baselines with the interface of trained models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hmr4d.body.pose_prior import PosePrior
from hmr4d.body.skeleton import (
    BODY25B,
    COCO17,
    HALPE26,
    MEDIAPIPE33,
    OPENPOSE18,
    OPENPOSE25,
    WHOLEBODY23,
    Skeleton,
)
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.base import Pipeline
from hmr4d.methods.lifting_baselines.ground_ray import ground_ray
from hmr4d.methods.lifting_baselines.optimization import optimization
from hmr4d.methods.lifting_baselines.oracle import oracle
from hmr4d.motion.motion import MotionBatch, Provenance

# Detector skeletons with joints that cannot be derived from SMPL joints -> skeleton of the joints that are used.
_BY_FEWER = {OPENPOSE25.name: OPENPOSE18, **{s.name: COCO17 for s in (HALPE26, BODY25B, WHOLEBODY23, MEDIAPIPE33)}}


class BaselinePipeline(Pipeline, ABC):
    """Lifts each track on its own, is deterministic, and returns one motion per track.

    `extras` of its batches contains "spread" and "residual" (B, L, J), both zero.

    Args:
        keypoints: skeleton of the keypoints; the attribute `skeleton` contains the lifted part.
        prior: file of a pose bank; None: synthetic motion.
    """

    def __init__(self, keypoints: Skeleton, prior: Path | None = None) -> None:
        super().__init__({"pose_prior": prior.name if prior else "procedural motion"})
        self.skeleton = _BY_FEWER.get(keypoints.name, keypoints)
        self.prior = None if prior is None else PosePrior.load(prior)

    @abstractmethod
    def lift_track(self, kp2d: Tensor, conf: Tensor, rig: Rig, fps: float) -> Tensor:
        """Joints (L, J, 3) in meters, world of the rig.

        Args:
            kp2d, conf: (L, J, 2) undistorted pixels and (L, J) confidence of view 0; with `uses_all_views` those of
                all, (V, L, J, ...).
            rig: V cameras.
            fps: frames per second.
        """

    def lift(
        self,
        kp2d: Tensor,
        conf: Tensor,
        rig: Rig,
        *,
        fps: float | None = None,
        lengths: Tensor | None = None,
        seed: int | Sequence[int] = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_samples: int = 1,
        num_inference_steps: int | None = None,
    ) -> MotionBatch:
        """Lifts tracks as in `Pipeline.lift`; the result is independent of the seed.

        Raises:
            ValueError: options of networks are given, or a track cannot be lifted.
        """
        if num_samples > 1 or num_inference_steps is not None:
            raise ValueError(
                f"{self.method} is deterministic: it supports neither several samples nor diffusion "
                "steps. Remove these options."
            )
        rate = self.fps if fps is None else fps
        lengths = torch.full((len(kp2d),), kp2d.shape[-3]) if lengths is None else lengths.cpu()
        batched = _for_all(rig, len(kp2d))
        motions = []
        for row, length in enumerate(lengths.tolist()):
            camera = Rig(batched.size[row], batched.K4[row], batched.T_w2c[row])
            track = kp2d[row, ..., :length, :, :], conf[row, ..., :length, :]
            motions.append(self.lift_track(*track, camera, rate).to(kp2d))
        joints3d = nn.utils.rnn.pad_sequence(motions, batch_first=True)
        zeros = torch.zeros_like(joints3d[..., 0])
        return MotionBatch(
            joints3d=joints3d,
            lengths=lengths,
            fps=rate,
            skeleton=self.skeleton,
            rig=batched,
            joints2d=project(batched, joints3d)[0],
            provenance=Provenance.from_metadata(self.about),
            extras={"spread": zeros, "residual": zeros},
        )


class GroundRayPipeline(BaselinePipeline):
    """See `ground_ray`."""

    method = "ground_ray"

    def lift_track(self, kp2d: Tensor, conf: Tensor, rig: Rig, fps: float) -> Tensor:
        return ground_ray(kp2d, conf, rig, fps, self.skeleton, prior=self.prior)


class OptimizationPipeline(BaselinePipeline):
    """See `optimization`."""

    method = "optimization"

    def lift_track(self, kp2d: Tensor, conf: Tensor, rig: Rig, fps: float) -> Tensor:
        return optimization(kp2d, conf, rig, fps, self.skeleton, prior=self.prior)


class LevelOptimizationPipeline(BaselinePipeline):
    """See `optimization`; the camera counts as level, and its height over the floor is not used."""

    method = "optimization_level"

    def lift_track(self, kp2d: Tensor, conf: Tensor, rig: Rig, fps: float) -> Tensor:
        return optimization(kp2d, conf, rig, fps, self.skeleton, prior=self.prior, known_camera="intrinsics")


class OraclePipeline(BaselinePipeline):
    """See `oracle`."""

    method = "oracle"
    uses_all_views = True

    def lift_track(self, kp2d: Tensor, conf: Tensor, rig: Rig, fps: float) -> Tensor:
        return oracle(kp2d, conf, rig, self.skeleton)


def _for_all(rig: Rig, count: int) -> Rig:
    """The rigs (B, V, ...) of `count` tracks. Raises ValueError unless there is one rig for all or one per track."""
    parts = [x if rig.K4.ndim == 3 else x[None] for x in (rig.size, rig.K4, rig.T_w2c)]
    if len(parts[1]) not in (1, count):
        raise ValueError(f"There are {len(parts[1])} rigs for {count} tracks; give one for all or one per track.")
    return Rig(*(x.expand(count, *x.shape[1:]) for x in parts))
