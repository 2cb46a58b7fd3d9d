"""Mocap-2-to-3 as a method: its construction and its releases."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hmr4d.body.skeleton import get_skeleton
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.base import Method
from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.methods.mocap2to3.weights import WEIGHTS
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.representation.world_joints import WorldJointsCodec


class Mocap2to3(Method):
    """Lifts 2D keypoints of one calibrated camera to metric 3D motion by generating the views of virtual cameras."""

    name, title = "mocap2to3", "Mocap-2-to-3"
    pipeline_class, weights = Mocap2to3Pipeline, WEIGHTS
    trained_settings = (*Method.trained_settings, "representation", "camera_input", "rigs", "foot_contact_conditioning")

    def describe(self, pipeline: Mocap2to3Pipeline) -> dict[str, Any]:
        codec = pipeline.codec
        tokens = None
        if isinstance(codec, BboxPose2DCodec):
            tokens = {"box": codec.box, "smooth": codec.smooth, "isotropic": codec.isotropic}
        return {
            "network": dict(pipeline.denoiser.settings),
            "skeleton": codec.skeleton.name,
            "joint_convention": pipeline.joint_convention,
            "foot_heights": dict(pipeline.foot_heights),
            "tokens": tokens,
            "margin": codec.margin,
            "direct": pipeline.world_codec is not None,
            "fps": pipeline.fps,
            "schedule": {"num_steps": pipeline.schedule.num_steps, "kind": pipeline.schedule.kind},
            "sampling": asdict(pipeline.sampling),
            "cameras": pipeline.cameras,
            "max_range": pipeline.max_range,
        }

    def restore(self, config: dict[str, Any], folder: Path) -> Mocap2to3Pipeline:
        skeleton, margin, tokens = get_skeleton(config["skeleton"]), config["margin"], config["tokens"]
        codec = ImagePose2DCodec(skeleton, margin=margin)
        network = {str(_EARLIER.get(name, name)): value for name, value in config["network"].items()}
        return Mocap2to3Pipeline(
            LiftingDenoiser(**network),
            codec if tokens is None else BboxPose2DCodec(skeleton, margin=margin, **tokens),
            NoiseSchedule(**config["schedule"]),
            world_codec=WorldJointsCodec(skeleton) if config["direct"] else None,
            sampling=LiftSamplingOptions(**config["sampling"]),
            cameras=config["cameras"],
            max_range=config["max_range"],
            fps=config["fps"],
            joint_convention=config.get("joint_convention"),
            foot_heights=config.get("foot_heights"),  # older releases use the heights of the convention
        )


_EARLIER = {"num_hint_features": "num_contact_features"}  # name in older releases -> current name
METHOD = Mocap2to3()
