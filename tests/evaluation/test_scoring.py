"""Scores of sets of motions: what real motion itself gets, and what does not belong together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hmr4d.body.skeleton import SMPL22, SMPL24
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.cards import GENERATED, GROUND_TRUTH
from hmr4d.evaluation.scoring import (
    PublishedModelProtocol,
    ScoringProtocol,
    StandardProtocol,
    TextToMotionScorer,
)
from hmr4d.evaluation.text_to_motion_data import FrameCuts, Job, RowCuts, ScoredClips, Variety
from hmr4d.evaluators.evaluator import Evaluator, EvaluatorRecipe
from hmr4d.motion.motion import Motion
from hmr4d.representation.hml263 import load_statistics
from tests.data.tiny_store import write_store

COUNT = 40
RULES = IndexRules(min_seconds=1.2, max_seconds=9.95)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MotionStore:
    frames = {f"clip{n:02d}": 30 + n % 5 for n in range(COUNT)}
    return write_store(tmp_path_factory.mktemp("scoring") / "store", frames, splits=dict.fromkeys(frames, "test"))


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return small_evaluator()


def small_evaluator(**changes: object) -> Evaluator:
    torch.manual_seed(0)
    settings = {
        "name": "small",
        "variant": "corrected_hips",
        "min_rows": 24,
        "text": "tokens",
        "text_encoder": "hash",
        "text_dim": 32,
        "movement_hidden": 16,
        "movement_dim": 16,
        "motion_hidden": 16,
        "text_hidden": 16,
        "embed_dim": 8,
        **changes,
    }
    recipe = EvaluatorRecipe(**settings)  # type: ignore[arg-type]
    statistics = replace(load_statistics("hml263_evaluator"), variant=recipe.variant, fps=recipe.fps)
    return Evaluator(recipe, statistics)


@pytest.mark.parametrize(
    ("protocol", "cuts"), [(StandardProtocol(), RowCuts()), (PublishedModelProtocol(), FrameCuts(fps=20.0))]
)
def test_real_motion_as_generated_scores_as_real(
    protocol: ScoringProtocol, cuts: RowCuts | FrameCuts, store: MotionStore, evaluator: Evaluator
) -> None:
    clips = ScoredClips(store, cuts=cuts, rules=RULES, repeats=2, variety=Variety(1, 2))

    def load(job: Job) -> Motion:
        first, count = clips.excerpt(job.repeat, job.item).rows or (0, 10_000)
        return Motion(clips.real(job.item)[first : first + count + 1], clips.real_fps)

    scored = TextToMotionScorer(evaluator, protocol, clips).score(load)
    real, made = scored.rows[GROUND_TRUTH], scored.rows[GENERATED]
    assert scored.set_size == COUNT
    assert made["root_speed_error"].mean == pytest.approx(0, abs=1e-5)
    assert made["multimodality"].mean == pytest.approx(0, abs=1e-5)
    for name in ("foot_skating", "jitter", "root_speed"):
        assert made[name].mean == pytest.approx(real[name].mean, rel=1e-4)
    if protocol.name == "published_model":  # whole clips are encoded alike; rows cut from longer clips are not
        assert made["fid"].mean == pytest.approx(0, abs=1e-6)
        assert made["matching_score"].mean == pytest.approx(real["matching_score"].mean)


def test_worse_motion_scores_worse(store: MotionStore, evaluator: Evaluator) -> None:
    clips = ScoredClips(store, cuts=FrameCuts(fps=20.0), rules=RULES)
    generator = torch.Generator().manual_seed(0)

    def score(noise: float) -> float:
        def load(job: Job) -> Motion:
            joints3d = clips.real(job.item)
            return Motion(joints3d + noise * torch.randn(joints3d.shape, generator=generator), 20.0)

        value = TextToMotionScorer(evaluator, PublishedModelProtocol(), clips).score(load).rows[GENERATED]["fid"].mean
        assert value is not None
        return value

    assert 1e-6 < score(0.01) < score(0.1)


def test_mismatched_evaluator_protocol_and_clips_are_refused(store: MotionStore, evaluator: Evaluator) -> None:
    rows = ScoredClips(store, cuts=RowCuts(), rules=RULES)
    few = ScoredClips(store, cuts=RowCuts(), rules=RULES, limit=31)
    standard, glove = StandardProtocol(), {"text": "glove", "text_encoder": "", "text_dim": 300}
    cases = {
        "R-precision ranks pools of 32": (evaluator, standard, few),
        "has 20 frames per second, evaluator 'small' was trained at 30": (
            small_evaluator(fps=30.0),
            standard,
            rows,
        ),
        "trained on clips of at least 2 s": (small_evaluator(min_rows=40), standard, rows),
        "scores whole clips": (evaluator, PublishedModelProtocol(), rows),
        "loaded without them; give their folder": (small_evaluator(**glove), standard, rows),
    }
    for message, parts in cases.items():
        with pytest.raises(ValueError, match=message):
            TextToMotionScorer(*parts)


def motion_of(joints3d: torch.Tensor) -> Motion:
    """The motion of 22 or 24 joints."""
    return Motion(joints3d, 20.0, SMPL24 if joints3d.shape[1] == SMPL24.num_joints else SMPL22)


@pytest.mark.parametrize(
    ("joints3d", "message"),
    [
        (torch.zeros(30, 24, 3), r"repeat 0, items 0 to 39.*Motion 0 has shape \(30, 24, 3\)"),
        (torch.full((30, 22, 3), torch.inf), "repeat 0, items 0 to 39.*not finite"),
        (None, r"repeat 0, item 0\) has 9 feature rows, one less than frames at 20 fps; evaluator 'small' needs 24"),
    ],
)
def test_motions_that_cannot_be_scored_are_named(
    joints3d: torch.Tensor | None, message: str, store: MotionStore, evaluator: Evaluator
) -> None:
    clips = ScoredClips(store, cuts=RowCuts(), rules=RULES)
    scorer = TextToMotionScorer(evaluator, StandardProtocol(), clips)
    with pytest.raises(ValueError, match=message):
        scorer.score(lambda job: motion_of(clips.real(job.item)[:10] if joints3d is None else joints3d))
