"""Tables of numbers as text with fixed decimals, written in blocks of rows."""

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
        decimals: decimal places of each column.
        separator: text between columns.
    """
    line = separator.join(f"%.{d}f" for d in decimals) + "\n"
    shown = np.round(values, max(decimals)) + 0.0  # + 0.0 turns -0 into 0
    stream.write(line * len(shown) % tuple(shown.ravel().tolist()))
