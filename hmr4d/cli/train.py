"""`hmr4d train`: trains, generates or scores, as the composed configuration defines.

All options are checked before the trainer is imported, so an invalid option fails within half a second.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmr4d.cli.console import run_guarded
from hmr4d.methods.defaults import FIRST_STAGE, SECOND_STAGE

EXAMPLES = (
    ("stage 1 on the motion that ships", f"exp={FIRST_STAGE} data=cmu"),
    ("stage 2, from a checkpoint", f"exp={SECOND_STAGE} data=cmu ckpt_path=outputs/.../last.ckpt"),
    ("other settings", f"exp={SECOND_STAGE} network=medium trainer.max_steps=2000 optimizer.lr=5e-4"),
    ("scores of a released model", f"exp={SECOND_STAGE} global/task=text2motion/test limit=64"),
    ("print the configuration, run nothing", f"exp={SECOND_STAGE} --cfg job --resolve"),
)


def parser() -> argparse.ArgumentParser:
    """The command line; the options are those of Hydra that make sense here."""
    known = argparse.ArgumentParser(
        prog="hmr4d train",
        usage="hmr4d train exp=NAME [global/task=NAME] [KEY=VALUE ...] [OPTIONS]",
        description="Trains an experiment, or runs another task with it: generate, score. A group selects a file\n"
        "(network=medium), a dotted name sets a number (optimizer.lr=1e-4). More: docs/configuration.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="the experiment, and changes to it")
    known.add_argument("--cfg", "-c", choices=("job", "hydra", "all"), help="print the configuration, run nothing")
    known.add_argument("--resolve", action="store_true", help="with --cfg: resolve references")
    known.add_argument("--package", "-p", metavar="NAME", help="with --cfg: only this part")
    known.add_argument("--multirun", "-m", action="store_true", help="run once for each of several values: seed=1,2")
    known.add_argument("--config-dir", "-cd", type=Path, metavar="DIR", help="a folder with configurations of your own")
    known.add_argument("--info", "-i", nargs="?", const="all", metavar="WHAT", help="how the configuration came about")
    return known


def choices_help() -> str:
    """Examples, experiments and tasks, for the end of the help."""
    from hmr4d.engine.choices import described

    lines = ["", "examples:", *(f"  hmr4d train {words}\n      {about}" for about, words in EXAMPLES)]
    for title, group in (
        ("experiments (exp=...)", "exp"),
        ("tasks instead of training (global/task=...)", "global/task"),
    ):
        lines += ["", f"{title}:", *(f"  {name}\n      {about}" for name, about in described(group))]
    return "\n".join(lines)


def check(words: list[str], args: argparse.Namespace) -> None:
    """Composes the configuration; OverrideError for invalid overrides or missing values.

    Args:
        words: overrides in current names.
        args: the options.
    """
    from hydra import initialize_config_dir

    from hmr4d.engine.compose import CONFIG_FOLDER, compose_words
    from hmr4d.engine.overrides import check_output_folder, check_overrides, resolved

    folders = []
    if args.config_dir is not None:
        if not args.config_dir.is_dir():
            raise FileNotFoundError(f"--config-dir {args.config_dir}: no such folder.")
        folders.append(args.config_dir.resolve())
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        check_overrides(words, "train", folders=folders, is_sweep=args.multirun)
        if not args.multirun:
            check_output_folder(resolved(compose_words(words, "train", folders))["output_dir"])


def give_job_its_folder(cfg: Any) -> None:
    """In a sweep (--multirun), every job writes into the folder that Hydra made for it, unless output_dir is given."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode == RunMode.MULTIRUN and not any(w.startswith("output_dir=") for w in hydra_cfg.overrides.task):
        cfg.output_dir = hydra_cfg.runtime.output_dir


def train(words: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    if any(word in ("-h", "--help") for word in words):
        known = parser()
        known.epilog = choices_help()
        known.print_help()
        return 0
    args = parser().parse_intermixed_args(words)
    from hmr4d.engine.published_names import translate_overrides

    check(translate_overrides(args.overrides), args)
    return run_under_hydra(translate_overrides(words))


def run_under_hydra(words: Sequence[str]) -> int:
    """Passes the checked overrides to Hydra through the command line; returns the exit status of the last job."""
    import hydra

    from hmr4d.engine.compose import CONFIG_FOLDER
    from hmr4d.engine.overrides import search_words

    typed, statuses = sys.argv, [0]

    def job(cfg: Any) -> None:
        sys.argv = typed  # Lightning starts further processes of a run with these arguments
        give_job_its_folder(cfg)
        kept = f"resume_training=true continues from the last checkpoint in {cfg.output_dir}, if there is one"
        statuses.append(
            run_guarded(lambda: run_job(cfg, words), out=None if cfg.task == "fit" else cfg.output_dir, kept=kept)
        )
        if statuses[-1]:
            sys.exit(statuses[-1])

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)  # advertising
    sys.argv = [typed[0], *words, *search_words()]
    try:
        hydra.main(config_path=str(CONFIG_FOLDER), config_name="train", version_base="1.3")(job)()
    except SystemExit:
        if not statuses[-1]:  # Hydra's own
            raise
    finally:
        sys.argv = typed
    return statuses[-1]


def run_job(cfg: Any, overrides: Sequence[str]) -> int:
    """Runs one composed configuration; returns the exit status."""
    from hmr4d.engine.run import run

    try:
        run(cfg, overrides)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; overrides may have published names. Returns 2 after an error message about invalid input."""
    words = sys.argv[1:] if argv is None else list(argv)
    return run_guarded(lambda: train(words), kept="nothing was written")
