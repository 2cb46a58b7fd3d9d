"""Scores of generated motion, and of real motion with the same code: the card of `hmr4d quality`."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hmr4d.data.action_labels import bandai_namco_paraphrases, clips_of, cmu_paraphrases
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_recognition import (
    WEIGHTS_NAME,
    ContentClassifier,
    LabeledMotion,
    confusions,
    labeled_motion,
    obtain_classifier,
    training_for,
)
from hmr4d.evaluation.everyday_verbs import SECONDS, done, everyday_verbs, real_figures, try_checks, verb_set
from hmr4d.evaluation.motion_quality import only, over_repeats, plain_interval, score_motion, with_measures
from hmr4d.evaluation.novelty import COPY_QUANTILE, NearestClip, spread_of_contents
from hmr4d.evaluation.prompt_sets import PromptSet, caption_set, free_set, read_prompts, real_motion
from hmr4d.evaluation.quality_2d import Comparison2D, open_comparison, score_in_2d
from hmr4d.evaluation.quality_models import Draw, Model, generate, load_checkpoint, load_model
from hmr4d.evaluation.quality_report import markdown
from hmr4d.utils.devices import pick_device
from hmr4d.utils.files import file_hash, write_json, write_text
from hmr4d.utils.places import outputs_folder

logger = logging.getLogger(__name__)

VERBS = "verbs"
PARAPHRASES = {"paraphrases": bandai_namco_paraphrases, "cmu_paraphrases": cmu_paraphrases}
REPEATS_2D = 20
DEFAULT_RANGE = (1.2, 9.8)  # seconds; range of the real clips if there is no model
CLASSIFIER_ENTRIES = (
    "val_accuracy",
    "test_accuracy",
    "test_accuracy_synonyms",
    "test_content_mean_accuracy",
    "test_contents",
    "test_confusions",
    "without_test_clips",
    "few_train_clips",
)


@dataclass(frozen=True)
class QualityRequest:
    """What `score_quality` scores.

    Attributes:
        store: folder of the real motion.
        split: clips to compare with.
        weights: released model, name or folder; None: none.
        checkpoint: checkpoint of a training run; None: none.
        exp, set: experiment of the checkpoint with overrides; None: the configuration of its run.
        out: folder of card, table and cache.
        classifier: folder of the classifier, trained if missing; None: outputs/content_classifier/NAME of the store.
        prompts: names of prompt sets and paths of files; None: captions and held-out paraphrases.
        seconds: durations of each prompt, None for that of its clip; None: those of the clips, or SECONDS of the verbs.
        seeds: number of repeats.
        steps, guidance: sampling options instead of those of the model.
        limit: number of items of each set.
        score_2d: folder of a 2D store, and an evaluator of 2D keypoints; None: no scores in 2D.
        repeats: number of passes of the scores in 2D.
        no_novelty: whether the distances to training clips are left out.
        device: name of the device.

    Raises:
        ValueError: options contradict each other.
    """

    store: Path
    split: str = "test"
    weights: str | None = None
    checkpoint: Path | None = None
    exp: str | None = None
    set: Sequence[str] = ()
    out: Path = field(default_factory=lambda: outputs_folder() / "quality")
    classifier: Path | None = None
    prompts: Sequence[str] | None = None
    seconds: Sequence[float | None] | None = None
    seeds: int = 3
    steps: int | None = None
    guidance: float | None = None
    limit: int | None = None
    score_2d: Sequence[str] | None = None
    repeats: int | None = None
    no_novelty: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.seeds < 1 or (self.repeats is not None and self.repeats < 1):
            raise ValueError(f"--seeds is {self.seeds}, --repeats {self.repeats}; at least one repeat is needed.")
        has_model = self.weights is not None or self.checkpoint is not None
        if self.score_2d is not None and not has_model:
            raise ValueError("--score-2d compares generated motion; name a model with --weights or --checkpoint.")
        if not has_model and not (self.steps is None and self.guidance is None):
            raise ValueError("--steps and --guidance are for a model; name it with --weights or --checkpoint.")
        if self.checkpoint is None and (self.exp is not None or self.set):
            raise ValueError(
                "--exp and --set are for a --checkpoint; a released model contains its settings. Remove them."
            )
        if self.score_2d is None and self.repeats is not None:
            raise ValueError("--repeats is for --score-2d; pass --score-2d too, or use --seeds for the other scores.")

    @property
    def cache(self) -> Path:
        """Folder of the generated motions."""
        return self.out / "cache"

    def classifier_folder(self, name: str) -> Path:
        """Folder of the classifier for the store `name`."""
        return self.classifier or outputs_folder() / "content_classifier" / name


@dataclass(frozen=True)
class Yardsticks:
    """The measurement tools.

    Attributes:
        classifier: action-recognition classifier of contents.
        nearest: distances to the training clips; None: not measured.
        near: meters; a motion below this distance to a training clip counts as near.
    """

    classifier: ContentClassifier
    nearest: NearestClip | None
    near: float


def default_prompts(store: MotionStore) -> list[str]:
    """Captions, and the held-out paraphrases of the data sets of a store (Bandai-Namco by default)."""
    held = store.info.get("settings", {}).get("stores", [store.name])
    names = [name for name, data in (("paraphrases", "bandai_namco"), ("cmu_paraphrases", "cmu")) if data in held]
    return ["captions", *(names or ["paraphrases"])]


def prompt_sets(request: QualityRequest, store: MotionStore, seconds_range: tuple[float, float]) -> list[PromptSet]:
    """The sets that `request` asks for, except the verbs, each once per duration."""
    sets = []
    for name in request.prompts or default_prompts(store):
        if name == VERBS:
            continue
        if name == "captions":
            sets.append(caption_set(store, request.split, seconds_range, request.limit))
            continue
        if name in PARAPHRASES:
            prompts = PARAPHRASES[name]()
            absent = sorted(content for content in prompts if not len(clips_of(store, content)))
            if absent:
                logger.info("Prompts of contents that are not in %s are skipped: %s.", store.name, absent)
            prompts = {content: wordings for content, wordings in prompts.items() if content not in absent}
        else:
            prompts = read_prompts(Path(name))
        sets.append(free_set(Path(name).stem, prompts, store, seconds_range, request.limit))
    return [one.lasting(seconds, seconds_range) for one in sets for seconds in request.seconds or [None]]


def yardsticks(request: QualityRequest, store: MotionStore, classifier: ContentClassifier) -> Yardsticks:
    """The measurement tools; distances to training clips include the reference value of held-out real clips."""
    if request.no_novelty:
        return Yardsticks(classifier, None, math.nan)
    logger.info("Comparing with the training clips of %s.", store.name)
    nearest = NearestClip.of_split(store)
    held_out, _ = nearest(labeled_motion(store, request.split))
    return Yardsticks(classifier, nearest, float(held_out.quantile(COPY_QUANTILE)))


def score_set(
    measure: Yardsticks, repeats: Sequence[LabeledMotion], real: LabeledMotion | None, split: set[str]
) -> dict[str, Any]:
    """Summary of one set of prompts: generated repeats, real motion, and confusions.

    Args:
        measure: classifier and distances.
        repeats: generated motion, one entry per seed; may be empty.
        real: the clips of the prompts, if any.
        split: contents of the split. If the prompts have other contents too, there is a second summary without them.
    """
    card: dict[str, Any] = {}
    for name, motions in (("real", [] if real is None else [real]), ("generated", list(repeats))):
        if not motions:
            continue
        scores = [score_motion(measure.classifier, motion) for motion in motions]
        if measure.nearest is not None:
            found = [measure.nearest(motion)[0] for motion in motions]
            more = [{"nearest_train": d, "near_train": (d < measure.near).float()} for d in found]
            scores = [with_measures(s, m) for s, m in zip(scores, more, strict=True)]
        wanted = [label for s in scores for label in s.wanted]
        predicted = [label for s in scores for label in s.predicted]
        card[name] = over_repeats(scores) | {"confusions": confusions(predicted, wanted)}
        if split & set(wanted) and not set(wanted) <= split:
            common = over_repeats([only(s, split) for s in scores])
            card[name]["contents_of_split"] = {k: common[k] for k in ("num_motions", "all")}
    return card


def score_sets(
    request: QualityRequest,
    store: MotionStore,
    model: Model | None,
    measure: Yardsticks,
    draw: Draw,
    sets: Sequence[PromptSet],
) -> dict[str, Any]:
    """The part of the card on sets of prompts, by their names; a set without motion is left out."""
    in_split = {store.labels["content"][clip] for clip in store.indices(request.split).tolist()}
    scores: dict[str, Any] = {}
    for prompts in sets:
        repeats = []
        if model is not None:
            repeats = [generate(model, prompts, r, draw, request.cache) for r in range(request.seeds)]
        real = real_motion(store, request.split, prompts) if prompts.name.startswith("captions") else None
        if repeats or real is not None:
            scores[prompts.name] = score_set(measure, repeats, real, in_split)
        if len(repeats) > 1 and measure.nearest is not None:
            same = [len(set(wordings)) == 1 for wordings in prompts.prompts]
            scores[prompts.name]["diversity"] = spread_of_contents(repeats, same, store)
    return scores


def score_verbs(request: QualityRequest, store: MotionStore, model: Model | None, draw: Draw) -> dict[str, Any]:
    """Accuracy of the geometric checks on real clips, and the fraction of successful prompts per duration."""
    verbs = everyday_verbs()
    tried = try_checks(verbs, real_figures(store))
    card: dict[str, Any] = {
        "real": [asdict(one) for one in tried],
        "prompts": [verb.prompt for verb in verbs],
        "durations": {},
    }
    if model is None:
        return card
    bounds = (model.sampler.min_seconds, model.sampler.max_seconds)
    for seconds in [s for s in request.seconds or () if s is not None] or SECONDS:
        prompts = verb_set(seconds, request.limit).lasting(seconds, bounds)
        answers = [done(generate(model, prompts, r, draw, request.cache)) for r in range(request.seeds)]
        shares = [sum(answer) / len(answer) for answer in answers]
        by_prompt = [sum(values) / len(values) for values in zip(*answers, strict=True)]
        card["durations"][f"{seconds:g}"] = {
            "done": plain_interval(shares),
            "prompts": {str(n): share for n, share in zip(prompts.numbers, by_prompt, strict=True)},
        }
    return card


def score_quality(request: QualityRequest, command: str) -> dict[str, Any]:
    """Scores what `request` asks for; writes and returns the card.

    Args:
        request: models, motions and options.
        command: command that reproduces the card.

    Raises:
        FileNotFoundError: a store, model or file does not exist.
        ValueError: store, model and options do not match.
    """
    store = MotionStore.open(request.store)
    model = None
    if request.weights is not None:
        model = load_model(request.weights, pick_device(request.device))
    elif request.checkpoint is not None:
        model = load_checkpoint(request.checkpoint, request.exp, request.set, pick_device(request.device))
    compared = None
    if request.score_2d is not None and model is not None:
        comparison = Comparison2D(
            Path(request.score_2d[0]), request.score_2d[1], request.split, request.repeats or REPEATS_2D, request.limit
        )
        compared = open_comparison(model, comparison)
    bounds = DEFAULT_RANGE if model is None else (model.sampler.min_seconds, model.sampler.max_seconds)
    sets = prompt_sets(request, store, bounds)
    folder = request.classifier_folder(store.name)
    classifier, classifier_card = obtain_classifier(
        folder, store, training_for(store), may_replace=request.classifier is None
    )
    measure = yardsticks(request, store, classifier)
    draw = Draw(request.seeds, request.steps, request.guidance)
    card: dict[str, Any] = {
        "command": command,
        "model": None if model is None else model.metadata,
        "seeds": request.seeds,
        "steps": model.steps if model is not None and request.steps is None else request.steps,
        "guidance": model.guidance if model is not None and request.guidance is None else request.guidance,
        "seconds": list(bounds),
        "store": store.name,
        "split": request.split,
        "fps": classifier.fps,
        "near_train_metres": None if measure.nearest is None else measure.near,
        "classifier": {
            "sha256": file_hash(folder / WEIGHTS_NAME),
            **{k: classifier_card[k] for k in CLASSIFIER_ENTRIES},
        },
        "sets": score_sets(request, store, model, measure, draw, sets),
        "verbs": None,
        "scores_2d": None,
    }
    if compared is not None and model is not None:
        card["scores_2d"] = score_in_2d(model, *compared, draw, request.cache)
    if VERBS in (request.prompts or ()):
        card["verbs"] = score_verbs(request, store, model, draw)
    write_json(request.out / "quality.json", card)
    write_text(request.out / "quality.md", markdown(card))
    return card
