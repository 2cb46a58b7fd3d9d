"""Damaged files of every kind give a result or one clear sentence, soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.fuzzing import readers, run

READERS = ("bvh", "captions csv", "captions tsv", "captions json", "joint map", "texts", "motion npz")


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_never_crash_or_hang_a_reader(name: str, tmp_path: Path, bandai_bvh) -> None:
    table = readers(bandai_bvh(2))
    assert set(table) == set(READERS)
    outcome = run(name, *table[name], count=120, folder=tmp_path)
    assert outcome["read"] + outcome["refused"] == 120 and outcome["refused"] > 10
