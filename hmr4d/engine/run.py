"""One run of a composed configuration: training, generation or a scored test."""

from __future__ import annotations

import csv
import logging
import pickle
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

from hmr4d.engine.callbacks.learning_rate import LogLearningRate
from hmr4d.engine.callbacks.progress_lines import ProgressLines
from hmr4d.engine.callbacks.resume import ResumeTraining
from hmr4d.engine.compose import check_targets, listed, load_config, save_config
from hmr4d.engine.published_names import map_targets
from hmr4d.methods.registry import method_of_config
from hmr4d.utils.progress import bars_are_shown
from hmr4d.utils.releases import TRAINING_NAME

logger = logging.getLogger(__name__)

# Warnings of the trainer that need no action: intended settings, or future changes of the library.
NOT_FOR_USERS = (
    ".*treespec.*is deprecated",
    "Found .* module.* in eval mode",
    ".*does not have many workers",
    "Checkpoint directory .* exists",
    "You defined a `validation_step`",
    "Experiment logs directory",
    "You're resuming from a checkpoint",
)
TASK_SETTINGS = ("sampling", "training", "text_encoder", "about")  # settings of a pipeline that a task may choose
MIN_ROWS = 20  # fewest logged rows of a short training


def build(cfg: DictConfig) -> tuple[pl.LightningModule, pl.LightningDataModule, pl.Trainer]:
    """Builds module (with its weights), data and trainer of a configuration."""
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    model = instantiate(cfg.model, _convert_="all")
    weights = starting_weights(cfg)
    if weights is not None:
        path = weights if isinstance(weights, str) else list(weights)
        model.load_start(path, cfg.ckpt_type, is_training=cfg.task == "fit")
        logger.info("Weights: %s.", path)
    data = instantiate(cfg.data if cfg.datamodule is None else cfg.datamodule, _convert_="all")
    callbacks = [instantiate(c, _convert_="all") for c in listed(cfg.callbacks)]
    loggers = [instantiate(c, _convert_="all") for c in listed(cfg.logger)]
    if cfg.task == "fit":
        callbacks = [ResumeTraining(optimizer_settings(cfg)), LogLearningRate(), *callbacks]
    options: dict[str, Any] = {"log_every_n_steps": steps_per_row(cfg)}
    if not bars_are_shown():
        callbacks.append(ProgressLines())
        options["enable_progress_bar"] = False
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, **options, _convert_="all")
    return model, data, trainer


def optimizer_settings(cfg: DictConfig) -> dict[str, Any]:
    """Optimizer settings of the configuration: name -> number."""
    named = OmegaConf.to_container(cfg.optimizer, resolve=True)
    assert isinstance(named, dict)
    return {str(name): value for name, value in named.items() if not str(name).startswith("_")}


