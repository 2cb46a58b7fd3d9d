"""`hmr4d quality`: scores generated motion, and real motion with the same code.

hmr4d quality                                            # real motion only
hmr4d quality --weights motion2to3-everyday --store inputs/everyday --seeds 3
hmr4d quality --checkpoint outputs/everyday/motion2to3_everyday/checkpoints/last.ckpt --store inputs/everyday
hmr4d quality --weights NAME --store inputs/everyday --prompts paraphrases cmu_paraphrases --seconds own 3 5 8
hmr4d quality --weights NAME --store inputs/everyday --prompts verbs
hmr4d quality --weights NAME --store inputs/everyday --score-2d inputs/everyday_2d evaluator-keypoints
"""

from __future__ import annotations

import argparse
import logging
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_labels import bandai_namco_paraphrases, clips_of, cmu_paraphrases
from hmr4d.evaluation.action_recognition import (
    WEIGHTS_NAME,
    ContentClassifier,
    LabelledMotion,
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
from hmr4d.utils.files import file_hash, write_json, write_text
from hmr4d.utils.places import inputs_folder

logger = logging.getLogger(__name__)

VERBS = "verbs"
OWN = "own"  # the duration of a prompt's clip, or the median of its content
PARAPHRASES = {"paraphrases": bandai_namco_paraphrases, "cmu_paraphrases": cmu_paraphrases}
PROMPT_SETS = ("captions", *PARAPHRASES, VERBS)
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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d quality",
        description="Scores generated motion and real motion: action recognition with a classifier trained on real "
        "joints, physical measures, and distance to the training clips. Without --weights and --checkpoint only "
        "real motion is scored.",
        epilog="An interrupted run continues where it stopped; motions are kept in OUT/cache. "
        "See docs/results_protocol.md.",
    )
    source = known.add_mutually_exclusive_group()
    source.add_argument("--weights", metavar="NAME", help="released model: name or folder")
    source.add_argument("--checkpoint", type=Path, metavar="FILE", help="checkpoint of a training run, finished or not")
    known.add_argument("--exp", help="experiment of the checkpoint; None: the config.yaml of its run")
    known.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides of --exp")
    known.add_argument(
        "--store",
        type=Path,
        default=inputs_folder() / "bandai_namco",
        help="prepared real motion: Bandai-Namco, CMU, or both joined",
    )
    known.add_argument("--split", default="test", help="clips to compare with (test)")
    known.add_argument("--out", type=Path, default=Path("outputs/quality"), help="folder of card, table and cache")
    known.add_argument(
        "--classifier",
        type=Path,
        help="folder of the classifier, trained if missing (outputs/content_classifier/NAME of the store)",
    )
    known.add_argument(
        "--prompts",
        nargs="+",
        metavar="SET",
        help="captions (of the split), paraphrases (held out, Bandai-Namco), cmu_paraphrases (held out, CMU), verbs "
        "(everyday prompts with geometric checks), or a YAML file: content -> list of prompts (captions, and the "
        "paraphrases of the data in the store)",
    )
    known.add_argument(
        "--seconds",
        nargs="+",
        type=duration,
        metavar="S",
        help="ask each prompt for these durations; own: that of its clip or median of its content (own; verbs: 3 5 8)",
    )
    known.add_argument("--seeds", type=int, default=3, metavar="N", help="repeats, with seeds 0 to N-1 (3)")
    known.add_argument("--steps", type=int, metavar="N", help="diffusion steps instead of the model's own")
    known.add_argument("--guidance", type=float, metavar="S", help="guidance scale instead of the model's own")
    known.add_argument("--limit", type=int, metavar="N", help="only N evenly spaced items of each set")
    known.add_argument(
        "--score-2d",
        nargs=2,
        metavar=("STORE", "EVALUATOR"),
        help="also score in 2D: folder of a 2D store, and name or folder of an evaluator of 2D keypoints",
    )
    known.add_argument("--repeats", type=int, metavar="N", help=f"passes of --score-2d ({REPEATS_2D})")
    known.add_argument("--no-novelty", action="store_true", help="skip the distances to training clips")
    known.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    return known


