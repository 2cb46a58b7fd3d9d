"""Conversion of a training run to a released model: weights, configuration and model card."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from hmr4d.data.store import ClipStore
from hmr4d.engine.compose import check_targets, load_config
from hmr4d.engine.evaluator_release import release_evaluator
from hmr4d.engine.run import finished_steps
from hmr4d.methods.registry import method_of_config
from hmr4d.nn.action_index import load_actions
from hmr4d.utils.files import file_hash, write_text
from hmr4d.utils.releases import TRAINING_NAME, card
from hmr4d.utils.weights import WEIGHTS_NAME


@dataclass(frozen=True)
class ReleaseRequest:
    """The content of a release.

    Attributes:
        run: output folder of a training run, with config.yaml.
        parts: output folders of the trainings of other parts, for methods whose parts are trained separately.
        out: folder to write; its name becomes the name of the model.
        checkpoint: checkpoint; None: the run's checkpoints/last.ckpt.
        actions: folder of `prepare.py text-adapter` with the known actions of a model that samples from text.
        hardware, commands: hardware and commands of the training, for the card.
    """

    run: Path
    out: Path
    parts: Sequence[Path] = ()
    checkpoint: Path | None = None
    actions: Path | None = None
    hardware: str = "not told"
    commands: Sequence[str] = ()


def release(request: ReleaseRequest) -> Path:
    """Writes the release folder of a run and returns its path.

    Raises:
        FileNotFoundError: the run, its checkpoint or the list of actions is missing.
        ValueError: a file is damaged or does not match the others, or the method has no list of actions.
    """
    for run in (request.run, *request.parts):
        if not (run / "config.yaml").is_file():
            raise FileNotFoundError(f"{run} contains no config.yaml; give the output folder of a training run.")
    cfg = load_config(request.run / "config.yaml")
    checkpoint = request.checkpoint or request.run / "checkpoints" / "last.ckpt"
    store = ClipStore.open(cfg.data.train.store)
    notice = (store.path / "NOTICE.md").read_text(encoding="utf-8")
    about = {
        "data": f"{store.name}, split {cfg.data.train.split}: {len(store.indices(cfg.data.train.split))} clips",
        "source": store.info["source"],
        "licence": store.info["licence"],
        "commands": list(request.commands),
        "hardware": request.hardware,
        "torch": torch.__version__,
        "losses": last_losses(request.run),
    }
    if "evaluator" in cfg:
        release_evaluator(checkpoint, request.out, about, notice)
    else:
        release_method(cfg, checkpoint, request.out, about, notice, request.actions, request.parts)
    write_text(request.out / TRAINING_NAME, OmegaConf.to_yaml(cfg))
    return request.out


def last_losses(run: Path) -> dict[str, float]:
    """Loss name -> its last epoch mean in the CSV log of the run."""
    losses: dict[str, float] = {}
    for path in sorted((run / "csv").glob("metrics*.csv")):
        with path.open() as stream:
            for row in csv.DictReader(stream):
                losses |= {k: float(v) for k, v in row.items() if k.endswith("_epoch") and v}
    return losses


def release_method(
    cfg: DictConfig,
    checkpoint: Path,
    out: Path,
    about: Mapping[str, Any],
    notice: str,
    actions: Path | None = None,
    parts: Sequence[Path] = (),
) -> None:
    """Writes weights, configuration, card and, if `actions` is given, the known actions of a trained method."""
    check_targets(cfg.pipeline)
    method = method_of_config(cfg)
    if method is None:
        raise ValueError(f"{cfg.exp_name} trains no method; only methods and evaluators can be released.")
    if parts:
        cfg = method.joined(cfg, [load_config(run / "config.yaml") for run in parts])
    pipeline = method.build(cfg)
    paths = [checkpoint, *(run / "checkpoints" / "last.ckpt" for run in parts)]
    method.weights.load(pipeline, paths, "parts" if parts else "pl")
    if actions is not None:
        method.require("sample", asked_for="A list of known actions")
        pipeline.actions = load_actions(actions)
        if pipeline.actions is None:
            raise FileNotFoundError(f"{actions} contains no known actions; give a folder of prepare.py text-adapter.")
    parameters = sum(p.numel() for p in method.weights.network_of(pipeline).parameters())
    metadata = {"method": method.title, **about, "steps": finished_steps(checkpoint), "parameters": parameters}
    method.save(out, pipeline, method.settings(cfg), metadata)
    rows = {
        "method": f"{method.title}, {parameters:,} parameters, float16",
        "weights sha256": f"`{file_hash(out / WEIGHTS_NAME)}`",
    }
    after = "Scores on the test split, compared with real motion: `docs/results.md`."
    write_text(out / "README.md", card(out.name, rows, metadata, notice, after=after))
