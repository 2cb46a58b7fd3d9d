"""`hmr4d reference <command>`: what systems that recover people from video write, to gated reference motions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hmr4d.cli import (
    reference_check,
    reference_eval,
    reference_exporter,
    reference_files,
    reference_gate,
    reference_render,
    reference_run,
)
from hmr4d.cli.console import run_guarded, setup_logging

PARTS = (
    reference_run,
    reference_files,
    reference_check,
    reference_render,
    reference_gate,
    reference_eval,
    reference_exporter,
)


def parser() -> argparse.ArgumentParser:
    """The command line of all commands."""
    known = argparse.ArgumentParser(
        prog="hmr4d reference",
        description="Motions that SMPLest-X, GVHMR, WHAM, 4D-Humans, TRAM, CameraHMR, PromptHMR or AMASS wrote, as "
        "conditions for generators. More: docs/reference_motion.md.",
        epilog='Example: hmr4d reference run hmr4d_results.pt --prompt "a person bows" --out outputs/bow',
    )
    commands = known.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for part in PARTS:
        part.add_commands(commands)
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 if everything was done, 1 if files were skipped, 2 for bad options or no good file."""
    setup_logging()
    args = parser().parse_args(argv)
    return run_guarded(lambda: args.work(args), kept="finished files are kept")
