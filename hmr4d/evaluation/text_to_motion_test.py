"""Task `test` of text-to-motion: generates motion for the test clips, or reads existing motion, and scores it."""

from __future__ import annotations

import hashlib
import logging
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hmr4d.body.skeleton import SMPL22
from hmr4d.engine.compose import listed
from hmr4d.engine.run import build, starting_weights
from hmr4d.evaluation.callbacks.metric_t2m import MetricT2M, Source
from hmr4d.evaluation.cards import ResultCard
from hmr4d.evaluation.generations import MANIFEST_NAME, GenerationFolder, differing
from hmr4d.evaluation.text_to_motion_data import ScoredClips
from hmr4d.evaluators.evaluator import CONFIG_NAME, PUBLISHED_NAME
from hmr4d.evaluators.published import MATCHING_FILE
from hmr4d.evaluators.word_vectorizer import FILES as GLOVE_FILES
from hmr4d.export.saved_motions import SavedMotions
from hmr4d.representation.motion2d import Statistics
from hmr4d.utils.devices import pick_device
from hmr4d.utils.files import file_hash
from hmr4d.utils.releases import release_folders
from hmr4d.utils.weights import WEIGHTS_NAME

logger = logging.getLogger(__name__)


def run_test(cfg: DictConfig) -> list[ResultCard]:
    """Generates missing motions and scores all; returns one card for each `MetricT2M` callback.

    Args:
        cfg: configuration of a task `test`.

    Raises:
        FileNotFoundError: files are missing; the message names all, before anything is generated.
        FileExistsError: the output folder holds motions of another test.
        ValueError: the options contradict each other, or no callback scores.
    """
    is_first = getattr(rank_zero_only, "rank", 0) == 0
    if not is_first:
        logging.getLogger("hmr4d").setLevel(logging.WARNING)
    weights = starting_weights(cfg)
    check_files(cfg, weights)
    clips = instantiate(cfg.data, _convert_="all").dataset("test")
    callbacks = [instantiate(c, _convert_="all") for c in listed(cfg.callbacks)]
    metrics = [one for one in callbacks if isinstance(one, MetricT2M)]
    if not metrics:
        raise ValueError("Task test has no callback that scores; remove empty_callback.")
    if cfg.score_only is not None:
        return [score_only(cfg, weights, clips, metric) for metric in metrics]
    source = source_of(cfg, weights, clips)
    if cfg.overwrite and is_first:
        for metric in metrics:
            shutil.rmtree(metric.folder.folder, ignore_errors=True)
    if not any([metric.open(clips, source) for metric in metrics]):  # a list, so that every callback opens its folder
        return [metric.score(_device(cfg)) for metric in metrics]
    model, data, trainer = build(cfg)
    running = [one for one in trainer.callbacks if isinstance(one, MetricT2M)]  # type: ignore[attr-defined]
    for metric in running:
        metric.source = source
    trainer.test(model, datamodule=data, verbose=False)
    return [metric.card for metric in running if metric.card is not None]


def score_only(cfg: DictConfig, weights: Any, clips: ScoredClips, metric: MetricT2M) -> ResultCard:
    """Scores existing motions without the model.

    Raises:
        ValueError: the motions come from other weights, options or data than the configuration names.
    """
    folder = Path(cfg.score_only)
    if not (folder / MANIFEST_NAME).is_file():
        saved = SavedMotions(folder, fps=cfg.motion.fps, skeleton=SMPL22)
        clips.take_given(len(saved))
        metric.prepare(clips, Source(f"motions in {folder}", saved.sha256, command_of(cfg)))
        return metric.score(_device(cfg), motions=saved)
    motions = GenerationFolder(folder)
    known = motions.identity or {}
    wanted = source_of(cfg, weights, clips)
    if not wanted.checkpoint_hash:
        logger.warning("The weights %s are missing; the motions are assumed to come from them.", wanted.checkpoint)
    compared = {k: v for k, v in wanted.identity.items() if k != "weights" or wanted.checkpoint_hash}
    differences = differing({k: v for k, v in known.items() if k in compared}, compared)
    notes: tuple[str, ...] = ()
    if differences:
        if not cfg.accept_mismatch:
            raise ValueError(
                f"The motions in {folder} were not made for this test: {'; '.join(differences)}. Name the weights and "
                "data they were made with, or score them anyway with accept_mismatch=true."
            )
        notes = (f"Scored although not made for this test: {'; '.join(differences)}.",)
    checkpoint_hash = str(known.get("weights", "unknown"))
    is_same = wanted.checkpoint_hash in ("", checkpoint_hash)
    checkpoint = wanted.checkpoint if is_same and wanted.checkpoint else f"weights behind {folder}"
    metric.prepare(clips, Source(checkpoint, checkpoint_hash, wanted.command, known, notes))
    return metric.score(_device(cfg), motions=motions)


