"""The models that `hmr4d quality` scores: loaded from a release or a run, and sampled with a cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.evaluation.action_recognition import LabeledMotion
from hmr4d.evaluation.prompt_sets import PromptSet
from hmr4d.methods.base import Pipeline
from hmr4d.methods.registry import load_released, method_of_config
from hmr4d.motion.motion import MotionBatch
from hmr4d.utils.files import atomic_path, file_hash
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import mix_seed
from hmr4d.utils.releases import find_release
from hmr4d.utils.weights import WEIGHTS_NAME

PROMPTS_PER_PART = 64  # prompts per cache file; an interrupted run loses at most this many motions


@dataclass(frozen=True)
class Draw:
    """Sampling options: seeds 0 .. `seeds` - 1, and overrides of the model's default options."""

    seeds: int
    steps: int | None
    guidance: float | None


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        sampler: generates motion from text.
        metadata: entries for the card.
        identity: all settings that determine its motion.
        steps: default number of sampling steps.
        guidance: default guidance scale.
    """

    sampler: Pipeline
    metadata: dict[str, Any]
    identity: dict[str, Any]
    steps: int | None = None
    guidance: float | None = None


# --- the model --------------------------------------------------------------------------------------------------------


def load_model(name: str, device: torch.device) -> Model:
    """Loads a released model by name or folder."""
    folder = find_release(name)
    metadata = {"name": name, "file": WEIGHTS_NAME, "sha256": file_hash(folder / WEIGHTS_NAME)}
    pipeline = load_released(folder, device=device, needs="sample")
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".md"}
    return _model(pipeline, metadata, metadata | {"files": files})


def load_checkpoint(path: Path, exp: str | None, overrides: Sequence[str], device: torch.device) -> Model:
    """Loads a checkpoint of a training run from a copy, because a running training may replace the file.

    Raises:
        FileNotFoundError: the checkpoint or the configuration of its run is missing.
        ValueError: the configuration has a target that must not be built from a file; see `check_targets`.
    """
    from omegaconf import OmegaConf

    from hmr4d.engine.compose import check_targets, compose_config, load_config

    if not path.is_file():
        raise FileNotFoundError(f"Checkpoint not found: {path}. Give a .ckpt file of a training run.")
    config = path.parent.parent / "config.yaml"
    if exp is not None:
        cfg = compose_config([f"exp={exp}", *overrides])
    elif config.is_file():
        cfg = load_config(config)
        cfg.merge_with_dotlist(list(overrides))
        check_targets(cfg.pipeline)
    else:
        raise FileNotFoundError(f"{config} not found. Name the experiment of {path} with --exp.")
    method = method_of_config(cfg)
    if method is None:
        raise ValueError(
            f"{path} is a checkpoint of {cfg.exp_name}, which trains no method, so it generates no "
            "motion. Give a checkpoint of a method."
        )
    method.require("sample", asked_for="The quality of generated motion")
    pipeline = method.build(cfg)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        method.weights.load(pipeline, copy)
        step = torch.load(copy, map_location="cpu", weights_only=True).get("global_step")
        metadata = {"name": f"{path.parent.parent.name}/{path.name}", "step": step, "sha256": file_hash(copy)}
    identity = metadata | {"pipeline": OmegaConf.to_container(cfg.pipeline, resolve=True)}
    return _model(pipeline.eval().to(device), metadata, identity)


def load_sampler(name: str, device: torch.device) -> Pipeline:
    """A released model, or the last checkpoint of a training run, that samples motion.

    Args:
        name: name of a release, folder of a release or of a run, or path of a checkpoint.
        device: device of the network.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or does not sample motion.
    """
    path = Path(name)
    if (path / "config.yaml").is_file():
        path = path / "checkpoints" / "last.ckpt"
    if path.suffix != ".ckpt":
        return load_released(name, device=device, needs="sample")
    pipeline = load_checkpoint(path, None, (), device).sampler
    pipeline.about["model"] = name
    return pipeline


def _model(pipeline: Pipeline, metadata: dict[str, Any], identity: dict[str, Any]) -> Model:
    """A model with its default number of steps and guidance scale, if its method has these options."""
    own = getattr(pipeline, "sampling", None)
    return Model(
        pipeline, metadata, identity, *(getattr(own, k, None) for k in ("num_inference_steps", "guidance_scale"))
    )


# --- generation -------------------------------------------------------------------------------------------------------


def generate(model: Model, prompts: PromptSet, repeat: int, draw: Draw, cache: Path) -> LabeledMotion:
    """Motions of one repeat in the order of the set, generated or read from the cache.

    A cache file contains `PROMPTS_PER_PART` motions. Its name is a hash of all settings that determine them.
    """
    order = sorted(range(len(prompts)), key=lambda i: (prompts.seconds[i], i))
    parts = [order[start : start + PROMPTS_PER_PART] for start in range(0, len(order), PROMPTS_PER_PART)]
    texts = prompts.wordings(repeat)
    motions: dict[int, Tensor] = {}
    for part in progress(parts, f"{prompts.name}, seed {repeat}", unit="part"):
        request: dict[str, Any] = {
            "texts": [texts[i] for i in part],
            "seconds": [prompts.seconds[i] for i in part],
            "seed": [mix_seed(repeat, prompts.numbers[i]) for i in part],
            "num_inference_steps": draw.steps,
            "guidance_scale": draw.guidance,
        }
        identity = json.dumps([model.identity, request], sort_keys=True)
        key = hashlib.sha256(identity.encode()).hexdigest()[:20]
        path = cache / f"{prompts.name.replace(' ', '_')}_seed{repeat}_{key}.npz"
        if not path.is_file():
            write_motions(path, model.sampler.sample(**request))
        motions |= dict(zip(part, read_motions(path), strict=True))
    clips = [motions[i] for i in range(len(prompts))]
    return LabeledMotion(clips, prompts.contents, model.sampler.fps)


def write_motions(path: Path, output: MotionBatch) -> None:
    """Writes the concatenated motions of a batch. The write is atomic.

    Raises:
        ValueError: a coordinate is not finite.
    """
    clips = [motion.joints3d.cpu() for motion in output]
    joints3d = torch.cat(clips).numpy().astype(np.float32)
    if not np.isfinite(joints3d).all():
        raise ValueError(
            "The model generated motion that is not finite; its weights are damaged or its training diverged."
        )
    with atomic_path(path) as temporary:
        np.savez(temporary, joints3d=joints3d, lengths=np.array([len(c) for c in clips]))


def read_motions(path: Path) -> list[Tensor]:
    """Motions (L, J, 3) of a cache file."""
    with np.load(path, allow_pickle=False) as arrays:
        return list(torch.from_numpy(arrays["joints3d"]).split(arrays["lengths"].tolist()))
