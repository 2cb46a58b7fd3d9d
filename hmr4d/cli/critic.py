"""`hmr4d critic`: how natural motions look, by the user's checkpoint of MotionCritic."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.evaluation.critic_scores import CRITIC_FRAMES, CriticScores, critic_scores
from hmr4d.evaluators.motion_critic import load_motion_critic
from hmr4d.reference_motion.motion_sources import gather_motions, read_motion_source
from hmr4d.utils.devices import pick_device
from hmr4d.utils.files import file_hash, write_json
from hmr4d.utils.places import inputs_folder

logger = logging.getLogger(__name__)

CHECKPOINT = Path("checkpoints") / "motion_critic" / "motioncritic_pre.pth"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d critic",
        description="Scores the first 60 frames of each motion by MotionCritic; higher is better. Shorter motions are "
        "excluded and counted; motions without a pose get the rotations that follow their joints.",
        epilog="Example: hmr4d critic outputs/first --out outputs/critic.json",
    )
    known.add_argument("motions", nargs="+", type=Path, metavar="MOTION", help="motion files and folders of them")
    known.add_argument("--checkpoint", type=Path, default=inputs_folder() / CHECKPOINT, help="of the published project")
    known.add_argument(
        "--frame", choices=CRITIC_FRAMES, default="y_up", help="in which the critic is shown the motions (y_up)"
    )
    known.add_argument("--out", type=Path, metavar="FILE", help="JSON file of all scores")
    known.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    return known


def table(result: CriticScores) -> str:
    """The line of a published table, and its sources."""
    means = result.summary()
    numbers = ["–" if means[k] is None else f"{means[k]:.3f}" for k in ("mean", "max", "min", "std")]
    rates = ", ".join(f"{rate:g}" for rate in result.rates) or "–"
    return "\n".join(
        [
            "| mean | max | min | std | motions | left out | fps | frame |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            f"| {' | '.join(numbers)} | {means['scored']} | {len(result.excluded)} | {rates} | {result.frame} |",
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the table was written, 2 after one sentence about bad input."""
    setup_logging()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)

    def work() -> int:
        critic = load_motion_critic(args.checkpoint).to(pick_device(args.device))
        files = gather_motions(args.motions)
        result = critic_scores(critic, {str(path): read_motion_source(path) for path in files}, frame=args.frame)
        for name, reason in result.excluded.items():
            logger.warning("%s is excluded: %s.", name, reason)
        if args.out is not None:
            about = {"command": shlex.join(["hmr4d", "critic", *words]), "checkpoint": file_hash(args.checkpoint)}
            write_json(args.out, {**about, **result.summary(), "scores": dict(result.scores)})
        sys.stdout.write(table(result))
        return 0

    return run_guarded(work)
