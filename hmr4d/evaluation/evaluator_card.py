"""Scores of an evaluator on real motion, and on real motion corrupted in known ways."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from hmr4d.data.clip_index import IndexRules
from hmr4d.evaluation.cards import GENERATED, GROUND_TRUTH, ResultCard
from hmr4d.evaluation.r_precision_upper_bound import r_precision_upper_bound
from hmr4d.evaluation.scoring import Embeddings, StandardProtocol, TextToMotionScorer
from hmr4d.evaluation.text_to_motion_data import Job, RowCuts, ScoredClips
from hmr4d.evaluators.corruptions import CORRUPTIONS, Corruption
from hmr4d.evaluators.evaluator import EvaluatorRecipe, load_evaluator
from hmr4d.evaluators.hml263_clips import PADDED_ROWS, EvaluationClips
from hmr4d.metrics.intervals import Value, replicate_rows
from hmr4d.motion.motion import Motion
from hmr4d.representation.hml263 import Hml263Statistics
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import mix_seed

ANOTHER_CLIP = "another clip"
ITEM_TENSORS = ("features", "num_rows")
REPORTED = ("fid", "r_precision_top_1", "r_precision_top_2", "r_precision_top_3", "matching_score", "diversity")


def clips_of(store: str, split: str, recipe: EvaluatorRecipe, *, repeats: int, seed: int) -> ScoredClips:
    """The clips of a split that an evaluator takes; longer ones are cut."""
    rules = IndexRules(recipe.min_rows / recipe.fps, recipe.max_rows / recipe.fps, keep_long=True)
    cuts = RowCuts(max_rows=recipe.max_rows, unit=recipe.unit_length)
    return ScoredClips(store, split, cuts=cuts, rules=rules, repeats=repeats, seed=seed)


def corrupted(clips: ScoredClips, corrupt: Corruption) -> Callable[[Job], Motion]:
    """Gives every item its own clip, cut to what counts and corrupted."""

    def load(job: Job) -> Motion:
        rows = clips.excerpt(job.repeat, job.item).rows
        assert rows is not None
        generator = torch.Generator().manual_seed(mix_seed(clips.seed + job.repeat, job.item))
        joints3d = clips.real(job.item)[rows[0] : rows[0] + rows[1] + 1]
        return Motion(
            corrupt(joints3d, generator), clips.real_fps, clips.store.skeleton, clips.text(job.repeat, job.item)
        )

    return load


def exchanged(clips: ScoredClips) -> Callable[[Job], Motion]:
    """Gives every item the whole clip of another one, each clip once a repeat."""
    orders = [
        np.random.default_rng(mix_seed(clips.seed, repeat)).permutation(clips.items) for repeat in range(clips.repeats)
    ]
    others = [dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True)) for order in orders]

    def load(job: Job) -> Motion:
        text = clips.text(job.repeat, job.item)
        return Motion(clips.real(others[job.repeat][job.item]), clips.real_fps, clips.store.skeleton, text)

    return load


def score_evaluator(
    evaluator_name: str, store: str, split: str, *, repeats: int, corrupted_repeats: int, seed: int, command: str
) -> ResultCard:
    """The card of an evaluator: its scores of real motion, and of real motion corrupted in known ways.

    Args:
        evaluator_name: name or folder.
        store, split: real motion.
        repeats, corrupted_repeats: passes with new captions and crops over real and over corrupted motion.
        seed: seed of the passes.
        command: command that reproduces the card.

    Raises:
        FileNotFoundError: the store or the evaluator does not exist.
        ValueError: they do not match, or there are too few clips.
    """
    evaluator = load_evaluator(evaluator_name)
    many, few = (
        TextToMotionScorer(
            evaluator,
            StandardProtocol(),
            clips_of(store, split, evaluator.recipe, repeats=count, seed=seed),
        )
        for count in (repeats, corrupted_repeats)
    )
    scored = many.score(corrupted(many.clips, CORRUPTIONS["unchanged"]))
    rows: dict[str, dict[str, Value]] = {GROUND_TRUTH: _chosen(scored.rows[GROUND_TRUTH], (*REPORTED, "fid_halves"))}
    loaders = {name: corrupted(few.clips, corrupt) for name, corrupt in CORRUPTIONS.items()}
    loaders[ANOTHER_CLIP] = exchanged(few.clips)
    for name, load in progress(list(loaders.items()), "corrupted motion", unit="kind"):
        rows[name] = _chosen(few.score(load).rows[GENERATED], REPORTED)
    bounds = r_precision_upper_bound(many.clips)
    notes = [*scored.notes, *(f"Best possible R@1, 2, 3 {known}: {_shares(top)}." for known, top in bounds.items())]
    return ResultCard(
        rows=rows,
        set_name=f"{many.clips.store.name}/{split}",
        set_size=scored.set_size,
        seed=seed,
        protocol=many.protocol.name,
        evaluator=evaluator.recipe.name,
        evaluator_hash=evaluator.weights_hash,
        statistics_hash=evaluator.statistics_hash,
        checkpoint=None,
        checkpoint_hash=None,
        command=command,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        notes=tuple(notes),
    )


def score_evaluator_on_features(
    evaluator_name: str, folder: str | Path, split: str, *, repeats: int, seed: int, command: str
) -> ResultCard:
    """The card of an evaluator on the real motion of a folder of HumanML3D features: row "Real" of published tables.

    Captions and crops are those that the published code draws from the same seeds, see `EvaluationClips`.

    Args:
        evaluator_name: name or folder; its statistics normalize the features.
        folder: folder in HumanML3D layout.
        split: name of the list file.
        repeats: passes with new captions and crops. Each is compared with another pass for its FID.
        seed: seed of the first pass.
        command: command that reproduces the card.

    Raises:
        FileNotFoundError: the evaluator or files of the folder do not exist.
        ValueError: the evaluator takes other features, or there are too few clips.
    """
    evaluator = load_evaluator(evaluator_name)
    if not isinstance(evaluator.statistics, Hml263Statistics) or evaluator.recipe.max_rows != PADDED_ROWS:
        raise ValueError(
            f"Evaluator '{evaluator.recipe.name}' takes {evaluator.recipe.max_rows} rows of "
            f"{evaluator.recipe.features.store.about}; --features needs one of {PADDED_ROWS} rows of 263 features."
        )
    protocol, set_size = StandardProtocol(), 0
    rows: list[dict[str, float]] = []
    notes: list[str] = []
    for repeat in progress(list(range(repeats)), "passes", unit="pass"):
        passes = []
        for number in (2 * repeat, 2 * repeat + 1):
            choices, crops = random.Random(seed + number), np.random.RandomState(seed + number)
            clips = EvaluationClips(folder, split, statistics=evaluator.statistics, choices=choices, crops=crops)
            items = [clips[index] for index in range(len(clips))]
            features, counts = (torch.stack([torch.as_tensor(item[name]) for item in items]) for name in ITEM_TENSORS)
            texts = evaluator.embed_texts([item["text"] for item in items], [item["tokens"] for item in items])
            passes.append((texts, evaluator.embed_motions(features, counts)))
        (texts, real), (_, another) = passes
        scores = protocol.scores(Embeddings(texts, real, real, another), seed + repeat)
        rows.append(scores.ground_truth)
        notes += scores.notes
        set_size = len(real)
    return ResultCard(
        rows={GROUND_TRUTH: replicate_rows(rows)},
        set_name=f"{Path(folder).resolve().name}/{split}",
        set_size=set_size,
        seed=seed,
        protocol=protocol.name,
        evaluator=evaluator.recipe.name,
        evaluator_hash=evaluator.weights_hash,
        statistics_hash=evaluator.statistics_hash,
        checkpoint=None,
        checkpoint_hash=None,
        command=command,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        notes=tuple(dict.fromkeys(notes)),
    )


def _chosen(row: object, names: Sequence[str]) -> dict[str, Value]:
    assert isinstance(row, dict)
    return {name: row[name] for name in names}


def _shares(top: Sequence[float]) -> str:
    return ", ".join(f"{share:.3f}" for share in top)
