"""Other frame rates: what stands still stays, what moves evenly goes on evenly, and the ends are kept."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.data.datasets import stretch_linear
from hmr4d.motion.resampling import resample_positions, resampled_length
from hmr4d.motion.tracks import reflected_frames, resample_motion, resample_track
from tests.strategies import seeds, tensors

RATES = st.sampled_from([10.0, 12.5, 20.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60.0, 119.88, 120.0])
LENGTHS = st.integers(1, 90)


def motion(seed: int, num_frames: int, joints: int = 2) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(num_frames, joints, 3))


@given(st.integers(1, 500_000), RATES, RATES)
def test_resampled_length_ends_within_the_last_frame(num_frames: int, fps: float, target_fps: float) -> None:
    count = resampled_length(num_frames, fps, target_fps)
    seconds = (num_frames - 1) / fps
    assert (count - 1) / target_fps <= seconds + 1e-9
    assert count / target_fps > seconds
    assert resampled_length(num_frames, fps, fps) == num_frames


@given(seeds(), LENGTHS, RATES)
def test_same_rate_changes_nothing(seed: int, num_frames: int, fps: float) -> None:
    clip = motion(seed, num_frames)
    assert np.array_equal(resample_positions(clip, fps, fps), clip)
    as_tensor = torch.from_numpy(clip)
    assert torch.equal(resample_motion(as_tensor[None], fps, fps, num_frames)[0], as_tensor)
    kp2d, conf = resample_track(as_tensor[None, ..., :2], as_tensor[None, ..., 2].abs(), fps, fps)
    assert torch.equal(kp2d[0], as_tensor[..., :2]) and torch.equal(conf[0], as_tensor[..., 2].abs())
    assert torch.equal(stretch_linear(as_tensor, num_frames), as_tensor)


@given(tensors(2, 3), LENGTHS, RATES, RATES)
def test_whoever_stands_still_stays(place: Tensor, num_frames: int, fps: float, target_fps: float) -> None:
    clip = place.expand(num_frames, 2, 3)
    count = resampled_length(num_frames, fps, target_fps)
    still = place.expand(count, 2, 3).numpy()
    np.testing.assert_allclose(resample_positions(clip.numpy(), fps, target_fps), still, atol=1e-12)
    kp2d, conf = resample_track(clip[None, ..., :2], torch.full((1, num_frames, 2), 0.7).double(), fps, target_fps)
    np.testing.assert_allclose(kp2d[0].numpy(), still[..., :2], atol=1e-12)
    np.testing.assert_allclose(conf.numpy(), 0.7, atol=1e-12)
    longer = resample_motion(clip[None], fps, target_fps, count + 2)
    np.testing.assert_allclose(longer[0].numpy(), place.expand(count + 2, 2, 3).numpy(), atol=1e-12)


@given(tensors(2, 3), tensors(2, 3), st.integers(2, 90), RATES, RATES)
def test_even_motion_continues_evenly(
    place: Tensor, speed: Tensor, num_frames: int, fps: float, target_fps: float
) -> None:
    """Also a little beyond the last frame, where `resample_motion` goes straight on."""

    def at(count: int, rate: float) -> Tensor:
        return place + torch.arange(count, dtype=torch.float64)[:, None, None] / rate * speed

    count = resampled_length(num_frames, fps, target_fps)
    got = resample_positions(at(num_frames, fps).numpy(), fps, target_fps)
    np.testing.assert_allclose(got, at(count, target_fps).numpy(), atol=1e-8)
    longer = resample_motion(at(num_frames, fps)[None], fps, target_fps, count + 2)[0]
    np.testing.assert_allclose(longer.numpy(), at(count + 2, target_fps).numpy(), atol=1e-8)


@given(seeds(), st.integers(2, 60), RATES, st.integers(2, 6))
def test_integer_ratio_keeps_every_frame(seed: int, num_frames: int, fps: float, ratio: int) -> None:
    clip = motion(seed, num_frames)
    faster = resample_positions(clip, fps, ratio * fps)
    assert len(faster) == ratio * (num_frames - 1) + 1, "first and last frame stay the ends"
    np.testing.assert_allclose(faster[::ratio], clip, atol=1e-9)
    np.testing.assert_allclose(resample_positions(clip, ratio * fps, fps), clip[::ratio], atol=1e-9)
    pixels, conf = torch.from_numpy(clip[None, ..., :2]), torch.ones(1, num_frames, 2).double()
    np.testing.assert_allclose(resample_track(pixels, conf, fps, ratio * fps)[0][0, ::ratio], clip[..., :2], atol=1e-9)


@given(seeds(), st.integers(2, 60), st.integers(2, 60))
def test_stretching_keeps_both_ends(seed: int, num_frames: int, wanted: int) -> None:
    clip = torch.from_numpy(motion(seed, num_frames))
    stretched = stretch_linear(clip, wanted)
    assert len(stretched) == wanted
    assert torch.allclose(stretched[[0, -1]], clip[[0, -1]])
    assert (stretched >= clip.amin(0) - 1e-9).all() and (stretched <= clip.amax(0) + 1e-9).all()


@given(seeds(), st.integers(2, 60), RATES, RATES, st.floats(0.0, 1.0))
def test_resampled_track_makes_nothing_up(
    seed: int, num_frames: int, fps: float, target_fps: float, missing: float
) -> None:
    """Confidences and places stay within those of the track; a joint that is never seen is never found."""
    rng = np.random.default_rng(seed)
    kp2d = torch.from_numpy(rng.uniform(0, 1000, (1, num_frames, 3, 2)))
    conf = torch.from_numpy(rng.uniform(0.1, 1.0, (1, num_frames, 3)) * (rng.random((1, num_frames, 3)) >= missing))
    conf[..., 2] = 0.0
    kp2d[conf == 0] = 0.0
    got, got_conf = resample_track(kp2d, conf, fps, target_fps)
    assert (got_conf[..., 2] == 0).all()
    assert (got_conf >= 0).all() and (got_conf <= conf.amax() + 1e-12).all()
    for joint in range(2):
        seen, found = kp2d[0, conf[0, :, joint] > 0, joint], got[0, got_conf[0, :, joint] > 0, joint]
        if len(found):
            assert (found >= seen.amin(0) - 1e-9).all() and (found <= seen.amax(0) + 1e-9).all()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_reflection_moves_on_by_one_frame_at_most(lengths: list[int]) -> None:
    frames = reflected_frames(torch.tensor(lengths), max(lengths))
    for row, length in zip(frames, lengths, strict=True):
        used = row[: max(length, 16)]
        assert torch.equal(used[:length], torch.arange(length))
        assert (used < length).all() and (used.diff().abs() <= 1).all()
