"""`hmr4d convert-body-model`: licensed `.pkl` body models to `.npz`, without chumpy."""

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
        prog="hmr4d convert-body-model",
        description="Converts SMPL, SMPL+H and SMPL-X models from .pkl to .npz. chumpy is not needed, and no code in "
        "the files is executed.",
        epilog="Example: hmr4d convert-body-model basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl "
        "--out inputs/checkpoints/body_models/smpl/SMPL_NEUTRAL.npz",
    )
    known.add_argument("models", nargs="+", type=Path, metavar="PKL", help="files from the download")
    known.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write, for one model (default: same name with .npz)"
    )
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when everything was converted, 2 after one sentence about the first file that could not be."""
    setup_logging()
    args = parser().parse_args(argv)

    def run() -> int:
        from hmr4d.body.model_conversion import convert_model
        from hmr4d.body.smpl_files import FAMILIES

        if args.out is not None and len(args.models) > 1:
            raise ValueError(f"--out names one file for {len(args.models)} models. Convert them one by one.")
        for model in args.models:
            done = convert_model(model, args.out)
            logger.info(
                "%s: %s, %d vertices, %d shape coefficients.",
                done.path,
                FAMILIES[done.family].title,
                done.num_vertices,
                done.num_betas,
            )
            if done.left_out:
                logger.info("    Skipped, because they are not numeric arrays: %s.", ", ".join(done.left_out))
        return 0

    return run_guarded(run, kept="finished files are kept next to their models")
