"""Noise goes, what people do stays."""

from __future__ import annotations

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.temporal_smoothing import smooth_motion
from tests.body.people import FPS, jump, standing, walk, wave

WRIST = SMPL22.index("left_wrist")


def jitter(motion: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(motion, n=3, axis=0), axis=-1).mean())


def amplitude(motion: np.ndarray) -> float:
    return float(motion[10:-10, WRIST, 0].std())


def noise(motion: np.ndarray, meters: float, block: int = 1) -> np.ndarray:
    """Noise that is the same for `block` frames: of a network that draws so many at once."""
    draws = np.random.default_rng(0).normal(scale=meters, size=(len(motion) // block + 1, *motion.shape[1:]))
    return motion + np.repeat(draws, block, 0)[: len(motion)]


@pytest.mark.parametrize("block", [1, 4])
def test_noise_of_frames_and_seams_between_blocks_go(block: int) -> None:
    given = noise(walk(), 0.004, block)
    made = smooth_motion(given, fps=FPS)
    assert jitter(made) < (0.5 if block == 1 else 0.6) * jitter(given)
    errors = [np.linalg.norm(m - walk(), axis=-1).mean() for m in (given, made)]
    assert errors[1] < (0.9 if block == 1 else 1.05) * errors[0]  # of seams, what is slower than 6 Hz cannot be told


@pytest.mark.parametrize("meters", [0.0, 0.003])
def test_a_wave_of_3_hertz_keeps_its_swing(meters: float) -> None:
    made = smooth_motion(noise(wave(hertz=3.0), meters), fps=FPS)
    assert amplitude(made) > 0.95 * amplitude(wave(hertz=3.0))


def test_clean_motion_is_unchanged() -> None:
    for motion in (walk(), jump()):
        assert np.linalg.norm(smooth_motion(motion, fps=FPS) - motion, axis=-1).mean() < 0.003


def test_a_blow_is_not_rounded_off() -> None:
    """A hand that shoots 60 cm forwards and back within 0.3 s, in a noisy motion."""
    motion = standing(60)
    motion[28:35, WRIST, 2] += 0.6 * np.sin(np.pi * np.arange(7) / 6)
    made = smooth_motion(noise(motion, 0.002), fps=FPS)
    reach = [m[28:35, WRIST, 2].max() - m[0, WRIST, 2] for m in (motion, made)]
    assert reach[1] > 0.95 * reach[0]


def test_nothing_is_delayed() -> None:
    given = noise(walk(), 0.004)
    there_and_back = smooth_motion(given[::-1], fps=FPS)[::-1]
    assert np.abs(there_and_back - smooth_motion(given, fps=FPS))[5:-5].max() < 1e-3


@pytest.mark.parametrize(("num_frames", "fps"), [(1, 20.0), (3, 20.0), (5, 20.0), (40, 8.0)])
def test_what_is_too_short_or_too_slow_to_tell_stays(num_frames: int, fps: float) -> None:
    made = smooth_motion(standing(num_frames), fps=fps)
    np.testing.assert_allclose(made, standing(num_frames), atol=1e-9)
