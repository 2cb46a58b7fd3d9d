"""Tables of numbers as text: fixed decimals, whole blocks of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import numpy as np
from numpy.typing import NDArray


def write_rows(stream: TextIO, values: NDArray[np.float64], decimals: Sequence[int], separator: str) -> None:
    """Writes one line per row.

    Args:
        stream: text file.
        values: (rows, columns).
        decimals: digits after the point of each column.
        separator: between columns.
    """
    line = separator.join(f"%.{d}f" for d in decimals) + "\n"
    shown = np.round(values, max(decimals)) + 0.0  # no minus sign before zero
    stream.write(line * len(shown) % tuple(shown.ravel().tolist()))