def duration(word: str) -> float | None:
    """Seconds from a command-line value; None for "own"."""
    return None if word == OWN else float(word)


# --- options ----------------------------------------------------------------------------------------------------------


def default_prompts(store: MotionStore) -> list[str]:
    """Captions, and the held-out paraphrases of the data sets of a store (Bandai-Namco by default)."""
    held = store.info.get("settings", {}).get("stores", [store.name])
    names = [name for name, data in (("paraphrases", "bandai_namco"), ("cmu_paraphrases", "cmu")) if data in held]
    return ["captions", *(names or ["paraphrases"])]


def prompt_sets(args: argparse.Namespace, store: MotionStore, seconds_range: tuple[float, float]) -> list[PromptSet]:
    """The sets that `args` ask for, except the verbs, each once per duration."""
    sets = []
    for name in args.prompts or default_prompts(store):
        if name == VERBS:
            continue
        if name == "captions":
            sets.append(caption_set(store, args.split, seconds_range, args.limit))
            continue
        if name in PARAPHRASES:
            prompts = PARAPHRASES[name]()
            absent = sorted(content for content in prompts if not len(clips_of(store, content)))
            if absent:
                logger.info("Prompts of contents that are not in %s are skipped: %s.", store.name, absent)
            prompts = {content: wordings for content, wordings in prompts.items() if content not in absent}
        else:
            prompts = read_prompts(Path(name))
        sets.append(free_set(Path(name).stem, prompts, store, seconds_range, args.limit))
    return [one.lasting(seconds, seconds_range) for one in sets for seconds in args.seconds or [None]]


# --- scores -----------------------------------------------------------------------------------------------------------


def yardsticks(args: argparse.Namespace, store: MotionStore, classifier: ContentClassifier) -> Yardsticks:
    """The measurement tools; distances to training clips include the reference value of held-out real clips."""
    if args.no_novelty:
        return Yardsticks(classifier, None, math.nan)
    logger.info("Comparing with the training clips of %s.", store.name)
    nearest = NearestClip.of_split(store)
    held_out, _ = nearest(labeled_motion(store, args.split))
    return Yardsticks(classifier, nearest, float(held_out.quantile(COPY_QUANTILE)))


def score_set(
    measure: Yardsticks, repeats: Sequence[LabelledMotion], real: LabelledMotion | None, split: set[str]
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
    args: argparse.Namespace,
    store: MotionStore,
    model: Model | None,
    measure: Yardsticks,
    draw: Draw,
    sets: Sequence[PromptSet],
) -> dict[str, Any]:
    """The part of the card on sets of prompts, by their names; a set without motion is left out."""
    in_split = {store.labels["content"][clip] for clip in store.indices(args.split).tolist()}
    found: dict[str, Any] = {}
    for prompts in sets:
        repeats = []
        if model is not None:
            repeats = [generate(model, prompts, r, draw, args.out / "cache") for r in range(args.seeds)]
        real = real_motion(store, args.split, prompts) if prompts.name.startswith("captions") else None
        if repeats or real is not None:
            found[prompts.name] = score_set(measure, repeats, real, in_split)
        if len(repeats) > 1 and measure.nearest is not None:
            same = [len(set(wordings)) == 1 for wordings in prompts.prompts]
            found[prompts.name]["diversity"] = spread_of_contents(repeats, same, store)
    return found


