"""`tools/quality.py`: how good generated motion is, beside real motion measured the same way.

python tools/quality.py                                            # real motion only
python tools/quality.py --weights motion2to3-bandai --seeds 3
python tools/quality.py --checkpoint outputs/bandai_namco/motion2to3_finetune_mv/checkpoints/last.ckpt
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml
from torch import Tensor

from hmr4d.body.motion import MotionOutput
from hmr4d.cli.console import fail, setup_logging, stopped
from hmr4d.cli.places import inputs_folder
from hmr4d.cli.quality_report import markdown
from hmr4d.data.randomness import mix_seed
from hmr4d.data.store import MotionStore
from hmr4d.metrics.content_classifier import (
    CARD_NAME,
    SYNONYMS,
    WEIGHTS_NAME,
    ClassifierTraining,
    ContentClassifier,
    LabelledMotion,
    accuracy,
    confusions,
    labelled_motion,
    load_classifier,
    save_classifier,
    train_classifier,
    training_facts,
)
from hmr4d.metrics.motion_quality import only, over_repeats, score_motion
from hmr4d.utils.files import atomic_path, file_hash, write_json, write_text
from hmr4d.utils.progress import progress
from hmr4d.utils.text_files import read_yaml

logger = logging.getLogger(__name__)

PROMPT_SETS = ("captions", "paraphrases")
PROMPTS_PER_PART = 64  # prompts whose motions share a file of the cache; an interrupted run loses at most these
DEFAULT_RANGE = (1.2, 9.8)  # seconds; of the real clips when no model says what it makes


class Sampler(Protocol):
    """What is scored: a pipeline, or anything that draws like one."""

    min_seconds: float
    max_seconds: float
    fps: float

    def sample(
        self, texts: Sequence[str], *, seconds: Sequence[float], seed: Sequence[int],
        num_inference_steps: int | None, guidance_scale: float | None,
    ) -> MotionOutput: ...  # fmt: skip


@dataclass(frozen=True)
class PromptSet:
    """What is asked for.

    Attributes:
        name: of the set.
        prompts: wordings of each item; repeat r takes wording r modulo their number.
        contents: what each item shall show.
        seconds: duration of each item.
        numbers: of each item in the whole set; its noise depends on it and on the seed.
    """

    name: str
    prompts: list[list[str]]
    contents: list[str]
    seconds: list[float]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.contents)


@dataclass(frozen=True)
class Draw:
    """How motion is drawn: seeds 0 .. `seeds` - 1, and what replaces the model's own options."""

    seeds: int
    steps: int | None
    guidance: float | None


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        sampler: draws motion.
        facts: what the card says about it.
        identity: everything that decides its motion.
        steps: its own number of diffusion steps.
        guidance: its own guidance scale.
    """

    sampler: Sampler
    facts: dict[str, Any]
    identity: dict[str, Any]
    steps: int | None = None
    guidance: float | None = None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="quality.py",
        description="Scores generated motion beside real motion: what it shows, by a classifier trained on real "
        "joints, and how it moves. Without --weights and --checkpoint only real motion is scored.",
        epilog="An interrupted run continues where it stopped; motions are kept in OUT/cache. See docs/results.md.",
    )
    source = known.add_mutually_exclusive_group()
    source.add_argument("--weights", metavar="NAME", help="released model: name or folder")
    source.add_argument("--checkpoint", type=Path, metavar="FILE", help="checkpoint of a training run, finished or not")
    known.add_argument("--exp", help="experiment of the checkpoint; None: the config.yaml of its run")
    known.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides of --exp")
    known.add_argument("--store", type=Path, default=inputs_folder() / "bandai_namco", help="prepared real motion")
    known.add_argument("--split", default="test", help="clips to compare with (test)")
    known.add_argument("--out", type=Path, default=Path("outputs/quality"), help="folder of card, table and cache")
    known.add_argument(
        "--classifier", type=Path, default=Path("outputs/content_classifier"), help="trained if not there"
    )
    known.add_argument(
        "--prompts", nargs="+", default=list(PROMPT_SETS), metavar="SET",
        help="captions (of the split), paraphrases (held out), or a YAML file: content -> list of prompts (first two)",
    )  # fmt: skip
    known.add_argument("--seeds", type=int, default=3, metavar="N", help="repeats, with seeds 0 to N-1 (3)")
    known.add_argument("--steps", type=int, metavar="N", help="diffusion steps instead of the model's own")
    known.add_argument("--guidance", type=float, metavar="S", help="guidance scale instead of the model's own")
    known.add_argument("--limit", type=int, metavar="N", help="only N items of each set, evenly spread over it")
    known.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    return known


# --- what is compared -------------------------------------------------------------------------------------------------


def spread(count: int, limit: int | None) -> list[int]:
    """At most `limit` of `count` items, evenly spread."""
    if limit is None or limit >= count:
        return list(range(count))
    if limit < 1:
        raise ValueError(f"--limit is {limit}; give 1 or more, or leave it out.")
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()


def caption_set(store: MotionStore, split: str, seconds_range: tuple[float, float], limit: int | None) -> PromptSet:
    """The captions of a split, each with the duration of its clip, clamped to the range."""
    clips = store.indices(split)
    numbers = spread(len(clips), limit)
    chosen = clips[numbers].tolist()
    return PromptSet(
        "captions",
        prompts=[[store.caption_texts[c.caption] for c in store.clip_captions(clip)] for clip in chosen],
        contents=[store.labels["content"][clip] for clip in chosen],
        seconds=[clamp(float(store.lengths[clip]) / store.fps, seconds_range) for clip in chosen],
        numbers=numbers,
    )


def free_set(
    name: str, prompts: Mapping[str, Sequence[str]], store: MotionStore, seconds_range: tuple[float, float],
    limit: int | None,
) -> PromptSet:  # fmt: skip
    """Prompts by content, each with the median duration of the content's clips in the store, clamped to the range.

    Raises:
        ValueError: the store has no clip of a content.
    """
    labels = np.array(store.labels["content"])
    unknown = sorted(set(prompts) - set(labels.tolist()))
    if unknown:
        raise ValueError(f"Prompts '{name}' name contents that store '{store.name}' does not have: {unknown}.")
    pairs = [(content, prompt) for content, wordings in prompts.items() for prompt in wordings]
    numbers = spread(len(pairs), limit)
    typical = {c: clamp(float(np.median(store.lengths[labels == c])) / store.fps, seconds_range) for c in prompts}
    chosen = [pairs[n] for n in numbers]
    return PromptSet(
        name, [[prompt] for _, prompt in chosen], [c for c, _ in chosen], [typical[c] for c, _ in chosen], numbers
    )


def read_prompts(path: Path) -> dict[str, list[str]]:
    """content -> prompts of a YAML file; ValueError or FileNotFoundError when it is not that."""
    if not path.is_file():
        raise FileNotFoundError(f"Prompts {path} not found. Give {', '.join(PROMPT_SETS)} or a YAML file.")
    found = read_yaml(path)
    if not isinstance(found, dict) or not all(
        isinstance(v, list) and all(isinstance(p, str) for p in v) for v in found.values()
    ):
        raise ValueError(f"{path} must map each content to a list of prompts, such as 'walk: [a stroll in the park]'.")
    return found


def clamp(value: float, bounds: tuple[float, float]) -> float:
    """`value`, moved into the bounds."""
    return min(max(value, bounds[0]), bounds[1])


def real_motion(store: MotionStore, split: str, prompts: PromptSet) -> LabelledMotion:
    """The clips behind the captions of a split, cut to the durations that are asked for."""
    clips = store.indices(split)[prompts.numbers].tolist()
    frames = [round(seconds * store.fps) for seconds in prompts.seconds]
    joints = [torch.tensor(store.joints3d(clip)[:n]) for clip, n in zip(clips, frames, strict=True)]
    return LabelledMotion(joints, prompts.contents, store.fps)


# --- the judge --------------------------------------------------------------------------------------------------------


def obtain_classifier(
    folder: Path, store: MotionStore, options: ClassifierTraining
) -> tuple[ContentClassifier, dict[str, Any]]:
    """The saved classifier, or a new one where there is none or it was trained on other data, and its card."""
    facts = training_facts(store, options)
    if (folder / CARD_NAME).is_file() and (folder / WEIGHTS_NAME).is_file():
        classifier, card = load_classifier(folder)
        if all(card.get(key) == value for key, value in json.loads(json.dumps(facts)).items()):
            return classifier, card
        logger.info("The classifier in %s was trained on other data or in another way; training it again.", folder)
    logger.info("Training the content classifier on real joints of %s.", store.name)
    val, test = (labelled_motion(store, split) for split in ("val", "test"))
    classifier = train_classifier(labelled_motion(store, "train"), val, options=options)
    predicted = classifier.predict(test)
    facts |= {
        "val_accuracy": accuracy(classifier.predict(val), val.labels),
        "test_accuracy": accuracy(predicted, test.labels),
        "test_accuracy_synonyms": accuracy(predicted, test.labels, SYNONYMS),
        "test_confusions": confusions(predicted, test.labels),
        "num_test": len(test),
    }
    save_classifier(classifier, folder, facts)
    logger.info("Content classifier: accuracy %.4f on %d real test clips.", facts["test_accuracy"], len(test))
    return load_classifier(folder)


# --- the model --------------------------------------------------------------------------------------------------------


def load_released(name: str, device: torch.device) -> Model:
    """A released model by name or folder."""
    from hmr4d import load_pipeline
    from hmr4d.utils.releases import CONFIG_NAME, find_release
    from hmr4d.utils.weights import WEIGHTS_NAME as RELEASE_WEIGHTS

    folder = find_release(name)
    facts = {"name": name, "file": RELEASE_WEIGHTS, "sha256": file_hash(folder / RELEASE_WEIGHTS)}
    pipeline = load_pipeline(folder, device=str(device))
    identity = facts | {"config": file_hash(folder / CONFIG_NAME)}
    own = pipeline.sampling
    return Model(pipeline, facts, identity, own.num_inference_steps, own.guidance_scale)


def load_checkpoint(path: Path, exp: str | None, overrides: Sequence[str], device: torch.device) -> Model:
    """A checkpoint of a training run, read from a copy, so that a run that is still going may replace it.

    Raises:
        FileNotFoundError: the checkpoint, or the configuration of its run, is missing.
        ValueError: the configuration asks for something that is not built from a file; see `check_targets`.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from hmr4d.cli.compose import check_targets, compose_config
    from hmr4d.models.motion2to3.checkpoints import load_weights
    from hmr4d.nn.text import build_text_encoder

    if not path.is_file():
        raise FileNotFoundError(f"Checkpoint not found: {path}. Give a .ckpt file of a training run.")
    config = path.parent.parent / "config.yaml"
    if exp is not None:
        cfg = compose_config([f"exp={exp}", *overrides])
    elif config.is_file():
        cfg = OmegaConf.merge(OmegaConf.load(config), OmegaConf.from_dotlist(list(overrides)))
        check_targets(cfg.pipeline)
    else:
        raise FileNotFoundError(f"{config} not found. Name the experiment of {path} with --exp.")
    encoder = build_text_encoder(cfg.text.name, folder=cfg.text.folder, dim=cfg.text.dim)
    pipeline = instantiate(cfg.pipeline, text_encoder=encoder, _convert_="all")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        load_weights(pipeline, copy)
        step = torch.load(copy, map_location="cpu", weights_only=True).get("global_step")
        facts = {"name": f"{path.parent.parent.name}/{path.name}", "step": step, "sha256": file_hash(copy)}
    identity = facts | {"pipeline": OmegaConf.to_container(cfg.pipeline, resolve=True)}
    own = pipeline.sampling
    return Model(pipeline.eval().to(device), facts, identity, own.num_inference_steps, own.guidance_scale)


