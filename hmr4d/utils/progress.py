"""One progress bar for the whole package: on stderr, silent when stderr is not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "it") -> Iterable[Item]:
    """Iterates over `items` behind a bar. HMR4D_PROGRESS=0 switches bars off."""
    hidden = os.environ.get("HMR4D_PROGRESS", "1") == "0" or not sys.stderr.isatty()
    return tqdm(items, desc=description, total=total, unit=unit, disable=hidden, leave=False)
