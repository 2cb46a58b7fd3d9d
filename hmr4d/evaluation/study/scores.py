"""Scores of the study: real windows and motions of every arm, on seen and held-out contents."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from hmr4d.data.action_labels import labeled_clips
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_recognition import (
    WEIGHTS_NAME,
    ClassifierTraining,
    ContentClassifier,
    LabeledMotion,
    confusions,
    obtain_classifier,
)
from hmr4d.evaluation.motion_quality import interval, pick, score_motion, summarize
from hmr4d.evaluation.preparation import StandardPreparation
from hmr4d.evaluation.prompt_sets import PromptSet
from hmr4d.evaluation.study.plan import Group, Subsets, chain, held_out, subsets_of, training
from hmr4d.evaluation.study.runs import sample_arm, seconds_range
from hmr4d.evaluators.evaluator import Evaluator, load_evaluator
from hmr4d.metrics.frechet import Gaussian, frechet_distance
from hmr4d.metrics.text_to_motion import POOL_SIZE, retrieval
from hmr4d.utils.files import file_hash

logger = logging.getLogger(__name__)

REAL = "real"
SHUFFLES = 20  # random orders of the pairs; R-precision is averaged over their divisions into pools
Row = dict[str, dict[str, float]]  # subset or content -> measure -> value


def windows(store: MotionStore, clips: Sequence[int], seconds: Sequence[float]) -> LabeledMotion:
    """The central window of each clip, with the requested duration."""
    joints = []
    for clip, duration in zip(clips, seconds, strict=True):
        whole = torch.tensor(store.joints3d(clip))
        frames = min(round(duration * store.fps), len(whole))
        start = (len(whole) - frames) // 2
        joints.append(whole[start : start + frames])
    return LabeledMotion(joints, [store.labels["content"][clip] for clip in clips], store.fps)


class EmbeddingScores:
    """FID, R-precision and matching score of each subset by an evaluator.

    The reference of a subset's FID is the real motion of the subset in the train split. Real motion of the test split
    therefore has a FID, too.

    Args:
        evaluator: network that embeds motions and texts.
        store: store of the captions and of the reference motion.
        groups: see `subsets_of`.
        longest: duration of the longest window, seconds.
    """

    def __init__(self, evaluator: Evaluator, store: MotionStore, groups: Sequence[Group], longest: float) -> None:
        self.evaluator = evaluator
        recipe = evaluator.recipe
        self.preparation = StandardPreparation(evaluator.statistics, max_rows=recipe.max_rows, unit=recipe.unit_length)
        evaluator.use_text_cache(store)
        clips = labeled_clips(store, "train").tolist()
        real = windows(store, clips, [longest] * len(clips))
        fits = [i for i, clip in enumerate(real.clips) if self._fits(clip, real.fps)]
        embedded = self._embed(LabeledMotion([real.clips[i] for i in fits], [real.labels[i] for i in fits], real.fps))
        subsets = subsets_of(store, [clips[i] for i in fits], groups)
        self.reference = {name: Gaussian.fit(embedded[places]) for name, places in subsets.items()}
        self.notes: dict[str, str] = {}

    def __call__(self, motion: LabeledMotion, texts: Sequence[str], subsets: Subsets) -> Row:
        """Subset -> metric -> value; motions that are too short for the evaluator are excluded."""
        fits = [i for i, clip in enumerate(motion.clips) if self._fits(clip, motion.fps)]
        place = {i: row for row, i in enumerate(fits)}
        kept = LabeledMotion([motion.clips[i] for i in fits], [motion.labels[i] for i in fits], motion.fps)
        motions, words = self._embed(kept), self.evaluator.embed_texts([texts[i] for i in fits])
        rows: Row = {}
        for name, places in subsets.items():
            chosen = [place[i] for i in places if i in place]
            rows[name] = self._score(name, words[chosen], motions[chosen])
        return rows

    def _score(self, name: str, words: Tensor, motions: Tensor) -> dict[str, float]:
        distance = frechet_distance(self.reference[name], Gaussian.fit(motions))
        if distance.note:
            self.notes[name] = f"{name}: {distance.note}"
        matching = float((words.double() - motions.double()).norm(dim=-1).mean())
        scores = {"fid": distance.value, "matching_score": matching}
        ranks = [f"r_precision_top_{k}" for k in (1, 2, 3)]
        if len(motions) < POOL_SIZE:  # fewer than one pool
            return scores | dict.fromkeys(ranks, math.nan)
        rng = np.random.RandomState(0)
        orders = [torch.from_numpy(rng.permutation(len(motions))) for _ in range(SHUFFLES)]
        top_k = torch.stack([retrieval(words[order], motions[order]).top_k for order in orders]).mean(0)
        return scores | dict(zip(ranks, top_k.tolist(), strict=True))

    def _fits(self, clip: Tensor, fps: float) -> bool:
        return len(clip) / fps * self.evaluator.recipe.fps >= self.evaluator.recipe.min_rows + 1

    def _embed(self, motion: LabeledMotion) -> Tensor:
        encoded = self.preparation.encode(motion.clips, motion.fps)
        return self.evaluator.embed_motions(*self.preparation.cut(encoded, [None] * len(motion)))


class Scored(NamedTuple):
    """Scores of one set of motions: metrics by subset and by content, and confusions (wanted, predicted, count)."""

    by_subset: Row
    by_content: Row
    taken_for: list[tuple[str, str, int]]


@dataclass(frozen=True)
class Judges:
    """The networks that score motions.

    Attributes:
        classifier: action-recognition classifier.
        embeddings: scores by an evaluator; None: no such scores.
    """

    classifier: ContentClassifier
    embeddings: EmbeddingScores | None

    def score(self, motion: LabeledMotion, texts: Sequence[str], subsets: Subsets) -> Scored:
        """Scores of the motions generated for `texts`."""
        scores = score_motion(self.classifier, motion)
        by_subset = {name: summarize(pick(scores, places)) for name, places in subsets.items()}
        if self.embeddings is not None:
            found = self.embeddings(motion, texts, subsets)
            by_subset = {name: values | found[name] for name, values in by_subset.items()}
        by_content = {}
        for content in sorted(set(motion.labels)):
            places = [i for i, label in enumerate(motion.labels) if label == content]
            by_content[content] = summarize(pick(scores, places))
        return Scored(by_subset, by_content, confusions(scores.predicted, scores.wanted))


def judges(cfg: DictConfig, store: MotionStore) -> tuple[Judges, dict[str, Any]]:
    """The classifier (trained on windows of real motion if missing) and the evaluator, and metadata of both."""
    longest = seconds_range(cfg)[1]
    options = ClassifierTraining(max_seconds=longest, **cfg.scoring.classifier)
    folder = Path(cfg.output_dir) / "classifier"
    classifier, _ = obtain_classifier(folder, store, options)
    metadata: dict[str, Any] = {"classifier": {"sha256": file_hash(folder / WEIGHTS_NAME)}, "evaluator": None}
    embeddings = None
    if cfg.scoring.evaluator is not None:
        evaluator = load_evaluator(cfg.scoring.evaluator)
        embeddings = EmbeddingScores(evaluator, store, held_out(cfg), longest)
        metadata["evaluator"] = {
            "name": evaluator.recipe.name,
            "weights_hash": evaluator.weights_hash,
            "statistics_hash": evaluator.statistics_hash,
        }
    return Judges(classifier, embeddings), metadata


def score(cfg: DictConfig, store: MotionStore, prompts: PromptSet) -> dict[str, Any]:
    """The card: metrics of real motion and of every arm over the seeds, and paired differences of arms."""
    clips = labeled_clips(store, cfg.sampling.split)[prompts.numbers].tolist()
    subsets = subsets_of(store, clips, held_out(cfg))
    judging, classifier_card = judges(cfg, store)
    rows = {
        name: [judging.score(motion, prompts.wordings(seed), subsets) for seed, motion in drawn]
        for name, drawn in _rows(cfg, store, clips, prompts)
    }
    by_subset = {name: [scored.by_subset for scored in found] for name, found in rows.items()}
    notes = [] if judging.embeddings is None else sorted(judging.embeddings.notes.values())
    return {
        "seeds": list(cfg.seeds),
        "holdout": list(cfg.holdout),
        "steps": {name: _steps(cfg, name) for name in cfg.arms},
        "store": store.name,
        "split": cfg.sampling.split,
        "seconds": list(seconds_range(cfg)),
        "num_motions": {name: len(places) for name, places in subsets.items()},
        "num_by_content": {c: prompts.contents.count(c) for c in sorted(set(prompts.contents))},
        **classifier_card,
        "titles": {name: cfg.trainings[name].get("title", name) for name in cfg.arms},
        "rows": {name: over_seeds(found) for name, found in by_subset.items()},
        "contents": {name: over_seeds([scored.by_content for scored in found]) for name, found in rows.items()},
        "taken_for": {name: _pooled([scored.taken_for for scored in found]) for name, found in rows.items()},
        "differences": [
            {"first": first, "second": second, "subsets": difference(by_subset[first], by_subset[second])}
            for first, second in cfg.comparisons
            if first in rows and second in rows
        ],
        "notes": notes,
    }


def over_seeds(repeats: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Mean, half width of the 95 % interval by Student's t, and values of each metric; undefined values are None."""
    table: dict[str, dict[str, Any]] = {}
    for name, measures in repeats[0].items():
        table[name] = {}
        for measure in measures:
            over = interval([repeat[name][measure] for repeat in repeats])
            table[name][measure] = {
                "mean": _plain(over.mean),
                "half_width": _plain(over.half_width),
                "values": [_plain(v) for v in over.values],
            }
    return table