# --- generation -------------------------------------------------------------------------------------------------------


def generate(model: Model, prompts: PromptSet, repeat: int, draw: Draw, cache: Path) -> LabelledMotion:
    """The motions of one repeat in the order of the set, taken from the cache where it has them.

    The cache holds files of `PROMPTS_PER_PART` motions, named by a hash of all that decides them.
    """
    order = sorted(range(len(prompts)), key=lambda i: (prompts.seconds[i], i))
    parts = [order[start : start + PROMPTS_PER_PART] for start in range(0, len(order), PROMPTS_PER_PART)]
    motions: dict[int, Tensor] = {}
    for part in progress(parts, f"{prompts.name}, seed {repeat}", unit="part"):
        wordings = [prompts.prompts[i] for i in part]
        request: dict[str, Any] = {
            "texts": [words[repeat % len(words)] for words in wordings],
            "seconds": [prompts.seconds[i] for i in part],
            "seed": [mix_seed(repeat, prompts.numbers[i]) for i in part],
            "num_inference_steps": draw.steps,
            "guidance_scale": draw.guidance,
        }
        identity = json.dumps([model.identity, request], sort_keys=True)
        key = hashlib.sha256(identity.encode()).hexdigest()[:20]
        path = cache / f"{prompts.name}_seed{repeat}_{key}.npz"
        if not path.is_file():
            write_motions(path, model.sampler.sample(**request))
        motions |= dict(zip(part, read_motions(path), strict=True))
    clips = [motions[i] for i in range(len(prompts))]
    return LabelledMotion(clips, prompts.contents, model.sampler.fps)


