"""`hmr4d evaluator-card`: scores of an evaluator on real motion, and on corrupted real motion."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import numpy as np
import torch

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.data.clip_index import IndexRules
from hmr4d.evaluation.cards import GENERATED, GROUND_TRUTH, ResultCard
from hmr4d.evaluation.r_precision_upper_bound import retrieval_ceiling
from hmr4d.evaluation.scoring import StandardProtocol, TextToMotionScorer
from hmr4d.evaluation.text_to_motion_data import Job, RowCuts, ScoredClips
from hmr4d.evaluators.corruptions import CORRUPTIONS, Corruption
from hmr4d.evaluators.evaluator import EvaluatorRecipe, load_evaluator
from hmr4d.metrics.intervals import Value
from hmr4d.motion.motion import Motion
from hmr4d.utils.places import inputs_folder
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import mix_seed

logger = logging.getLogger(__name__)

ANOTHER_CLIP = "another clip"
UNSPOILT = ("fid", "r_precision_top_1", "r_precision_top_2", "r_precision_top_3", "matching_score", "diversity")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d evaluator-card", description="Scores real motion, and real motion corrupted in known ways."
    )
    known.add_argument("--evaluator", default="evaluator-bandai", help="name or folder")
    known.add_argument("--store", default=str(inputs_folder() / "bandai_namco"), metavar="DIR", help="motion store")
    known.add_argument("--split", default="test")
    known.add_argument("--repeats", type=int, default=20, help="repeats of real motion with new captions and crops")
    known.add_argument("--corrupted-repeats", type=int, default=5, help="of corrupted motion")
    known.add_argument("--seed", type=int, default=0)
    known.add_argument("--out", metavar="DIR", required=True, help="folder of card.json and card.md")
    return known


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


def make_card(args: argparse.Namespace, command: str) -> ResultCard:
    """The card of an evaluator."""
    evaluator = load_evaluator(args.evaluator)
    many, few = (
        TextToMotionScorer(
            evaluator,
            StandardProtocol(),
            clips_of(args.store, args.split, evaluator.recipe, repeats=repeats, seed=args.seed),
        )
        for repeats in (args.repeats, args.corrupted_repeats)
    )
    scored = many.score(corrupted(many.clips, CORRUPTIONS["unchanged"]))
    rows: dict[str, dict[str, Value]] = {GROUND_TRUTH: _chosen(scored.rows[GROUND_TRUTH], (*UNSPOILT, "fid_halves"))}
    loaders = {name: corrupted(few.clips, corrupt) for name, corrupt in CORRUPTIONS.items()}
    loaders[ANOTHER_CLIP] = exchanged(few.clips)
    for name, load in progress(list(loaders.items()), "corrupted motion", unit="kind"):
        rows[name] = _chosen(few.score(load).rows[GENERATED], UNSPOILT)
    ceilings = retrieval_ceiling(many.clips)
    notes = [*scored.notes, *(f"Best possible R@1, 2, 3 {known}: {_shares(top)}." for known, top in ceilings.items())]
    return ResultCard(
        rows=rows,
        set_name=f"{many.clips.store.name}/{args.split}",
        set_size=scored.set_size,
        seed=args.seed,
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


def _chosen(row: object, names: Sequence[str]) -> dict[str, Value]:
    assert isinstance(row, dict)
    return {name: row[name] for name in names}


def _shares(top: Sequence[float]) -> str:
    return ", ".join(f"{share:.3f}" for share in top)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    setup_logging()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)

    def run() -> int:
        card = make_card(args, shlex.join(["hmr4d", "evaluator-card", *words]))
        logger.info("%s\nWritten: %s.", card.table(), card.write(args.out))
        return 0

    return run_guarded(run, kept="nothing was written")
