"""`tools/train.py`: trains, generates or scores, whatever the composed configuration says."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hmr4d.cli.console import fail
from hmr4d.engine.compose import CONFIG_FOLDER
from hmr4d.engine.published_names import PublishedNameError, translate_overrides
from hmr4d.engine.run import run

BAD_INPUT = (ValueError, OSError, TypeError, FloatingPointError)  # what a user can mend; the rest shows its traceback


def give_job_its_folder(cfg: DictConfig) -> None:
    """In a sweep (--multirun), every job writes into the folder that Hydra made for it, unless output_dir is given."""
    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode == RunMode.MULTIRUN and not any(w.startswith("output_dir=") for w in hydra_cfg.overrides.task):
        cfg.output_dir = hydra_cfg.runtime.output_dir


def job(cfg: DictConfig) -> Any:
    """`run` under Hydra: bad input ends in one sentence on stderr and exit status 2, not in a traceback."""
    try:
        give_job_its_folder(cfg)
        return run(cfg, HydraConfig.get().overrides.task)
    except (InstantiationException, OmegaConfBaseException, *BAD_INPUT) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not isinstance(cause, (OmegaConfBaseException, *BAD_INPUT)):
            raise
        sys.exit(fail(cause))


def main() -> None:
    """Entry point; overrides come from the command line, in our names or in the published ones."""
    try:
        sys.argv[1:] = translate_overrides(sys.argv[1:])
    except PublishedNameError as error:
        sys.exit(fail(error))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)  # advertising
    hydra.main(config_path=str(CONFIG_FOLDER), config_name="train", version_base="1.3")(job)()


if __name__ == "__main__":
    sys.exit(main())
