"""`hmr4d study`: tests whether 2D motion helps to generate contents that the 3D stage is not trained on.

hmr4d study                                                  # the whole study
hmr4d study holdout=[h1_mirror] output_dir=outputs/mirror    # other contents
hmr4d study seeds=[3,4,5] output_dir=outputs/more_seeds
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.engine.compose import compose_config, save_config
from hmr4d.evaluation.study.plan import held_out
from hmr4d.evaluation.study.report import draw_chart, markdown
from hmr4d.evaluation.study.runs import open_store, prompts_of, train_and_sample
from hmr4d.evaluation.study.scores import score
from hmr4d.utils.files import write_json, write_text

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d study",
        description="Trains the arms of the study in configs/study.yaml, generates motion with each and scores it "
        "together with real motion, on contents of the 3D stage and on held-out contents.",
        epilog="Repeat the command to continue an interrupted study; finished parts are not repeated. See "
        "docs/results_study.md.",
    )
    known.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/study.yaml")
    known.add_argument("--score-only", action="store_true", help="no training: score the trained arms")
    return known


def run(cfg: DictConfig, *, command: str, score_only: bool = False) -> dict[str, Any]:
    """Trains, samples and scores the configured arms; writes and returns the card."""
    groups = held_out(cfg)
    store = open_store(cfg)
    prompts = prompts_of(cfg, store, groups)
    out = Path(cfg.output_dir)
    save_config(cfg, out)
    if not score_only:
        train_and_sample(cfg, prompts)
    card = {"command": command, **score(cfg, store, prompts)}
    write_json(out / "study.json", card)
    write_text(out / "study.md", markdown(card))
    draw_chart(card, out / "study.png")
    return card


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the card was written, 2 after one sentence about bad input."""
    setup_logging()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)
    command = shlex.join(["hmr4d", "study", *words])

    def work() -> int:
        cfg = compose_config(args.overrides, root="study")
        sys.stdout.write(markdown(run(cfg, command=command, score_only=args.score_only)))
        logger.info("Written: %s, and study.md and study.png in the same folder.", Path(cfg.output_dir) / "study.json")
        return 0

    return run_guarded(work)
