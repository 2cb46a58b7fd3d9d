"""Splits for sources that bring none, and list files for those that do."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hmr4d.utils.text_files import read_text

TEST_SHARE, VAL_SHARE = 0.10, 0.05


def split_by_name(name: str) -> str:
    """train, val or test (85 / 5 / 10 %) from the SHA-256 of the clip's name: the same on every machine and run."""
    rank = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2.0**64
    return "test" if rank < TEST_SHARE else "val" if rank < TEST_SHARE + VAL_SHARE else "train"


def read_name_list(path: Path) -> list[str]:
    """Clip names of a list file, one per line, in file order; blank lines are skipped."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
