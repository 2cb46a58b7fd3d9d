"""`hmr4d evaluator-card`: scores of an evaluator on real motion, and on corrupted real motion."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.evaluation.evaluator_card import score_evaluator, score_evaluator_on_features
from hmr4d.utils.places import inputs_folder

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d evaluator-card", description="Scores real motion, and real motion corrupted in known ways."
    )
    known.add_argument("--evaluator", default="evaluator-bandai", help="name or folder")
    known.add_argument("--store", default=str(inputs_folder() / "bandai_namco"), metavar="DIR", help="motion store")
    known.add_argument(
        "--features",
        metavar="DIR",
        help="folder in HumanML3D layout instead of a store: scores of its real motion with the published items",
    )
    known.add_argument("--split", default="test")
    known.add_argument("--repeats", type=int, default=20, help="repeats of real motion with new captions and crops")
    known.add_argument("--corrupted-repeats", type=int, default=5, help="of corrupted motion")
    known.add_argument("--seed", type=int, default=0)
    known.add_argument("--out", metavar="DIR", required=True, help="folder of card.json and card.md")
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    setup_logging()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)

    def run() -> int:
        command = shlex.join(["hmr4d", "evaluator-card", *words])
        options: dict[str, Any] = {"repeats": args.repeats, "seed": args.seed, "command": command}
        if args.features is not None:
            card = score_evaluator_on_features(args.evaluator, args.features, args.split, **options)
        else:
            options["corrupted_repeats"] = args.corrupted_repeats
            card = score_evaluator(args.evaluator, args.store, args.split, **options)
        logger.info("%s\nWritten: %s.", card.table(), card.write(args.out))
        return 0

    return run_guarded(run, kept="nothing was written")
