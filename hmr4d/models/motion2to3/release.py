"""Released models: one folder with weights, what is needed to rebuild the pipeline, statistics and a card."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from hmr4d.data.rigs import OrbitRig
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.models.motion2to3.checkpoints import WEIGHTS_NAME, read_weights
from hmr4d.models.motion2to3.denoiser import MotionDenoiser
from hmr4d.models.motion2to3.options import SamplingOptions
from hmr4d.models.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.text import TextEncoder, build_text_encoder
from hmr4d.representation.motion2d import Motion2DCodec, Statistics
from hmr4d.utils.files import atomic_path, write_json
from hmr4d.utils.releases import find_release_folder
from hmr4d.utils.weights import load_strictly

FORMAT = "hmr4d-motion2to3"
VERSION = 1
CONFIG_NAME = "config.json"
STATISTICS_NAME = "statistics.npz"


def find_release(name_or_folder: str | Path) -> Path:
    """Folder of a released model by name or path; FileNotFoundError lists the models that are there."""
    wanted = f"{CONFIG_NAME} and {WEIGHTS_NAME}"
    return find_release_folder(name_or_folder, kind="released model", marker=CONFIG_NAME, wanted=wanted)


def save_release(
    folder: str | Path, pipeline: Motion2to3Pipeline, *, network: dict[str, Any], text_encoder: dict[str, Any],
    about: dict[str, Any],
) -> None:  # fmt: skip
    """Writes weights (float16), configuration and statistics of a pipeline.

    Args:
        folder: made if needed.
        pipeline: whose denoiser is saved.
        network: keyword arguments of its `MotionDenoiser`.
        text_encoder: keyword arguments of `build_text_encoder`.
        about: JSON object for the card: data, licence, command, steps, hardware, loss.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.detach().cpu().half().contiguous() for k, v in pipeline.denoiser.state_dict().items()}
    with atomic_path(folder / WEIGHTS_NAME) as path:
        save_file(weights, path, metadata={"format": FORMAT, "version": str(VERSION)})
    with atomic_path(folder / STATISTICS_NAME) as path:
        pipeline.codec.statistics.save(path)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "skeleton": pipeline.codec.statistics.skeleton,
        "representation": pipeline.codec.statistics.representation,
        "fps": pipeline.fps,
        "min_seconds": pipeline.min_seconds,
        "max_seconds": pipeline.max_seconds,
        "network": network,
        "schedule": {"num_steps": pipeline.schedule.num_steps, "kind": pipeline.schedule.kind},
        "sampling": asdict(pipeline.sampling),
        "rig": asdict(pipeline.rig),
        "relative_cameras": pipeline.relative_cameras,
        "use_pooled_token": pipeline.use_pooled_token,
        "text_encoder": text_encoder,
        "about": about,
    }
    write_json(folder / CONFIG_NAME, config)


def read_release_config(folder: Path) -> dict[str, Any]:
    """The configuration of a release folder; ValueError when it is damaged or of another format."""
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Restore the folder from the repository.") from error
    if config.get("format") != FORMAT or config.get("version") != VERSION:
        raise ValueError(
            f"{path} is {config.get('format')!r} version {config.get('version')!r}; "
            f"expected {FORMAT!r} version {VERSION}."
        )
    return config


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
    config = read_release_config(folder)
    try:
        pipeline = _build(folder, config, text_encoder)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / CONFIG_NAME} does not describe a pipeline of this version ({error}). Restore the folder."
        ) from error
    return pipeline.eval().to(device)


def _build(folder: Path, config: dict[str, Any], text_encoder: TextEncoder | None) -> Motion2to3Pipeline:
    """The pipeline of a release folder on the CPU."""
    denoiser = MotionDenoiser(**config["network"])
    load_strictly(denoiser, read_weights(folder), (), source=str(folder))
    return Motion2to3Pipeline(
        denoiser,
        Motion2DCodec(Statistics.load(folder / STATISTICS_NAME)),
        NoiseSchedule(**config["schedule"]),
        text_encoder=text_encoder or build_text_encoder(**config["text_encoder"]),
        sampling=SamplingOptions(**config["sampling"]),
        rig=OrbitRig(**config["rig"]),
        relative_cameras=config["relative_cameras"],
        use_pooled_token=config["use_pooled_token"],
        fps=config["fps"],
        min_seconds=config["min_seconds"],
        max_seconds=config["max_seconds"],
    )
