"""Progress off a terminal: a line now and then, none where it is not wanted."""

from __future__ import annotations

import logging

import pytest

from hmr4d.utils import progress as module
from hmr4d.utils.progress import LineClock, progress


def test_without_a_terminal_progress_is_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HMR4D_PROGRESS", raising=False)
    now = iter(range(0, 1000, 12))  # every look at the clock is 12 s later
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(now)))
    with caplog.at_level(logging.INFO, "hmr4d.utils.progress"):
        assert list(progress(range(9), "clips", unit="clip")) == list(range(9))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == ["clips: 3 of 9, 2 min left.", "clips: 5 of 9, 67 s left."]


def test_switched_off_progress_says_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMR4D_PROGRESS", "0")
    monkeypatch.setattr(module, "SECONDS_PER_LINE", 0.0)
    assert not LineClock(0.0).is_due()
    with caplog.at_level(logging.INFO, "hmr4d.utils.progress"):
        assert sum(progress([1, 2, 3], "sum")) == 6
    assert not caplog.records
