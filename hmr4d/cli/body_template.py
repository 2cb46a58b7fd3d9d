"""`hmr4d body-template`: the file of the light body, made from the body model `anny`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from hmr4d.cli.console import run_guarded, setup_logging

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d body-template",
        description="Makes the light body that ships with this package from the body model anny (pip install "
        "anny==0.6.2). The first start of anny takes minutes, 1.5 GB of memory and 830 MB in ANNY_CACHE_DIR.",
    )
    known.add_argument("--out", type=Path, metavar="FILE", help="file to write (the one in the package)")
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit status 0 if the file was written, 2 if something is missing."""
    setup_logging()
    args = parser().parse_args(argv)

    def run() -> int:
        from hmr4d.body.anny_body import make_light_body
        from hmr4d.body.light_body import LIGHT_BODY, save_body

        out, body = args.out or LIGHT_BODY, make_light_body()
        save_body(out, body)
        size = out.stat().st_size / 1e3
        logger.info("%s: %d vertices, %d joints, %.0f kB.", out, body.num_vertices, body.num_joints, size)
        return 0

    return run_guarded(run, kept="nothing was written")
