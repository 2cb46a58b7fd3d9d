"""Converts a training of exp=evaluator/matching to a folder that `Evaluator.load` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmr4d.engine.run import finished_steps
from hmr4d.evaluators.evaluator import WEIGHTS_NAME, Evaluator, EvaluatorRecipe, build_networks
from hmr4d.evaluators.training import read_training
from hmr4d.representation.variant_statistics import VariantStatistics
from hmr4d.utils.files import file_hash, write_text
from hmr4d.utils.releases import card
from hmr4d.utils.weights import load_strictly


def trained_evaluator(checkpoint: str | Path, *, name: str, source: str) -> Evaluator:
    """The evaluator in a checkpoint of exp=evaluator/matching, with weights rounded to half precision.

    Args:
        checkpoint: checkpoint of the training.
        name: name of the evaluator on cards.
        source: description of the source of its statistics.

    Raises:
        FileNotFoundError, ValueError: see `read_training`; also if the checkpoint belongs to another stage.
    """
    state, recipe_settings = read_training(checkpoint)
    recipe = replace(EvaluatorRecipe(**recipe_settings), name=name)
    networks = build_networks(recipe)
    for part, network in networks._asdict().items():
        own = {k.removeprefix(f"{part}."): v.half().float() for k, v in state.items() if k.startswith(f"{part}.")}
        load_strictly(network, own, (), source=f"{checkpoint} ({part})")
    return Evaluator(recipe, _statistics(state, recipe, source), networks=networks)


def _statistics(state: dict[str, Tensor], recipe: EvaluatorRecipe, source: str) -> VariantStatistics:
    mean, std = (state[key].numpy() for key in ("mean", "std"))
    kind = recipe.features.statistics
    return kind(name=recipe.name, mean=mean, std=std, fps=recipe.fps, variant=recipe.variant, source=source)


def release_evaluator(checkpoint: Path, out: Path, about: dict[str, Any], notice: str) -> None:
    """Writes the release folder of a trained evaluator: weights, recipe, statistics and card.

    Args:
        checkpoint: checkpoint of exp=evaluator/matching.
        out: folder to write; its name becomes the name of the evaluator.
        about: data, licence, commands, steps, hardware.
        notice: license and credit of the data.
    """
    evaluator = trained_evaluator(checkpoint, name=out.name, source=about["data"])
    parameters = sum(p.numel() for p in evaluator.parameters())
    about = {"method": "text-motion evaluator", **about, "steps": finished_steps(checkpoint), "parameters": parameters}
    evaluator.save(out, about=about, dtype=torch.float16)
    write_text(out / "README.md", evaluator_card(out, evaluator, about, notice))


def evaluator_card(folder: Path, evaluator: Evaluator, about: Mapping[str, Any], notice: str) -> str:
    """The card of an evaluator in Markdown."""
    recipe = evaluator.recipe
    sizes = ", ".join(f"{k} {v}" for k, v in asdict(recipe).items() if k.endswith(("hidden", "dim")))
    rows = {
        "features": f"{recipe.features.num_features} numbers, `{recipe.variant}`, {recipe.fps:g} fps, "
        f"{recipe.min_rows} to {recipe.max_rows} rows per clip",
        "text": f"token states of '{recipe.text_encoder}'"
        if recipe.text == "tokens"
        else "GloVe words and word classes",
        "networks": f"{about['parameters']:,} parameters, float16; {sizes}",
        "weights hash": f"`{evaluator.weights_hash}`",
        "statistics hash": f"`{evaluator.statistics_hash}`",
        f"sha256 of {WEIGHTS_NAME}": f"`{file_hash(folder / WEIGHTS_NAME)}`",
    }
    before = "Embeds motions and captions for FID, R-precision, matching score and diversity; see `docs/evaluation.md`."
    after = (
        "Its scores of real motion and of corrupted real motion: `card.md` next to this file, written by\n"
        "`hmr4d evaluator-card`."
    )
    return card(folder.name, rows, about, notice, before=before, after=after)
