"""The README's commands, run as they are written, and the files that they promise.

They run in a folder of their own. The training command finds a small store there, which the test makes, under the name
of the packed one.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.export.motion_npz import load_motion_npz
from tests.test_readme import ROOT, blocks, shell_commands


def readme_command(tool: str, having: str) -> list[str]:
    """Words after the program of the first README command of a tool that has a certain word."""
    for body in blocks(ROOT / "README.md", "bash"):
        for words in shell_commands(body):
            names = [Path(word).stem for word in words[:2]]
            if tool in names and any(having in word for word in words):
                return words[1 + names.index(tool) :]
    pytest.fail(f"README.md has no command of {tool} with {having}")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], None]:
    """Runs a tool with these words in an empty folder that has the pages beside it; it has to end well."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)

    def run_tool(tool: str, words: list[str]) -> None:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [f"{tool}.py", *words])
        try:
            runpy.run_path(str(ROOT / "tools" / f"{tool}.py"), run_name="__main__")
        except SystemExit as stop:
            assert not stop.code, f"{tool} {words} ended with status {stop.code}"

    return run_tool


def test_generation(run: Callable[[str, list[str]], None]) -> None:
    words = readme_command("generate", "--export")
    run("generate", words)
    out = Path(words[words.index("--out") + 1])
    formats = words[words.index("--export") + 1].split(",")
    motions = sorted(path.stem for path in out.glob("*.npz"))
    assert len(motions) == 2
    for name in motions:
        assert all((out / f"{name}.{suffix}").stat().st_size > 1000 for suffix in formats)
        assert load_motion_npz(out / f"{name}.npz").text in words


def test_lifting(run: Callable[[str, list[str]], None]) -> None:
    words = readme_command("lift", "--camera")
    run("lift", words)
    out, formats = Path(words[words.index("--out") + 1]), words[words.index("--export") + 1].split(",")
    name = Path(words[0]).stem
    assert all((out / f"{name}.{suffix}").stat().st_size > 1000 for suffix in ("npz", "html", *formats))
    motion = load_motion_npz(out / f"{name}.npz")
    assert np.isfinite(motion.joints3d).all()
    assert motion.fps == float(words[words.index("--fps") + 1])


def test_three_steps_of_training(run: Callable[[str, list[str]], None]) -> None:
    words = readme_command("train", "trainer.max_steps=3")
    assert "data=cmu" in words
    import_synthetic("inputs/cmu", num_clips=4)
    run("train", words)
    (checkpoint,) = Path("outputs").rglob("last.ckpt")
    assert checkpoint.stat().st_size > 1_000_000
    (curve,) = Path("outputs").rglob("metrics.csv")
    assert "train/loss" in curve.read_text("utf-8")
