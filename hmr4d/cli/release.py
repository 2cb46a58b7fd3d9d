"""`hmr4d release`: a training run becomes a released model."""

from __future__ import annotations

import argparse
import logging
import platform
from collections.abc import Sequence
from pathlib import Path

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.engine.release import ReleaseRequest, release

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(prog="hmr4d release", description="Packs a training run as a released model.")
    known.add_argument(
        "--run", required=True, type=Path, metavar="DIR", help="output folder of the run, with config.yaml"
    )
    known.add_argument(
        "--parts",
        nargs="+",
        default=[],
        type=Path,
        metavar="DIR",
        help="runs of the other parts, for methods with separately trained parts",
    )
    known.add_argument("--checkpoint", type=Path, metavar="FILE", help="instead of the run's checkpoints/last.ckpt")
    known.add_argument("--out", required=True, type=Path, metavar="DIR", help="such as inputs/checkpoints/hmr4d/<name>")
    known.add_argument(
        "--actions",
        type=Path,
        metavar="DIR",
        help="folder of prepare.py text-adapter; the model lists its known actions",
    )
    known.add_argument("--hardware", default=platform.processor() or platform.machine(), help="for the card")
    known.add_argument("--command", nargs="+", default=[], metavar="CMD", help="the training command(s), for the card")
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    setup_logging()
    args = parser().parse_args(argv)
    request = ReleaseRequest(
        run=args.run,
        parts=args.parts,
        out=args.out,
        checkpoint=args.checkpoint,
        actions=args.actions,
        hardware=args.hardware,
        commands=args.command,
    )

    def run() -> int:
        logger.info("Released: %s.", release(request))
        return 0

    return run_guarded(run, out=args.out)
