"""`tools/view.py`: recordings, and one sentence for each mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hmr4d.cli.view import main
from hmr4d.export.motion_npz import save_motion_npz
from tests.motions import as_motion
from tests.visualization.conftest import walking_joints


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    save_motion_npz(tmp_path / "a.npz", as_motion(walking_joints(4), fps=20, text="walks <b>"))
    return tmp_path / "a.npz"


def test_recording(motion: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    pytest.importorskip("viser", reason="the package viser is missing")
    out = tmp_path / "new" / "a.html"
    assert main([str(motion), "--save-html", str(out)]) == 0
    assert "__VISER_EMBED_DATA__" in out.read_text(encoding="utf-8")
    assert capfd.readouterr().out == ""  # viser's banner is about a server that is gone already


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.npz"], "No such file or folder: gone.npz"),
        (["{motion}", "--at-once", "0"], "--at-once is 0"),
        (["{motion}", "--port", "70000"], "--port is 70000"),
        (["{motion}", "--fps", "nan"], "--fps is nan"),
        (["{motion}", "--skeleton"], "--skeleton is for --save-html"),
        (["{motion}", "{twin}", "--at-once", "1", "--save-html", "x.html"], "There are 2 motions"),
        (["{nan}"], "not finite at frame 1, joint 4 (left_knee)"),
    ],
)
def test_mistakes(words: list[str], message: str, motion: Path, capsys: pytest.CaptureFixture) -> None:
    twin, broken = motion.with_name("b.npz"), motion.with_name("nan.npz")
    twin.write_bytes(motion.read_bytes())
    with np.load(motion) as archive:
        content = dict(archive)
    content["joints3d"][1, 4] = np.nan
    np.savez(broken, **content)
    assert main([word.format(motion=motion, twin=twin, nan=broken) for word in words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1


def test_missing_package(motion: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main([str(motion)]) == 2
    assert "requirements_render.txt" in capsys.readouterr().err


def test_place_that_cannot_be_written(motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("viser", reason="the package viser is missing")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert main([str(motion), "--save-html", str(tmp_path / "file" / "a.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
