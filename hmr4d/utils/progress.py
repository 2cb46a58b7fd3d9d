"""One progress bar for the whole package: on stderr of a terminal; elsewhere a line in the log now and then."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
SECONDS_PER_LINE = 30.0


def bars_are_shown() -> bool:
    """Whether progress is drawn as bars: on a terminal, unless HMR4D_PROGRESS=0."""
    return os.environ.get("HMR4D_PROGRESS", "1") != "0" and sys.stderr.isatty()


class LineClock:
    """Decides when the next progress line is due: every half minute, never with HMR4D_PROGRESS=0.

    Args:
        seconds: interval between lines.
    """

    def __init__(self, seconds: float = SECONDS_PER_LINE) -> None:
        self.seconds, self.begin = seconds, time.monotonic()
        self._last = self.begin

    def is_due(self) -> bool:
        """Whether a line is due; if so, the time to the next one begins."""
        now = time.monotonic()
        if os.environ.get("HMR4D_PROGRESS", "1") == "0" or now - self._last < self.seconds:
            return False
        self._last = now
        return True

    def remaining(self, done: int, total: int) -> str:
        """ "12 min", the estimated remaining time at the current speed."""
        seconds = (time.monotonic() - self.begin) / max(done, 1) * (total - done)
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def progress(items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "it") -> Iterable[Item]:
    """Iterates over `items` with a progress bar, or with log lines if there is no terminal."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if bars_are_shown():
        return tqdm(items, desc=description, total=total, unit=unit, leave=False)
    return _lines(items, description, total)


def _lines(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    clock = LineClock()
    for done, item in enumerate(items, 1):
        yield item
        if clock.is_due():
            rest = f" of {total}, {clock.remaining(done, total)} left" if total else ""
            logger.info("%s: %d%s.", description, done, rest)
