"""`download`: fetches the files of others that evaluation with the published networks needs.

hmr4d download glove t2m-evaluators
hmr4d download glove --mirror my_downloads
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.data.download_items import download, known_items
from hmr4d.utils.places import inputs_folder


def build_parser() -> argparse.ArgumentParser:
    """Command line of `download`."""
    items = known_items()
    parser = argparse.ArgumentParser(
        prog="hmr4d download",
        description="Fetch files by name, check and unpack them.",
        epilog="Repeat the command to continue an interrupted download.",
    )
    parser.add_argument(
        "names",
        nargs="+",
        choices=sorted(items),
        metavar="NAME",
        help="; ".join(f"{item.name}: {item.about}" for item in items.values()),
    )
    parser.add_argument(
        "--out", type=Path, default=inputs_folder() / "checkpoints", help="folder of the folders unpacked"
    )
    parser.add_argument("--mirror", type=Path, help="folder that contains the archives; nothing is downloaded")
    parser.add_argument("--url", help="address to download from instead of the known ones; for one NAME")
    parser.add_argument("--verify", type=Path, help="manifest from another machine; downloaded files must match it")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that this program did not make")
    parser.add_argument("--keep", action="store_true", help="keep the archives, in <out>/downloads")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `download`; returns the exit code: 0, or 2 with one sentence on stderr."""
    args = build_parser().parse_args(argv)
    setup_logging()

    def run() -> int:
        items = known_items()
        if len(args.names) > 1 and (args.url or args.verify):
            raise ValueError("--url and --verify are for one NAME. Pass the names one by one.")
        for name in args.names:
            folder = download(
                items[name],
                args.out,
                mirror=args.mirror,
                url=args.url,
                verify=args.verify,
                keep=args.keep,
                overwrite=args.overwrite,
            )
            sys.stdout.write(f"{name}: {folder}\n")
        return 0

    return run_guarded(run)
