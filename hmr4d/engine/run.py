"""One run of a composed configuration: training, generation or a scored test."""

from __future__ import annotations

import csv
import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, ListConfig, open_dict
from pytorch_lightning.loggers import CSVLogger

from hmr4d.engine.callbacks.resume import ResumeAtEpochStart
from hmr4d.engine.compose import listed, save_config
from hmr4d.engine.published_names import map_targets

logger = logging.getLogger(__name__)


def build(cfg: DictConfig) -> tuple[pl.LightningModule, pl.LightningDataModule, pl.Trainer]:
    """Module with its weights, data and trainer of a configuration."""
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    model = instantiate(cfg.model, _convert_="all")
    weights = starting_weights(cfg)
    if weights is not None:
        path = weights if isinstance(weights, str) else list(weights)
        model.load_start(path, cfg.ckpt_type, is_training=cfg.task == "fit")
        logger.info("Weights: %s.", path)
    data = instantiate(cfg.data if cfg.datamodule is None else cfg.datamodule, _convert_="all")
    callbacks = [ResumeAtEpochStart(), *(instantiate(c, _convert_="all") for c in listed(cfg.callbacks))]
    loggers = [instantiate(c, _convert_="all") for c in listed(cfg.logger)]
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, _convert_="all")
    return model, data, trainer


def starting_weights(cfg: DictConfig) -> Any:
    """The path or paths to load before the task starts, or None. ValueError when the task cannot do without."""
    if cfg.task != "fit":
        weights = cfg.ckpt_path if cfg.ckpt_path is not None else cfg.shipped_weights
        if weights is None and cfg.get("score_only") is None:
            raise ValueError(f"Task {cfg.task} needs trained weights: give ckpt_path=<checkpoint or released model>.")
        return weights
    if resumes(cfg):  # the checkpoint of the run brings all weights
        return None
    if cfg.ckpt_path is None and cfg.model.get("freeze", "none") != "none":
        raise ValueError(
            f"model.freeze={cfg.model.freeze} would freeze untrained weights: give ckpt_path=<checkpoint of stage "
            "1 or 2>, or train everything with model.freeze=none."
        )
    return cfg.ckpt_path


def resumes(cfg: DictConfig) -> bool:
    """Whether an earlier training goes on; naming a checkpoint to continue from is enough."""
    return bool(cfg.resume_training) or cfg.resume_model_path is not None


def check_unused(cfg: DictConfig) -> None:
    """FileExistsError when a new training would replace the checkpoints of another one."""
    folder = Path(cfg.output_dir) / "checkpoints"
    if not cfg.overwrite and any(folder.glob("*.ckpt")):
        raise FileExistsError(
            f"{folder} holds the checkpoints of another run: continue it with resume_training=true, choose another "
            "folder with output_dir=, or replace it with overwrite=true."
        )


def resume_path(cfg: DictConfig) -> Path | None:
    """The checkpoint to continue from, or None. FileNotFoundError when a wanted one is not there."""
    if not resumes(cfg):
        return None
    if cfg.resume_model_path is not None:
        chosen = Path(cfg.resume_model_path)
    else:
        folder = Path(cfg.output_dir) / "checkpoints"
        others = sorted(p for p in folder.glob("*.ckpt") if p.stem != "last")
        chosen = folder / "last.ckpt"
        if not chosen.is_file() and others:
            chosen = others[-1]
    if not chosen.is_file():
        raise FileNotFoundError(f"Nothing to resume: {chosen} does not exist. Train without resume_training first.")
    return chosen


def finished_steps(path: Path) -> int:
    """Training steps behind a checkpoint to resume from. ValueError when the file is damaged or something else."""
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is no checkpoint to resume from ({type(error).__name__}: {str(error).splitlines()[0][:120]}). "
            "Give an earlier one with resume_model_path=<file>."
        ) from error


def continue_curve(csv_logger: CSVLogger, steps: int) -> None:
    """Keeps the rows of the run's metrics file from before step `steps`; what came later is trained again."""
    path = Path(csv_logger.log_dir) / "metrics.csv"
    if not path.is_file():
        return
    with path.open(newline="") as stream:
        rows: list[dict[str, Any]] = [{k: v for k, v in row.items() if v} for row in csv.DictReader(stream)]
    for row in rows:  # the first one makes the logger start its file anew; values stay the text they were
        if (step := int(row.pop("step"))) < steps:
            csv_logger.log_metrics(row, step)


def run(cfg: DictConfig) -> Any:
    """One run of a composed configuration; what the trainer returns for the task."""
    cfg = map_targets(cfg)
    if cfg.task is None:
        raise ValueError(
            "This exp uses trained weights and has no task of its own: choose one with global/task=<group>/<name>."
        )
    if cfg.task not in ("fit", "predict", "test"):
        raise ValueError(f"task is '{cfg.task}'; known: fit, predict, test.")
    if cfg.task == "fit" and not resumes(cfg):
        check_unused(cfg)
    if cfg.task == "predict":
        prepare_predict(cfg)
    if cfg.task == "test" and "test_runner" not in cfg:
        raise ValueError("Task test has no clips: choose it with global/task=text2motion/test or lift/synthetic.")
    logger.info("Configuration: %s.", save_config(cfg, cfg.output_dir))
    if cfg.task == "test":
        return get_method(cfg.test_runner)(cfg)
    resume = resume_path(cfg) if cfg.task == "fit" else None
    model, data, trainer = build(cfg)
    if cfg.task == "fit":
        if resume is not None:
            steps = finished_steps(resume)
            for csv_logger in (one for one in trainer.loggers if isinstance(one, CSVLogger)):
                continue_curve(csv_logger, steps)
            logger.info("Resuming from %s after %d steps.", resume, steps)
        return trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    # Motions go to the callbacks; keeping them all would also fill the memory.
    return trainer.predict(model, datamodule=data, return_predictions=False)


def prepare_predict(cfg: DictConfig) -> None:
    """Sees to it that every motion is written, once. ValueError when no callback would take the motions."""
    if not listed(cfg.callbacks):
        raise ValueError("Task predict has no callbacks, so that nothing would be written: leave out empty_callback.")
    devices, nodes = cfg.trainer.devices, cfg.trainer.get("num_nodes", 1)
    wanted = devices[:1] if isinstance(devices, ListConfig) else 1
    if devices != wanted or nodes != 1:
        logger.warning("Task predict runs on one device; trainer.devices=%s is taken as %s.", devices, wanted)
        with open_dict(cfg.trainer):
            cfg.trainer.devices, cfg.trainer.num_nodes = wanted, 1