def steps_per_row(cfg: DictConfig) -> int:
    """Training steps between two logged rows; fewer in short trainings, for at least MIN_ROWS rows."""
    every, steps = int(cfg.trainer.log_every_n_steps), int(cfg.trainer.max_steps)
    return max(1, min(every, steps // MIN_ROWS)) if steps > 0 else every


def starting_weights(cfg: DictConfig) -> Any:
    """The weight file or files to load before the task starts, or None. Raises ValueError if the task needs weights."""
    if cfg.task != "fit":
        weights = cfg.ckpt_path if cfg.ckpt_path is not None else cfg.shipped_weights
        if weights is None and cfg.get("score_only") is None:
            raise ValueError(
                f"Task {cfg.task} needs trained weights, and none ship for {cfg.exp_name}: give ckpt_path=<checkpoint "
                "or released model>."
            )
        return weights
    if resumes(cfg):  # the checkpoint of the run contains all weights
        return None
    if cfg.ckpt_path is None and cfg.model.get("freeze", "none") != "none":
        raise ValueError(
            f"model.freeze={cfg.model.freeze} would freeze untrained weights: give ckpt_path=<checkpoint of stage "
            "1 or 2>, or train everything with model.freeze=none."
        )
    return cfg.ckpt_path


def resumes(cfg: DictConfig) -> bool:
    """Whether an earlier training continues; `resume_model_path` is sufficient."""
    return bool(cfg.resume_training) or cfg.resume_model_path is not None


def check_method(cfg: DictConfig) -> None:
    """Raises ValueError if the method does not support the task."""
    needed = cfg.get("task_needs")
    if needed is None:
        return
    method = method_of_config(cfg)
    if method is None:
        raise ValueError(f"{cfg.exp_name} trains no method, but this task needs one. Choose another exp or no task.")
    method.require(needed, asked_for="This task")


def check_unused(cfg: DictConfig) -> None:
    """Raises FileExistsError if a new training would replace the checkpoints of another one."""
    folder = Path(cfg.output_dir) / "checkpoints"
    if not cfg.overwrite and any(folder.glob("*.ckpt")):
        raise FileExistsError(
            f"{folder} contains the checkpoints of another run: continue it with resume_training=true, choose another "
            "folder with output_dir=, or replace it with overwrite=true."
        )


def resume_path(cfg: DictConfig) -> Path | None:
    """The checkpoint to resume from, or None. Raises FileNotFoundError if a requested checkpoint is missing."""
    if not resumes(cfg):
        return None
    if cfg.resume_model_path is not None:
        chosen = Path(cfg.resume_model_path)
    else:
        folder = Path(cfg.output_dir) / "checkpoints"
        others = sorted(p for p in folder.glob("*.ckpt") if p.stem != "last")
        chosen = folder / "last.ckpt"
        if not chosen.is_file() and others:
            chosen = max(others, key=finished_steps)
    if not chosen.is_file():
        raise FileNotFoundError(f"Nothing to resume: {chosen} does not exist. Train without resume_training first.")
    return chosen


def check_resumable(cfg: DictConfig, checkpoint: Path) -> None:
    """Raises ValueError if a checkpoint of the run is incompatible with network or optimizer of the configuration."""
    path = checkpoint.parent.parent / "config.yaml"
    if not path.is_file():
        return
    saved, wanted = load_config(path), OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    for key in ("network", "optimizer._target_"):
        before, now = (_flat(OmegaConf.select(c, key), key) for c in (saved, wanted))
        changed = sorted(k for k in now if before.get(k) != now[k] and not k.endswith("._partial_"))
        if changed:
            shown = ", ".join(f"{k} was {before.get(k)} and is {now.get(k)}" for k in changed[:3])
            raise ValueError(
                f"{checkpoint} cannot be resumed with another {key.split('.')[0]}: {shown}. Resume with the settings "
                "in "
                f"{path}, or start a new run in another output_dir from ckpt_path={checkpoint}."
            )


def _flat(node: Any, place: str) -> dict[str, Any]:
    """Dotted name -> value of everything below a node."""
    if isinstance(node, DictConfig):
        return {k: v for name in node for k, v in _flat(node[name], f"{place}.{name}").items()}
    return {place: node}


def finished_steps(path: Path) -> int:
    """Number of completed training steps of a checkpoint. Raises ValueError if the file is damaged or no checkpoint."""
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a checkpoint to resume from ({type(error).__name__}: {str(error).splitlines()[0][:120]}). "
            "Give an earlier one with resume_model_path=<file>."
        ) from error


def continue_curve(csv_logger: CSVLogger, steps: int) -> None:
    """Keeps only the rows of the run's metrics file before step `steps`; later steps are trained again."""
    path = Path(csv_logger.log_dir) / "metrics.csv"
    if not path.is_file():
        return
    with path.open(newline="") as stream:
        rows: list[dict[str, Any]] = [{k: v for k, v in row.items() if v} for row in csv.DictReader(stream)]
    for row in rows:  # the first row makes the logger replace the file; values stay unchanged text
        if (step := int(row.pop("step"))) < steps:
            csv_logger.log_metrics(row, step)


def adopt_settings(cfg: DictConfig, overrides: Sequence[str] = ()) -> list[str]:
    """Sets the options of a task to those of its weights, except options on the command line.

    Args:
        cfg: configuration of a task that generates or scores; changed in place. The weights are a checkpoint of a run
            or, without `ckpt_path`, the released model `shipped_weights`; nothing is adopted from other weights.
        overrides: words of the command line; their settings are kept, also within an adopted group.

    Returns:
        Names of the adopted settings whose values differed.

    Raises:
        ValueError: the saved configuration names a class that is not trusted, see `check_targets`.
    """
    path = settings_file(cfg)
    if path is None:
        return []
    saved = load_config(path)
    named = {word.lstrip("+~").partition("=")[0] for word in overrides}
    taken = []
    method = method_of_config(cfg)
    if cfg.ckpt_path is None and method is not None:
        method.set_released(saved, path.parent)
    for key in () if method is None else method.trained_settings:
        before, now = OmegaConf.select(saved, key), OmegaConf.select(cfg, key)
        if before is None or any(name == key or key.startswith(f"{name}.") for name in named):
            continue
        if isinstance(before, DictConfig):
            check_targets(before)
        kept = {name: OmegaConf.select(cfg, name) for name in named if name.startswith(f"{key}.")}
        if {**_flat(before, key), **kept} != {**_flat(now, key), **kept}:
            taken.append(key)
        with open_dict(cfg):
            OmegaConf.update(cfg, key, before, merge=False)
            for name, value in kept.items():
                OmegaConf.update(cfg, name, value, merge=False)
    if "pipeline" in saved:
        check_targets(saved.pipeline)
    if "pipeline" in saved and method_of_config(saved) in (None, method):
        with open_dict(cfg):
            taken += _adopt_values(cfg.pipeline, saved.pipeline, "pipeline", named)
            if cfg.ckpt_path is None and "network" in taken:  # sampling was chosen for the network
                taken += _adopt_values(cfg.pipeline.sampling, saved.pipeline.sampling, "pipeline.sampling", named)
    if taken:
        logger.info("%s: adopted from %s.", ", ".join(taken), path)
    return taken


def settings_file(cfg: DictConfig) -> Path | None:
    """The configuration with which the weights of a task were trained; None if there is none."""
    if isinstance(cfg.ckpt_path, str) and Path(cfg.ckpt_path).suffix == ".ckpt":
        path = Path(cfg.ckpt_path).parent.parent / "config.yaml"
    elif cfg.ckpt_path is None and cfg.shipped_weights is not None:
        path = Path(cfg.shipped_weights) / TRAINING_NAME
    else:
        return None
    return path if path.is_file() else None


def _adopt_values(node: DictConfig, saved: DictConfig, place: str, named: set[str]) -> list[str]:
    """Replaces values below a node by saved ones; returns the names of those that differed.

    References are kept, because their targets are adopted or given on the command line.
    """
    taken = []
    for key in saved:
        here, child = f"{place}.{key}", node._get_node(key)
        is_left = here in named or (place == "pipeline" and key in TASK_SETTINGS)
        if is_left or child is None or child._is_interpolation():  # type: ignore[union-attr]
            continue
        if isinstance(child, DictConfig) and isinstance(saved[key], DictConfig):
            taken += _adopt_values(child, saved[key], here, named)
        elif node[key] != saved[key]:
            node[key] = saved[key]
            taken.append(here)
    return taken


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> Any:
    """Runs a composed configuration and returns the result of the trainer.

    Args:
        cfg: composed configuration.
        overrides: words of the command line of the configuration; see `adopt_settings`.
    """
    cfg = map_targets(cfg)
    warnings.filterwarnings("ignore", category=FutureWarning, module="(pytorch_lightning|lightning_fabric|torch)")
    for message in NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message)
    if cfg.task is None:
        raise ValueError(
            "This exp uses trained weights and has no task of its own: choose one with global/task=<group>/<name>."
        )
    if cfg.task not in ("fit", "predict", "test"):
        raise ValueError(f"task is '{cfg.task}'; known: fit, predict, test.")
    check_method(cfg)
    if cfg.task == "fit" and not resumes(cfg):
        check_unused(cfg)
    if cfg.task in ("predict", "test"):
        adopt_settings(cfg, overrides)
    if cfg.task == "predict":
        prepare_predict(cfg)
    if cfg.task == "test" and "test_runner" not in cfg:
        raise ValueError("Task test has no clips: choose a test with global/task=text2motion/test or lift/synthetic.")
    resume = resume_path(cfg) if cfg.task == "fit" else None
    if resume is not None:
        check_resumable(cfg, resume)
    if resume is not None and 0 < cfg.trainer.max_steps <= (done := finished_steps(resume)):
        logger.warning("Nothing to train: %s has %d steps, trainer.max_steps=%d.", resume, done, cfg.trainer.max_steps)
        return None
    logger.info("Configuration: %s.", save_config(cfg, cfg.output_dir))
    if cfg.task == "test":
        return get_method(cfg.test_runner)(cfg)
    model, data, trainer = build(cfg)
    if cfg.task == "fit":
        if resume is not None:
            steps = finished_steps(resume)
            for csv_logger in (one for one in trainer.loggers if isinstance(one, CSVLogger)):
                continue_curve(csv_logger, steps)
            logger.info("Resuming from %s after %d steps.", resume, steps)
        trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
        report_training(trainer)
        return None
    # Callbacks handle the motions; returning all of them would fill the memory.
    return trainer.predict(model, datamodule=data, return_predictions=False)


