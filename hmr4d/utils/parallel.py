"""Work spread over processes while the source is still being read."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_jobs() -> int:
    """Worker processes worth starting: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batches(items: Iterable[Item], size: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Groups items until their sizes add up to `limit`."""
    group: list[Item] = []
    total = 0
    for item in items:
        group.append(item)
        total += size(item)
        if total >= limit:
            yield group
            group, total = [], 0
    if group:
        yield group


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int, *, ahead: int = 3
) -> Iterator[Result]:
    """Results of `function` in the order of `items`.

    Args:
        function: picklable function.
        items: read as workers get free, never all at once.
        jobs: worker processes; 1 or less computes in this process, and so does a single item, because a new process
            takes seconds to import what the function needs.
        ahead: items in flight per worker, which bounds memory.
    """
    items = iter(items)
    first = list(itertools.islice(items, 2)) if jobs > 1 else []
    if len(first) < 2:
        yield from map(function, itertools.chain(first, items))
        return
    pending: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:  # Ctrl-C reaches all processes; only the main process handles it
        try:
            for item in itertools.chain(first, items):
                pending.append(pool.submit(function, item))
                while pending and (pending[0].done() or len(pending) >= ahead * jobs):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
