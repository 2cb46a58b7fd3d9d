"""`hmr4d reference install-exporter`: SMPLest-X writes files that the other commands read."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Adds this command to `hmr4d reference`."""
    known = commands.add_parser("install-exporter", help="make SMPLest-X write files that are read here")
    known.add_argument("folder", type=Path, metavar="DIR", help="folder of SMPLest-X")
    known.add_argument("--uninstall", action="store_true", help="restore the original files")
    known.set_defaults(work=run)


def run(args: argparse.Namespace) -> int:
    """Installs or removes the scripts."""
    from hmr4d.reference_motion.exporter import install, uninstall

    if args.uninstall:
        changed = uninstall(args.folder)
        if not changed:
            raise FileNotFoundError(f"{args.folder} contains none of our scripts. Nothing was changed.")
        for path in changed:
            logger.info("%s: %s", path, "as it was" if path.exists() else "removed")
        return 0
    for path in install(args.folder):
        logger.info("%s", path)
    logger.info("In that folder: sh scripts/inference.sh smplest_x_h clip.mp4")
    return 0
