"""`tools/study.py`: does 2D motion of contents that the 3D stage never sees help with them?

python tools/study.py                                   # the whole study; the same command continues a stopped one
python tools/study.py holdout=[h1_mirror] output_dir=outputs/study_mirror
python tools/study.py seeds=[3,4,5] steps.pretrain=4000
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from hydra.errors import HydraException

from hmr4d.cli.compose import compose_config, save_config
from hmr4d.cli.console import fail, setup_logging
from hmr4d.cli.study_plan import held_out
from hmr4d.cli.study_runs import open_store, prompts_of, train_and_sample

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(prog="study.py", description="x")
    known.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/study.yaml")
    return known


def run(cfg: DictConfig) -> None:
    """Trains, samples and scores what the configuration asks for."""
    save_config(cfg, cfg.output_dir)
    store = open_store(cfg)
    prompts = prompts_of(cfg, store, held_out(cfg))
    train_and_sample(cfg, prompts)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the card was written, 2 after one sentence about bad input."""
    setup_logging()
    args = parser().parse_args(argv)
    try:
        run(compose_config(args.overrides, root="study"))
    except (ValueError, TypeError, OSError, ImportError, OmegaConfBaseException, HydraException) as error:
        return fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. The same command continues from here.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
