"""Where released weights lie: one folder each, found by name."""

from __future__ import annotations

import os
from pathlib import Path


def release_folders() -> list[Path]:
    """Folders that are searched for released weights, in order: the configured inputs, then the source tree."""
    roots = [Path(os.environ.get("HMR4D_INPUTS", "inputs")), Path(__file__).resolve().parents[2] / "inputs"]
    return [root / "checkpoints" / "hmr4d" for root in roots]


def find_release_folder(name_or_folder: str | Path, *, kind: str, marker: str, wanted: str) -> Path:
    """Folder of released weights by name or path.

    Args:
        name_or_folder: such as "motion2to3-bandai".
        kind: what it is called in the message, such as "released model".
        marker: file that every folder of this kind has.
        wanted: what such a folder holds, for the message.

    Raises:
        FileNotFoundError: there is none; those that are there are listed.
    """
    for folder in (Path(name_or_folder), *(folder / str(name_or_folder) for folder in release_folders())):
        if (folder / marker).is_file():
            return folder
    known = sorted({p.parent.name for folder in release_folders() for p in folder.glob(f"*/{marker}")})
    raise FileNotFoundError(f"No {kind} '{name_or_folder}'. Give a folder with {wanted}, or one of {known}.")
