"""Motions from all input files of commands: motion files of hmr4d, and files of human mesh recovery systems."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hmr4d.cli.reference_options import tell_remarks
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.motion.motion import Motion

MOTION_ENDING = ".npz"
FOREIGN_ENDINGS = (
    ".pt",
    ".pkl",
    ".npy",
    ".joblib",
)  # files of human mesh recovery systems; their .npz files are read, too


def read_motion_source(path: Path) -> Motion:
    """The motion of a file; a motion of another system is placed on the floor, with warnings about unusual values.

    Raises:
        FileNotFoundError, ValueError: missing, damaged, or no motion; the message names the file.
    """
    from hmr4d.export.motion_npz import is_motion_file
    from hmr4d.reference_motion.adapters import read_clip
    from hmr4d.reference_motion.placing import placed

    if path.suffix.lower() == MOTION_ENDING and (not path.is_file() or is_motion_file(path) or not _is_foreign(path)):
        return load_motion_npz(path)
    try:
        clip = read_clip(path)
    except ValueError as error:
        raise ValueError(_with_command(str(error))) from error
    tell_remarks(path, replace(clip, remarks=tuple(map(_with_command, clip.remarks))))
    return placed(clip).motion


def _with_command(words: str) -> str:
    """Words of a reader; options in them are explained, since the commands that read here do not have them."""
    return f"{words} (Options of hmr4d reference convert, which writes a motion file.)" if " --" in words else words


def _is_foreign(path: Path) -> bool:
    """Whether an adapter can read an .npz file; the reader of motion files handles all others."""
    from hmr4d.reference_motion.adapters import ADAPTERS
    from hmr4d.utils.foreign_files import read_tree

    try:
        content = read_tree(path)
    except ValueError:
        return False
    return any(adapter.matches(content) for adapter in ADAPTERS)
