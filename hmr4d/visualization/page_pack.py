"""Compressed arrays of a page: integers, delta-coded so that slow changes take few bytes.

`resources/viewer_data.js` unpacks them.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LARGEST = 2**30  # differences of two numbers fit into 32 bits with sign
_LEVEL = 6  # compression level; higher levels are slow and save one percent


class Pack:
    """Collects arrays and compresses them to one base64-encoded zlib stream."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: ArrayLike, *, step: float | None = None, delta: bool = True) -> dict[str, Any]:
        """Adds an array.

        The array is stored column by column as 32-bit numbers with the sign in the lowest bit; the lowest bytes of all
        numbers come first.

        Args:
            array: (N, ...) integers, or any numbers, which are rounded to multiples of `step`.
            step: unit of the stored integers.
            delta: store the first row and then the differences between rows.

        Returns:
            Description for the page: `at` (offset), `rows`, `columns`, `delta`, and `step` if given.

        Raises:
            ValueError: a number is too large or not finite.
        """
        numbers = np.asarray(array)
        numbers = numbers.reshape(len(numbers), -1)
        whole = np.round(numbers / step) if step is not None else numbers
        if not (np.abs(whole) < _LARGEST).all():
            raise ValueError(
                f"Numbers up to {np.nanmax(np.abs(numbers)):.3g} are too large for a page; move the "
                "motion closer to the origin."
            )
        steps = np.diff(whole, axis=0, prepend=0) if delta else whole
        self._parts.append(_planes(steps.astype(np.int64)))
        place = {"at": self._size, "rows": len(whole), "columns": whole.shape[1], "delta": delta}
        self._size += len(self._parts[-1])
        return place if step is None else place | {"step": step}

    def text(self) -> str:
        """All arrays as base64 text."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), _LEVEL)).decode("ascii")


def _planes(numbers: NDArray[np.int64]) -> bytes:
    """Integers (N, C) as bytes (4, C, N), lowest byte first; the sign is moved to the lowest bit, so small negative
    numbers stay small."""
    folded = ((numbers << 1) ^ (numbers >> 63)).astype("<u4")
    columns = np.ascontiguousarray(folded.T)
    return np.moveaxis(columns.view(np.uint8).reshape(*columns.shape, 4), 2, 0).tobytes()