def score_verbs(args: argparse.Namespace, store: MotionStore, model: Model | None, draw: Draw) -> dict[str, Any]:
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
    for seconds in [s for s in args.seconds or () if s is not None] or SECONDS:
        prompts = verb_set(seconds, args.limit).lasting(seconds, bounds)
        answers = [done(generate(model, prompts, r, draw, args.out / "cache")) for r in range(args.seeds)]
        shares = [sum(answer) / len(answer) for answer in answers]
        by_prompt = [sum(values) / len(values) for values in zip(*answers, strict=True)]
        card["durations"][f"{seconds:g}"] = {
            "done": plain_interval(shares),
            "prompts": {str(n): share for n, share in zip(prompts.numbers, by_prompt, strict=True)},
        }
    return card


def check_options(args: argparse.Namespace) -> None:
    """ValueError for options that are impossible, or that nothing would look at."""
    if args.seeds < 1 or (args.repeats is not None and args.repeats < 1):
        raise ValueError(f"--seeds is {args.seeds}, --repeats {args.repeats}; at least one repeat is needed.")
    has_model = args.weights is not None or args.checkpoint is not None
    if args.score_2d is not None and not has_model:
        raise ValueError("--score-2d compares generated motion; name a model with --weights or --checkpoint.")
    if not has_model and not (args.steps is None and args.guidance is None):
        raise ValueError("--steps and --guidance change how a model samples; name it with --weights or --checkpoint.")
    if args.checkpoint is None and (args.exp is not None or args.set):
        raise ValueError(
            "--exp and --set say what a --checkpoint was trained as; a released model knows. Leave them out."
        )
    if args.score_2d is None and args.repeats is not None:
        raise ValueError("--repeats counts the passes of --score-2d; give that too, or --seeds for the other scores.")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Scores what `args` ask for; writes and returns the card."""
    from hmr4d.utils.devices import pick_device

    check_options(args)
    store = MotionStore.open(args.store)
    model = None
    if args.weights is not None:
        model = load_model(args.weights, pick_device(args.device))
    elif args.checkpoint is not None:
        model = load_checkpoint(args.checkpoint, args.exp, args.set, pick_device(args.device))
    compared = None
    if args.score_2d is not None and model is not None:
        comparison = Comparison2D(
            Path(args.score_2d[0]), args.score_2d[1], args.split, args.repeats or REPEATS_2D, args.limit
        )
        compared = open_comparison(model, comparison)
    bounds = DEFAULT_RANGE if model is None else (model.sampler.min_seconds, model.sampler.max_seconds)
    sets = prompt_sets(args, store, bounds)
    folder = args.classifier or Path("outputs/content_classifier") / store.name
    classifier, judge = obtain_classifier(folder, store, training_for(store))
    measure = yardsticks(args, store, classifier)
    draw = Draw(args.seeds, args.steps, args.guidance)
    card: dict[str, Any] = {
        "command": shlex.join(["hmr4d", "quality", *args.command_line]),
        "model": None if model is None else model.facts,
        "seeds": args.seeds,
        "steps": model.steps if model is not None and args.steps is None else args.steps,
        "guidance": model.guidance if model is not None and args.guidance is None else args.guidance,
        "seconds": list(bounds),
        "store": store.name,
        "split": args.split,
        "fps": classifier.fps,
        "near_train_metres": None if measure.nearest is None else measure.near,
        "classifier": {"sha256": file_hash(folder / WEIGHTS_NAME), **{k: judge[k] for k in CLASSIFIER_ENTRIES}},
        "sets": score_sets(args, store, model, measure, draw, sets),
        "verbs": None,
        "scores_2d": None,
    }
    if compared is not None and model is not None:
        card["scores_2d"] = score_in_2d(model, *compared, draw, args.out / "cache")
    if VERBS in (args.prompts or ()):
        card["verbs"] = score_verbs(args, store, model, draw)
    write_json(args.out / "quality.json", card)
    write_text(args.out / "quality.md", markdown(card))
    return card


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the card was written, 2 after one sentence about bad input."""
    setup_logging()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)
    args.command_line = words

    def work() -> int:
        sys.stdout.write(markdown(run(args)))
        logger.info("Written: %s and quality.md in the same folder.", args.out / "quality.json")
        return 0

    return run_guarded(work)
