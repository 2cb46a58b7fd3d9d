"""The page on reference motions: its chain that needs nothing licensed runs as it is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hmr4d.cli.main import main
from tests.test_readme import ROOT, blocks, shell_commands


def test_the_chain_without_licensed_files_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = blocks(ROOT / "docs" / "reference_motion.md", "bash")[0]
    commands = shell_commands(body)
    assert [words[:2] for words in commands[:2]] == [["hmr4d", "generate"], ["hmr4d", "reference"]]
    for words in commands:
        assert main(words[1:]) == 0, words
    checked = Path("outputs/checked")
    stem = "000_a_person_bows_politely"
    for name in (f"{stem}_276.pt", f"{stem}.npz", f"{stem}.html", f"{stem}_276_turntable.mp4", f"{stem}_276_depth.mp4"):
        assert os.path.getsize(checked / name) > 1000, name
    (entry,) = json.loads((checked / f"{stem}_gated.json").read_text())
    assert entry["use_ref_motion"] is True
    assert np.load(f"outputs/exported/{stem}_276_hml263.npy").shape[1] == 263
