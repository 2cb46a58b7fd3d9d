"""Noise that replays what was recorded."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class RecordedNoise:
    """Replays given arrays in order; IndexError when a run asks for more than were recorded."""

    def __init__(self, arrays: Sequence[Tensor]) -> None:
        self._arrays = iter(arrays)

    def __call__(self) -> Tensor:
        try:
            return next(self._arrays)
        except StopIteration:
            raise IndexError("The recorded noise is used up: fewer arrays than sampling steps were given.") from None
