"""Where the command-line programs look for things unless they are told otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def inputs_folder() -> Path:
    """Folder of stores and weights: HMR4D_INPUTS, else `inputs` in the working folder; as in `configs/paths`."""
    return Path(os.environ.get("HMR4D_INPUTS", "inputs"))
