"""Folders of configurations, stores and weights, defined only here.

A checkout has `configs` and `inputs` at its top. An installed package contains its own copies, which setup.py adds.
Files that users create or download are in their own `inputs`, which has priority.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]
SHIPPED = "_shipped"  # folder in an installed package, written by setup.py; a checkout has none


def shipped_folder(name: str) -> Path:
    """Folder "configs" or "inputs" as it ships: in the installed package, or at the top of the checkout."""
    installed = PACKAGE_FOLDER / SHIPPED
    return (installed if installed.is_dir() else PACKAGE_FOLDER.parent) / name


def is_installed_file(path: str | Path) -> bool:
    """Whether a file or folder belongs to an installed package, where no user files may be written."""
    return (PACKAGE_FOLDER / SHIPPED) in Path(path).resolve().parents


def inputs_folder() -> Path:
    """The user's folder of stores and weights: HMR4D_INPUTS, else `inputs` in the working folder."""
    return Path(os.environ.get("HMR4D_INPUTS", "inputs"))


def outputs_folder() -> Path:
    """The user's folder of results: HMR4D_OUTPUTS, else `outputs` in the working folder."""
    return Path(os.environ.get("HMR4D_OUTPUTS", "outputs"))


def find_input(name: str | Path, inputs: str | Path | None = None) -> Path:
    """The path of an input: in the user's folder, else in the package.

    Args:
        name: path below the folder, such as "cmu".
        inputs: the user's folder; None: `inputs_folder()`.

    Returns:
        An existing path, or the path in the user's folder for the message about a missing file.
    """
    own = (inputs_folder() if inputs is None else Path(inputs)) / name
    shipped = shipped_folder("inputs") / name
    return shipped if shipped.exists() and not own.exists() else own
