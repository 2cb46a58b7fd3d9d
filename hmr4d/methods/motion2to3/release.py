"""Released models: one folder with weights, what is needed to rebuild the pipeline, statistics and a card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.motion2to3.checkpoints import read_weights
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.options import SamplingOptions
from hmr4d.methods.motion2to3.patch_denoiser import PatchDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.action_index import FILE_NAME, ActionIndex
from hmr4d.nn.text import TextEncoder, build_text_encoder
from hmr4d.nn.text_adapter import ADAPTER_NAME, TextAdapter
from hmr4d.representation.motion2d import Motion2DCodec, Statistics
from hmr4d.utils.files import atomic_path
from hmr4d.utils.releases import CONFIG_NAME, find_release, model_facts, read_release_config, write_release
from hmr4d.utils.weights import load_strictly

FORMAT = "hmr4d-motion2to3"
VERSION = 1
NETWORKS = {network.__name__: network for network in (MotionDenoiser, PatchDenoiser)}
STATISTICS_NAME = "statistics.npz"


def save_release(
    folder: str | Path, pipeline: Motion2to3Pipeline, *, network: dict[str, Any], text_encoder: dict[str, Any],
    about: dict[str, Any],
) -> None:  # fmt: skip
    """Writes weights (float16), configuration, statistics and, where they are listed, known actions of a pipeline.

    Args:
        folder: made if needed.
        pipeline: whose denoiser is saved.
        network: keyword arguments of its denoiser.
        text_encoder: keyword arguments of `build_text_encoder`.
        about: JSON object for the card: data, licence, command, steps, hardware, loss.
    """
    folder = Path(folder)
    with atomic_path(folder / STATISTICS_NAME) as path:
        pipeline.codec.statistics.save(path)
    adapter = pipeline.text_adapter
    if pipeline.actions is not None:
        pipeline.actions.save(folder / FILE_NAME)
        adapter = adapter or pipeline.actions.adapter
    if adapter is not None:
        adapter.save(folder / ADAPTER_NAME)
    config = {
        "skeleton": pipeline.codec.statistics.skeleton,
        "representation": pipeline.codec.statistics.representation,
        "joint_convention": pipeline.joint_convention,
        "fps": pipeline.fps,
        "min_seconds": pipeline.min_seconds,
        "max_seconds": pipeline.max_seconds,
        "network_class": type(pipeline.denoiser).__name__,
        "network": network,
        "schedule": {"num_steps": pipeline.schedule.num_steps, "kind": pipeline.schedule.kind},
        "sampling": asdict(pipeline.sampling),
        "rig": asdict(pipeline.rig),
        "relative_cameras": pipeline.relative_cameras,
        "use_pooled_token": pipeline.use_pooled_token,
        "text_encoder": text_encoder,
        "about": about,
    }
    write_release(folder, pipeline.denoiser, config, kind=FORMAT, version=VERSION)


def load_release(
    name_or_folder: str | Path, *, device: torch.device | str = "cpu", text_encoder: TextEncoder | None = None
) -> Motion2to3Pipeline:
    """A released model, ready to sample.

    Args:
        name_or_folder: such as "motion2to3-bandai".
        device: where the denoiser runs.
        text_encoder: instead of the one named in the configuration.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: one of its files is damaged or does not fit the others.
    """
    folder = find_release(name_or_folder)
    config = read_release_config(folder, kind=FORMAT, version=VERSION)
    try:
        pipeline = _build(folder, config, text_encoder)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / CONFIG_NAME} does not describe a pipeline of this version ({error}). Restore the folder."
        ) from error
    pipeline.about |= model_facts(name_or_folder, folder)
    pipeline.actions = load_actions(folder)
    return pipeline.eval().to(device)


def load_actions(folder: Path) -> ActionIndex | None:
    """The known actions in the folder of a model or of `prepare.py text-adapter`; None where there is no list.

    Raises:
        ValueError: a file is damaged.
    """
    if not (folder / FILE_NAME).is_file():
        return None
    adapter = folder / ADAPTER_NAME
    return ActionIndex.load(folder / FILE_NAME, TextAdapter.load(adapter) if adapter.is_file() else None)


def _build(folder: Path, config: dict[str, Any], text_encoder: TextEncoder | None) -> Motion2to3Pipeline:
    """The pipeline of a release folder on the CPU."""
    denoiser = NETWORKS[config.get("network_class", "MotionDenoiser")](**config["network"])
    load_strictly(denoiser, read_weights(folder), (), source=str(folder))
    return Motion2to3Pipeline(
        denoiser,
        Motion2DCodec(Statistics.load(folder / STATISTICS_NAME)),
        NoiseSchedule(**config["schedule"]),
        text_encoder=text_encoder or build_text_encoder(**config["text_encoder"]),
        sampling=SamplingOptions(**config["sampling"]),
        rig=OrbitRig(**config["rig"]),
        relative_cameras=config["relative_cameras"],
        text_adapter=folder / ADAPTER_NAME if (folder / ADAPTER_NAME).is_file() else None,
        use_pooled_token=config["use_pooled_token"],
        fps=config["fps"],
        min_seconds=config["min_seconds"],
        max_seconds=config["max_seconds"],
        joint_convention=config.get("joint_convention"),
    )
