"""Work that is spread over processes."""

from __future__ import annotations

import os

from hmr4d.utils.parallel import ordered_map

PLACES = [f"{number}, __import__('os').getpid()" for number in range(5)]  # evaluated: a number and the process


def test_several_items_are_computed_by_other_processes_in_order() -> None:
    numbers, processes = zip(*ordered_map(eval, PLACES, jobs=2), strict=True)
    assert numbers == (0, 1, 2, 3, 4) and os.getpid() not in processes


def test_a_single_item_or_a_single_job_is_computed_in_this_process() -> None:
    assert list(ordered_map(eval, iter(PLACES[:1]), jobs=2)) == [(0, os.getpid())]
    assert list(ordered_map(eval, PLACES, jobs=1)) == [(number, os.getpid()) for number in range(5)]
    assert list(ordered_map(eval, [], jobs=2)) == []
