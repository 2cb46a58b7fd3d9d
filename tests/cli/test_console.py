"""How commands end when somebody presses Ctrl-C, and when inputs are bad."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hmr4d.cli.console import fail_some, stopped
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.motion.procedural import synthetic_joints
from tests.motions import as_motion

ROOT = Path(__file__).resolve().parents[2]
MANY_FRAMES = 6000  # minutes of video


def test_ctrl_c_ends_in_one_line_and_keeps_what_is_whole(tmp_path: Path) -> None:
    joints3d = np.resize(synthetic_joints("walk", 100, np.random.default_rng(0)), (MANY_FRAMES, 22, 3))
    save_motion_npz(tmp_path / "walk.npz", as_motion(joints3d, fps=20.0))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "tools/export.py", str(tmp_path / "walk.npz"), "--to", "npz,mp4", "--out", str(out)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - background jobs ignore it
    )
    try:
        until = time.monotonic() + 300
        while not any(p.stat().st_size for p in out.glob(".walk.*.mp4")) and process.poll() is None:  # it encodes
            assert time.monotonic() < until
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the encoder, too
        _, said = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == f"Stopped; finished files are kept in {out}."
    assert "Traceback" not in said
    assert [p.name for p in out.iterdir()] == ["walk.npz"]


def test_what_is_left_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(tmp_path / "never") == stopped() == stopped(kept="one file is there") == 130
    assert capsys.readouterr().err.splitlines() == [
        "Stopped; nothing was written.",
        "Stopped; the same command continues from here.",
        "Stopped; one file is there.",
    ]


def test_the_status_tells_whether_some_or_all_inputs_were_bad(capsys: pytest.CaptureFixture[str]) -> None:
    bad = [ValueError("a.pt: is damaged.\x1b"), ValueError("b.pt: is empty.")]
    assert [fail_some(bad[:count], total) for count, total in ((0, 2), (1, 2), (2, 2), (1, 1))] == [0, 1, 2, 2]
    assert "1 of 2 could not be used" in (said := capsys.readouterr().err) and "\x1b" not in said
