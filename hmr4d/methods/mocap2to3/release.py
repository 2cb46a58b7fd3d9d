"""Released models: one folder with weights, what is needed to rebuild the pipeline, and a card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hmr4d.body.skeleton import get_skeleton
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.mocap2to3.checkpoints import read_weights
from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.representation.view_points import ViewPointCodec
from hmr4d.representation.view_tokens import ViewTokenCodec
from hmr4d.representation.world_joints import WorldJointsCodec
from hmr4d.utils.releases import CONFIG_NAME, find_release, read_release_config, write_release
from hmr4d.utils.weights import load_strictly

FORMAT = "hmr4d-mocap2to3"
VERSION = 1


def save_release(
    folder: str | Path, pipeline: Mocap2to3Pipeline, *, network: dict[str, Any], about: dict[str, Any]
) -> None:
    """Writes weights (float16) and configuration of a pipeline.

    Args:
        folder: made if needed.
        pipeline: whose denoiser is saved.
        network: keyword arguments of its `LiftingDenoiser`.
        about: JSON object for the card: data of both stages, licence, command, steps, hardware, loss.
    """
    codec = pipeline.codec
    tokens = None
    if isinstance(codec, ViewTokenCodec):
        tokens = {"box": codec.box, "smooth": codec.smooth, "isotropic": codec.isotropic}
    config = {
        "skeleton": codec.skeleton.name,
        "joint_convention": pipeline.joint_convention,
        "foot_heights": pipeline.foot_heights,
        "tokens": tokens,
        "margin": codec.margin,
        "direct": pipeline.world_codec is not None,
        "fps": pipeline.fps,
        "network": network,
        "schedule": {"num_steps": pipeline.schedule.num_steps, "kind": pipeline.schedule.kind},
        "sampling": asdict(pipeline.sampling),
        "cameras": pipeline.cameras,
        "max_range": pipeline.max_range,
        "about": about,
    }
    write_release(Path(folder), pipeline.denoiser, config, kind=FORMAT, version=VERSION)


def load_release(name_or_folder: str | Path, *, device: torch.device | str = "cpu") -> Mocap2to3Pipeline:
    """A released model, ready to sample.

    Args:
        name_or_folder: such as "mocap2to3-bandai".
        device: where the denoiser runs.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: one of its files is damaged or does not fit the others.
    """
    folder = find_release(name_or_folder)
    config = read_release_config(folder, kind=FORMAT, version=VERSION)
    try:
        pipeline = _build(folder, config)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / CONFIG_NAME} does not describe a pipeline of this version ({error}). Restore the folder."
        ) from error
    return pipeline.eval().to(device)


def _build(folder: Path, config: dict[str, Any]) -> Mocap2to3Pipeline:
    """The pipeline of a release folder on the CPU."""
    denoiser = LiftingDenoiser(**config["network"])
    load_strictly(denoiser, read_weights(folder), (), source=str(folder))
    skeleton, margin, tokens = get_skeleton(config["skeleton"]), config["margin"], config["tokens"]
    codec = ViewPointCodec(skeleton, margin=margin)
    return Mocap2to3Pipeline(
        denoiser,
        codec if tokens is None else ViewTokenCodec(skeleton, margin=margin, **tokens),
        NoiseSchedule(**config["schedule"]),
        world_codec=WorldJointsCodec(skeleton) if config["direct"] else None,
        sampling=LiftSamplingOptions(**config["sampling"]),
        cameras=config["cameras"],
        max_range=config["max_range"],
        fps=config["fps"],
        joint_convention=config.get("joint_convention"),
        foot_heights=config.get("foot_heights"),  # older releases: those of the convention
    )
