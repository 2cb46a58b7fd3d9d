"""Smoothing calms what rests, keeps what is fast, does not lag, and mends outliers."""

from __future__ import annotations

import numpy as np
import pytest

from hmr4d.detection.smoothing import NOISE, smooth_joints

SIZE = 400.0  # pixels
NOISY = NOISE * SIZE


def joints(path: np.ndarray, seed: int = 0, noise: float = NOISY) -> np.ndarray:
    """(L, 1, 2) a joint on a path (L, 2), with errors."""
    return (path + noise * np.random.default_rng(seed).normal(size=path.shape))[:, None]


def clap(times: np.ndarray, hertz: float, pixels: float) -> np.ndarray:
    return np.stack([100 + pixels * np.sin(2 * np.pi * hertz * times), np.full(len(times), 50.0)], -1)


def test_a_resting_joint_trembles_less() -> None:
    times = np.arange(120) / 30
    raw = joints(np.tile([100.0, 50.0], (120, 1)))
    smooth = smooth_joints(raw, np.ones((120, 1)), times, SIZE)
    assert (smooth - [100, 50]).std() < 0.55 * NOISY
    assert np.diff(smooth, 2, axis=0).std() < 0.2 * np.diff(raw, 2, axis=0).std()


@pytest.mark.parametrize("fps", [25, 60])
@pytest.mark.parametrize("hertz", [2.0, 4.0])
def test_claps_survive(fps: int, hertz: float) -> None:
    times = np.arange(4 * fps) / fps
    path = clap(times, hertz, 60)
    smooth = smooth_joints(joints(path), np.ones((len(times), 1)), times, SIZE)[:, 0]
    width = np.ptp(smooth[:, 0][fps:-fps]) / np.ptp(path[:, 0][fps:-fps])
    assert 0.93 < width < 1.12
    assert np.linalg.norm(smooth - path, axis=1).mean() < 1.3 * NOISY


def test_nothing_lags() -> None:
    times = np.arange(90) / 30
    path = np.stack([300 * np.clip(times - 1, 0, 1), np.zeros(90)], -1)  # walks off, and stops
    smooth = smooth_joints(joints(path), np.ones((90, 1)), times, SIZE)[:, 0, 0]
    shifts = [np.abs(smooth[5:-5] - np.interp(times[5:-5] - s / 60, times, path[:, 0])).mean() for s in range(-3, 4)]
    assert int(np.argmin(shifts)) == 3


def test_one_swapped_image_is_corrected() -> None:
    times = np.arange(60) / 30
    path = np.stack([100 + 20 * times, 50 + 10 * times], -1)
    raw = joints(path)
    raw[30] += 80
    smooth = smooth_joints(raw, np.ones((60, 1)), times, SIZE)[:, 0]
    assert np.linalg.norm(smooth[30] - path[30]) < 20


def test_unseen_joints_stay_and_leave_the_others_alone() -> None:
    times = np.arange(60) / 30
    raw = joints(clap(times, 1.0, 30))
    conf = np.ones((60, 1))
    conf[20:40], raw[20:40] = 0, 0
    smooth = smooth_joints(raw, conf, times, SIZE)
    assert (smooth[20:40] == 0).all()
    assert np.abs(smooth[:20] - raw[:20]).max() < 6 * NOISY


def test_uneven_times_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([1, 2], 90) / 30)
    path = clap(times, 1.0, 60)
    smooth = smooth_joints(joints(path, noise=1.0), np.ones((90, 1)), times, SIZE)[:, 0]
    assert np.linalg.norm(smooth - path, axis=1).max() < 6
