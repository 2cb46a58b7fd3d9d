"""Reads motion files of hmr4d and files of human mesh recovery systems, and checks whether they are plausible."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hmr4d.body.joint_checks import axes_doubt, check_size
from hmr4d.body.stance import motion_doubts, points_of_skeleton
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.motion.motion import Motion

if TYPE_CHECKING:
    from hmr4d.reference_motion.clip import ReferenceClip

logger = logging.getLogger(__name__)

MOTION_ENDING = ".npz"
FOREIGN_ENDINGS = (".pt", ".pkl", ".npy", ".joblib")  # of human mesh recovery systems; their .npz files are read, too


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
    log_remarks(path, replace(clip, remarks=tuple(map(_with_command, clip.remarks))))
    return placed(clip).motion


def _with_command(words: str) -> str:
    """Words of a reader; options in them are explained, since the commands that read here do not have them."""
    return f"{words} (Options of hmr4d reference import, which writes a motion file.)" if " --" in words else words


def _is_foreign(path: Path) -> bool:
    """Whether an adapter can read an .npz file; the reader of motion files handles all others."""
    from hmr4d.reference_motion.adapters import ADAPTERS
    from hmr4d.utils.foreign_files import read_tree

    try:
        content = read_tree(path)
    except ValueError:
        return False
    return any(adapter.matches(content) for adapter in ADAPTERS)


def gather_motions(paths: Sequence[Path]) -> list[Path]:
    """Motion files from files and folders.

    Raises:
        FileNotFoundError: paths that do not exist (all are listed), or a folder without motion.
        ValueError: a file of another format.
    """
    if missing := [str(p) for p in paths if not p.exists()]:
        raise FileNotFoundError(f"No such file or folder: {', '.join(missing)}. Check the path.")
    endings = (MOTION_ENDING, *FOREIGN_ENDINGS)
    if others := [str(p) for p in paths if p.is_file() and p.suffix.lower() not in endings]:
        raise ValueError(
            f"{', '.join(others)}: motion files ({MOTION_ENDING}) are read here, and files of HMR systems "
            f"({', '.join(FOREIGN_ENDINGS)}). docs/motion_format.md shows how to make "
            "them of BVH, CSV and arrays of your own."
        )
    files: list[Path] = []
    for path in paths:
        motions = [path]
        if path.is_dir():
            motions = sorted(p for p in path.glob("[!.]*.npz") if not p.name.endswith(".amass.npz"))
        if not motions:
            raise FileNotFoundError(f"No motion in {path}: it contains no .npz file. Generation writes one per motion.")
        files += motions
    return list(dict.fromkeys(files))


def read_plausible(source: Path) -> Motion:
    """A motion in meters; warns if size, axes or rate are implausible for a person.

    Raises:
        FileNotFoundError, ValueError: damaged, no motion, or not in meters; the message names the file.
    """
    motion = read_motion_source(source)
    try:
        check_size(motion.joints3d, motion.skeleton)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    warn_if_implausible(str(source), motion)
    return motion


def warn_if_implausible(source: str, motion: Motion) -> None:
    """Warns if size, axes or rate of a motion are implausible for a person."""
    for doubt in motion_doubts(motion.array(), points_of_skeleton(motion.skeleton), motion.fps):
        logger.warning("%s: %s", source, doubt.words)
    if axes := axes_doubt(motion.joints3d, motion.skeleton):
        logger.warning("%s: %s", source, axes)


def log_remarks(source: Path | str, clip: ReferenceClip) -> None:
    """Logs the warnings about a file."""
    for remark in clip.remarks:
        logger.warning("%s: %s", source, remark)
