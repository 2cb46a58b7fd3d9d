"""The evaluators that ship: they load, are small, and are those that their cards and the configurations speak of."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from hmr4d.engine.compose import compose_config
from hmr4d.evaluation.cards import GROUND_TRUTH, ResultCard
from hmr4d.evaluation.preparation import StandardPreparation
from hmr4d.evaluators.evaluator import Evaluator
from hmr4d.motion.procedural import synthetic_joints

FOLDERS = Path(__file__).resolve().parents[2] / "inputs" / "checkpoints" / "hmr4d"
DATA = {"evaluator-bandai": "bandai_namco", "evaluator-everyday": "everyday"}


@pytest.fixture(scope="module", params=sorted(DATA))
def folder(request: pytest.FixtureRequest) -> Path:
    return FOLDERS / request.param


@pytest.fixture(scope="module")
def evaluator(folder: Path) -> Evaluator:
    return Evaluator.load(folder)


def test_the_shipped_evaluator_matches_its_cards(folder: Path, evaluator: Evaluator) -> None:
    readme, card = (folder / "README.md").read_text("utf-8"), ResultCard.read(folder / "card.json")
    for digest in (evaluator.weights_hash, evaluator.statistics_hash):
        assert digest in readme
    assert (card.evaluator_hash, card.statistics_hash) == (evaluator.weights_hash, evaluator.statistics_hash)
    assert sum(p.stat().st_size for p in folder.iterdir()) < 4_000_000
    assert "CC BY-NC" in readme


def test_the_experiment_builds_the_shipped_evaluator(folder: Path, evaluator: Evaluator) -> None:
    cfg = compose_config(["exp=evaluator/matching", f"data={DATA[folder.name]}"])
    assert asdict(instantiate(cfg.evaluator)) == {**asdict(evaluator.recipe), "name": DATA[folder.name]}
    assert Path(cfg.evaluation.evaluator).name == folder.name


def test_the_card_shows_that_the_evaluator_detects_corruptions(folder: Path) -> None:
    rows = ResultCard.read(folder / "card.json").rows
    real, unchanged = rows[GROUND_TRUTH], rows["unchanged"]
    assert real["r_precision_top_3"].mean > 0.9 and real["r_precision_top_1"].repeats == 20
    for name, row in rows.items():
        if name not in (GROUND_TRUTH, "unchanged"):
            assert row["fid"].mean > 2 * unchanged["fid"].mean, name
    assert rows["another clip"]["r_precision_top_3"].mean < 0.2


def test_embeddings_do_not_depend_on_position_and_heading(evaluator: Evaluator) -> None:
    joints3d = torch.from_numpy(synthetic_joints("walk", 60, np.random.default_rng(0)))
    cos, sin = np.cos(2.0), np.sin(2.0)
    turn = torch.tensor([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]], dtype=torch.float32)
    moved = joints3d @ turn.T + torch.tensor([3.0, 0.5, -2.0])
    prepare = StandardPreparation(evaluator.statistics, max_rows=evaluator.recipe.max_rows)
    first, second = evaluator.embed_motions(*prepare.cut(prepare.encode([joints3d, moved], 20.0), [None, None]))
    assert torch.allclose(first, second, atol=0.05)
    assert first.norm() > 1.0