def check_files(cfg: DictConfig, weights: Any) -> None:
    """Raises FileNotFoundError with all missing files: weights, data, evaluator and text encoder."""
    wanted = [Path(cfg.evaluation.store) / "store.json", *evaluator_files(cfg.evaluation)]
    if cfg.score_only is None:
        wanted += weight_files(weights)
        wanted += [Path(cfg.text.folder)] if cfg.text.folder is not None else []
    else:
        wanted.append(Path(cfg.score_only))
    refuse_missing(wanted)


def refuse_missing(wanted: Iterable[Path]) -> None:
    """FileNotFoundError with all files of a test that do not exist."""
    if missing := [str(path) for path in wanted if not path.exists()]:
        raise FileNotFoundError(
            f"This test needs {len(missing)} missing file(s): {', '.join(missing)}. docs/data.md describes how to "
            "prepare a store, docs/evaluation.md the source of the other files."
        )


def evaluator_files(evaluation: DictConfig) -> list[Path]:
    """Required files of the evaluator, including the word vectors of a published one."""
    name, glove = evaluation.evaluator, evaluation.glove
    if name == PUBLISHED_NAME:
        checkpoints = release_folders()[0].parent
        name, glove = checkpoints / "t2m", glove or checkpoints / "glove"
    for folder in (Path(name), *(folder / name for folder in release_folders())):
        if (folder / CONFIG_NAME).is_file():
            return [folder / CONFIG_NAME]
    if glove is None:
        return [Path(name) / CONFIG_NAME]
    return [Path(name) / MATCHING_FILE, *(Path(glove) / part for part in GLOVE_FILES)]


def weight_files(weights: Any) -> list[Path]:
    """The files of a setting with one path, several paths or none. Folders of released models are among them."""
    paths = [Path(one) for one in ([weights] if isinstance(weights, str) else weights or [])]
    return [path / WEIGHTS_NAME if path.is_dir() else path for path in paths]


def source_of(cfg: DictConfig, weights: Any, clips: ScoredClips) -> Source:
    """Source of the motions of a test: weights, options, statistics, data and seed."""
    files = weight_files(weights)
    hashes = [file_hash(path) for path in files if path.is_file()]
    pipeline = OmegaConf.to_container(cfg.pipeline, resolve=True)
    statistics = ""
    if cfg.motion.statistics is not None:
        loaded = Statistics.load(cfg.motion.statistics)
        statistics = hashlib.sha256(loaded.mean.tobytes() + loaded.std.tobytes()).hexdigest()
    kept = {k: v for k, v in pipeline.items() if k not in ("training", "text_encoder")}  # type: ignore[union-attr]
    identity = {
        "weights": "+".join(hashes),
        "pipeline": kept,
        "text_encoder": cfg.text.name,
        "statistics": statistics,
        "precision": str(cfg.trainer.precision),
        "clips": clips.identity(),
    }
    name = "+".join(f"{path.parent.name}/{path.name}" for path in files)
    return Source(name, "+".join(hashes), command_of(cfg), identity)


def command_of(cfg: DictConfig) -> str:
    """Command that runs this configuration again."""
    if HydraConfig.initialized():
        return shlex.join(["hmr4d", "train", *HydraConfig.get().overrides.task])
    return f"hmr4d.engine.run.run with {Path(cfg.output_dir) / 'config.yaml'}"


def _device(cfg: DictConfig) -> torch.device:
    """Device for scoring without a trainer."""
    name = str(cfg.trainer.accelerator)
    return pick_device({"gpu": "cuda"}.get(name, name))
