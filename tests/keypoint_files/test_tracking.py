"""People without ids keep who they are, also where they cross and one hides the other."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from hmr4d.keypoint_files.detections import Detection
from hmr4d.keypoint_files.tracking import track_people

SHAPE = np.random.default_rng(0).uniform(-1, 1, (17, 2)) * (60, 150)  # pixels, a body of 120 by 300


def crossing(hidden: range, frames: int = 60, apart: float = 20.0) -> list[Detection]:
    """Two people who walk past each other; the one who goes left is not detected for a while."""
    found = []
    for frame in range(frames):
        step = 20.0 * (frame - frames / 2)
        for side, v in ((1, 500.0), (-1, 500.0 - apart)):
            if side == 1 or frame not in hidden:
                points = np.insert(SHAPE * (side, 1) + (960 + side * step, v), 2, 0.9, axis=1)
                found.append(Detection(frame, points))
    return found


@pytest.mark.parametrize("hidden", [range(0), range(30, 32), range(27, 33), range(22, 38)])
def test_people_who_cross_keep_their_ids(hidden: range, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hmr4d")
    tracked = track_people(crossing(hidden))
    ways: dict[str, list[float]] = {}
    for detection in tracked:
        ways.setdefault(str(detection.person), []).append(float(detection.points[:, 0].mean()))
    assert len(ways) == 2
    assert sorted(np.sign(np.diff(way)).sum() / (len(way) - 1) for way in ways.values()) == [-1.0, 1.0]
    assert "the first is 2" in caplog.text and "may be confused" in caplog.text


def test_people_who_keep_apart_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    far = [
        Detection(frame, np.insert(SHAPE + (300 + 600 * who, 500), 2, 0.9, axis=1))
        for frame in range(20)
        for who in range(2)
    ]
    assert {d.person for d in track_people(far)} == {"0", "1"}
    assert not caplog.text