def write_motions(path: Path, output: MotionOutput) -> None:
    """Writes the motions of a batch end to end; the file is whole or absent.

    Raises:
        ValueError: a number is not finite.
    """
    clips = [output.motion(i).cpu() for i in range(len(output))]
    joints3d = torch.cat(clips).numpy().astype(np.float32)
    if not np.isfinite(joints3d).all():
        raise ValueError("The model made motion that is not finite; its weights are damaged or its training diverged.")
    with atomic_path(path) as temporary:
        np.savez(temporary, joints3d=joints3d, lengths=np.array([len(c) for c in clips]))


def read_motions(path: Path) -> list[Tensor]:
    """Motions (L, J, 3) of a file of the cache."""
    with np.load(path, allow_pickle=False) as arrays:
        return list(torch.from_numpy(arrays["joints3d"]).split(arrays["lengths"].tolist()))


# --- the run ----------------------------------------------------------------------------------------------------------


def score_set(
    classifier: ContentClassifier, repeats: Sequence[LabelledMotion], real: LabelledMotion | None, split: set[str]
) -> dict[str, Any]:
    """Summary of one set of prompts: generated repeats, real motion, and what was taken for what.

    Args:
        classifier: the judge.
        repeats: generated motion, once per seed; may be empty.
        real: the clips behind the prompts, if there are any.
        split: contents of the split. Where the prompts have others too, these are also summarised without them.
    """
    card: dict[str, Any] = {}
    for name, motions in (("real", [] if real is None else [real]), ("generated", list(repeats))):
        if not motions:
            continue
        scores = [score_motion(classifier, motion) for motion in motions]
        wanted = [label for s in scores for label in s.wanted]
        predicted = [label for s in scores for label in s.predicted]
        card[name] = over_repeats(scores) | {"confusions": confusions(predicted, wanted)}
        if split & set(wanted) and not set(wanted) <= split:
            common = over_repeats([only(s, split) for s in scores])
            card[name]["contents_of_split"] = {k: common[k] for k in ("num_motions", "all")}
    return card


