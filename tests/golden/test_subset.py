"""The tracked subset of the golden vectors: complete, small, described, and used where there is nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.golden import vectors
from tests.golden.subset import MAX_BYTES, PARTS, SUBSET, WHOLE, make_subset


def tracked() -> dict[str, Path]:
    return {p.relative_to(SUBSET).as_posix(): p for p in SUBSET.rglob("*") if p.is_file() and p.name != "README.md"}


def test_subset_has_the_files_that_the_command_writes() -> None:
    assert set(tracked()) == {*WHOLE, *PARTS}


def test_subset_is_small() -> None:
    assert sum(path.stat().st_size for path in SUBSET.rglob("*") if path.is_file()) <= MAX_BYTES


def test_readme_lists_every_file_with_its_size() -> None:
    rows = re.findall(r"^\| `([^`]+)`( \(part\))? \| (\d+) \| .+ \|$", (SUBSET / "README.md").read_text("utf-8"), re.M)
    assert {name for name, _, _ in rows} == set(tracked())
    assert {name for name, part, _ in rows if part} == set(PARTS)
    for name, _, kilobytes in rows:
        assert abs(tracked()[name].stat().st_size / 1000 - int(kilobytes)) <= 1, name


def test_subset_is_used_where_there_is_no_full_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HMR4D_GOLDEN", raising=False)
    assert vectors.PLACES[-1] == SUBSET
    monkeypatch.setattr(vectors, "PLACES", (tmp_path / "shared" / "golden", SUBSET))
    assert vectors.golden_root() == SUBSET
    (tmp_path / "shared" / "golden").mkdir(parents=True)
    assert vectors.golden_root() == tmp_path / "shared" / "golden"


def test_subset_of_a_folder_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lacks .*scheduler\.npz"):
        make_subset(tmp_path, tmp_path / "subset")
    assert not (tmp_path / "subset").exists()