def report_training(trainer: pl.Trainer) -> None:
    """Logs the last line of a training: steps, last losses, checkpoint."""
    values = {k: float(v) for k, v in trainer.callback_metrics.items()}
    last = {k: values[k] for k in ("train/loss_epoch", "val/loss") if k in values}
    losses = ", ".join(f"{name.removesuffix('_epoch')} {value:.4g}" for name, value in last.items())
    savers = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    checkpoint = next((path for c in savers if (path := c.last_model_path or c.best_model_path)), "none")
    logger.info("Trained %d steps: %s. Checkpoint: %s.", trainer.global_step, losses or "no loss logged", checkpoint)


def prepare_predict(cfg: DictConfig) -> None:
    """Ensures that every motion is written once. Raises ValueError if no callback writes motions."""
    if not listed(cfg.callbacks):
        raise ValueError("Task predict has no callbacks, so nothing would be written: remove empty_callback.")
    devices, nodes = cfg.trainer.devices, cfg.trainer.get("num_nodes", 1)
    wanted = devices[:1] if isinstance(devices, ListConfig) else 1
    if devices != wanted or nodes != 1:
        logger.warning("Task predict runs on one device; trainer.devices=%s is replaced by %s.", devices, wanted)
        with open_dict(cfg.trainer):
            cfg.trainer.devices, cfg.trainer.num_nodes = wanted, 1