def _rows(
    cfg: DictConfig, store: MotionStore, clips: Sequence[int], prompts: PromptSet
) -> Iterator[tuple[str, list[tuple[int, LabeledMotion]]]]:
    """Row name -> (seed, motion). Real motion is the same for every seed; its captions differ."""
    real = windows(store, clips, prompts.seconds)
    yield REAL, [(seed, real) for seed in cfg.seeds]
    for arm in cfg.arms:
        yield arm, [(seed, sample_arm(cfg, arm, seed, prompts)) for seed in cfg.seeds]


def _pooled(repeats: Sequence[Sequence[tuple[str, str, int]]]) -> list[tuple[str, str, int]]:
    """Confusions over all seeds, most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    for wanted, predicted, count in (entry for repeat in repeats for entry in repeat):
        counts[wanted, predicted] += count
    return [(*pair, count) for pair, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def difference(first: Sequence[Row], second: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """First minus second, paired by seed, in the format of `over_seeds`."""
    pairs = zip(first, second, strict=True)
    return over_seeds([{name: {m: a[name][m] - b[name][m] for m in a[name]} for name in a} for a, b in pairs])


def _steps(cfg: DictConfig, name: str) -> dict[str, int]:
    """Training -> optimizer steps, for the successive trainings of an arm."""
    return {one: training(cfg, one, cfg.seeds[0]).steps for one in chain(cfg, name)}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
