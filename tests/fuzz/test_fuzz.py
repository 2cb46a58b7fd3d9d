"""Damaged files of every kind give a sound result or one clear sentence, soon; `python -m tests.fuzz` tries more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.readers import READERS, run

COUNT, FEWEST = 40, 2  # inputs, and those of them that are read, and that are refused


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    outcome = run(name, range(COUNT), 0, tmp_path)
    assert not outcome.faults
    assert min(outcome.read, outcome.refused) >= FEWEST  # neither everything nor nothing was broken
