"""The ways of lifting that `hmr4d lift` offers: how each is loaded, what joints it takes, how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from hmr4d.keypoint_files.gaps import SURE
from hmr4d.motion.motion import MotionBatch


@dataclass(frozen=True)
class LiftRequest:
    """What to load and how to run it.

    Attributes:
        model: name or folder of a released model.
        device: where networks run.
        samples: motions that are averaged.
        steps: diffusion steps; None: the model's own.
        seed: of sample 0.
        skeleton: of the keypoints.
        prior: file of poses for methods without a network; None: made-up motion.
    """

    model: str
    device: str
    samples: int
    steps: int | None
    seed: int
    skeleton: Skeleton
    prior: Path | None = None


@dataclass(frozen=True)
class Lifter:
    """A loaded method.

    Attributes:
        run: (kp2d (1, L, J, 2) pixels, conf (1, L, J), rig of V views, fps) -> a batch of one motion, with `spread` and
            `residual` (1, L, J) metres in `extras`, zero where the method has none.
        skeleton: joints that it takes.
        needs_views: virtual cameras are used, and how they agree tells the confidence; otherwise the rig is the real
            camera alone, and the confidence is not known.
        about: JSON object to keep with its motions.
        min_conf: keypoints of lower confidence count as missing.
        foot_heights: metres of its standing foot joints, see `rest_heights`; those it has none of are an adult's.
    """

    run: Callable[[Tensor, Tensor, Rig, float], MotionBatch]
    skeleton: Skeleton
    needs_views: bool
    about: dict[str, Any] = field(default_factory=dict)
    min_conf: float = SURE
    foot_heights: Mapping[str, float] = field(default_factory=dict)


def load_mocap2to3(request: LiftRequest) -> Lifter:
    """The diffusion model."""
    from hmr4d.methods.mocap2to3.release import FORMAT, VERSION, load_release
    from hmr4d.utils.devices import pick_device
    from hmr4d.utils.releases import find_release, read_release_config

    config = read_release_config(find_release(request.model), kind=FORMAT, version=VERSION)
    pipeline = load_release(request.model, device=pick_device(request.device))

    def run(kp2d: Tensor, conf: Tensor, rig: Rig, fps: float) -> MotionBatch:
        return pipeline.sample(
            kp2d, conf, rig, fps=fps, seed=request.seed, num_samples=request.samples,
            num_inference_steps=request.steps,
        )  # fmt: skip

    about = {"model": request.model, "licence": config.get("about", {}).get("licence", "")}
    return Lifter(run, pipeline.codec.skeleton, True, about, pipeline.sampling.min_conf, pipeline.foot_heights)


def load_ground_ray(request: LiftRequest) -> Lifter:
    """Depth from the feet on the floor, poses from a bank; no network."""
    from hmr4d.methods.mocap2to3.baselines.ground_ray import ground_ray

    return _without_network(ground_ray, request)


def load_optimisation(request: LiftRequest) -> Lifter:
    """A kinematic chain fitted to the keypoints over the floor; no network."""
    from hmr4d.methods.mocap2to3.baselines.optimisation import optimisation

    return _without_network(optimisation, request)


def _without_network(method: Callable[..., Tensor], request: LiftRequest) -> Lifter:
    """A method that looks at the real camera alone, draws nothing, and gives one motion.

    Args:
        method: (kp2d (L, J, 2), conf (L, J), rig, fps, skeleton, prior=...) -> (L, J, 3) metres.
        request: what was asked for.

    Raises:
        ValueError: options of networks were given.
    """
    if request.samples > 1 or request.steps is not None:
        raise ValueError("--samples and --steps are for --method mocap2to3; this method gives one motion.")
    skeleton = _BY_FEWER.get(request.skeleton.name, request.skeleton)
    prior = None if request.prior is None else PosePrior.load(request.prior)

    def run(kp2d: Tensor, conf: Tensor, rig: Rig, fps: float) -> MotionBatch:
        joints3d = method(kp2d[0], conf[0], rig, fps, skeleton, prior=prior)[None].to(kp2d)
        batched = Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])
        zeros = torch.zeros_like(conf)
        return MotionBatch(
            joints3d=joints3d, lengths=torch.tensor([kp2d.shape[1]]), fps=fps, skeleton=skeleton,
            joints2d=project(batched, joints3d)[0], rig=batched, extras={"spread": zeros, "residual": zeros},
        )  # fmt: skip

    about = {"pose_prior": request.prior.name if request.prior else "procedural motion"}
    return Lifter(run, skeleton, False, about)


# Sets of detectors with joints that cannot be told from SMPL joints, and those that are used of them.
_BY_FEWER = {OPENPOSE25.name: OPENPOSE18, **{s.name: COCO17 for s in (HALPE26, BODY25B, WHOLEBODY23, MEDIAPIPE33)}}
METHODS: dict[str, Callable[[LiftRequest], Lifter]] = {
    "mocap2to3": load_mocap2to3,
    "ground_ray": load_ground_ray,
    "optimisation": load_optimisation,
}