def prompt_sets(args: argparse.Namespace, store: MotionStore, seconds_range: tuple[float, float]) -> list[PromptSet]:
    """The sets that `args` ask for."""
    sets = []
    for name in args.prompts:
        if name == "captions":
            sets.append(caption_set(store, args.split, seconds_range, args.limit))
            continue
        if name == "paraphrases":
            resource = resources.files("hmr4d.data") / "resources" / "bandai_namco_paraphrases.yaml"
            prompts = yaml.safe_load(resource.read_text(encoding="utf-8"))
            absent = sorted(set(prompts) - set(store.labels["content"]))
            if absent:
                logger.info("Paraphrases of contents that %s does not have are left out: %s.", store.name, absent)
            prompts = {content: wordings for content, wordings in prompts.items() if content not in absent}
        else:
            prompts = read_prompts(Path(name))
        sets.append(free_set(Path(name).stem, prompts, store, seconds_range, args.limit))
    return sets


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Scores what `args` ask for; writes and returns the card."""
    from hmr4d.utils.devices import pick_device

    if args.seeds < 1:
        raise ValueError(f"--seeds is {args.seeds}; at least one repeat is needed.")
    store = MotionStore.open(args.store)
    model = None
    if args.weights is not None:
        model = load_released(args.weights, pick_device(args.device))
    elif args.checkpoint is not None:
        model = load_checkpoint(args.checkpoint, args.exp, args.set, pick_device(args.device))
    bounds = DEFAULT_RANGE if model is None else (model.sampler.min_seconds, model.sampler.max_seconds)
    sets = prompt_sets(args, store, bounds)
    classifier, judge = obtain_classifier(args.classifier, store, ClassifierTraining())
    draw = Draw(args.seeds, args.steps, args.guidance)
    card: dict[str, Any] = {
        "command": shlex.join(["python", "tools/quality.py", *args.command_line]),
        "model": None if model is None else model.facts,
        "seeds": args.seeds,
        "steps": model.steps if model is not None and args.steps is None else args.steps,
        "guidance": model.guidance if model is not None and args.guidance is None else args.guidance,
        "seconds": list(bounds),
        "store": store.name,
        "split": args.split,
        "fps": classifier.fps,
        "classifier": {
            "sha256": file_hash(args.classifier / WEIGHTS_NAME),
            **{k: judge[k] for k in ("val_accuracy", "test_accuracy", "test_accuracy_synonyms", "test_confusions")},
        },
        "sets": {},
    }
    in_split = {store.labels["content"][clip] for clip in store.indices(args.split).tolist()}
    for prompts in sets:
        repeats = []
        if model is not None:
            repeats = [generate(model, prompts, r, draw, args.out / "cache") for r in range(args.seeds)]
        real = real_motion(store, args.split, prompts) if prompts.name == "captions" else None
        if repeats or real is not None:
            card["sets"][prompts.name] = score_set(classifier, repeats, real, in_split)
    write_json(args.out / "quality.json", card)
    write_text(args.out / "quality.md", markdown(card))
    return card


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the card was written, 2 after one sentence about bad input."""
    setup_logging()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)
    args.command_line = words
    try:
        card = run(args)
    except (ValueError, TypeError, OSError, ImportError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return stopped()
    sys.stdout.write(markdown(card))
    logger.info("Written: %s and quality.md beside it.", args.out / "quality.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
