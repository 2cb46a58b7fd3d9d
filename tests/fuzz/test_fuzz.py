"""Damaged files of every kind give a sound result or one clear sentence, soon; `python -m tests.fuzz` tries more."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS, Reader, run

COUNT, FEWEST = 40, 2  # inputs, and those of them that are read, and that are refused


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    outcome = run(name, range(COUNT), 0, tmp_path)
    assert not outcome.faults
    assert min(outcome.read, outcome.refused) >= FEWEST  # neither everything nor nothing was broken


@pytest.mark.parametrize(("slow_tries", "slow_once", "faults"), [(1, 1, 0), (99, 0, 1)])
def test_slow_inputs_are_read_again_and_the_fastest_time_counts(
    slow_tries: int, slow_once: int, faults: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Path] = []

    def read(path: Path, warned: Callable[[], bool]) -> None:
        tries.append(path)
        end = time.process_time() + (0.02 if len(tries) <= slow_tries else 0.0)
        while time.process_time() < end:
            pass

    monkeypatch.setattr("tests.fuzz.readers.SLOWEST", 0.01)
    monkeypatch.setitem(READERS, "busy", Reader(lambda folder, rng: folder, read))
    outcome = run("busy", range(1), 0, tmp_path)
    assert (outcome.slow_once, outcome.num_faults, outcome.read) == (slow_once, faults, 1)
