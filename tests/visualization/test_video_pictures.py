"""Videos are read picture by picture as they are coded, with the times of the file."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from hmr4d.visualization.pixels import to_pixels
from hmr4d.visualization.video_file import write_mp4
from hmr4d.visualization.video_pictures import read_video_metadata, video_pictures


def ffmpeg(*words: str | Path) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)], check=True)


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures at 20 a second, each brighter than the one before."""
    path = tmp_path_factory.mktemp("videos") / "even.mp4"
    pictures = (Image.new("RGB", (96, 64), (10 * i, 10 * i, 10 * i)) for i in range(20))
    write_mp4(path, map(to_pixels, pictures), fps=20, size=(96, 64))
    return path


@pytest.fixture(scope="module")
def uneven(even: Path) -> Path:
    """The same pictures, the second half of them three times as far apart, as phones write them."""
    path = even.with_name("uneven.mp4")
    times = "setpts=(if(lt(N\\,10)\\,N\\,10+3*(N-10)))/20/TB"
    ffmpeg("-i", even, "-vf", times, "-fps_mode", "passthrough", "-enc_time_base", "1/1000", path)
    return path


def test_every_coded_picture_comes_once_whatever_its_time(even: Path, uneven: Path) -> None:
    for path in (even, uneven):
        gray = [float(np.asarray(picture).mean()) for picture in video_pictures(path, 0)]
        np.testing.assert_allclose(gray, 10 * np.arange(20), atol=4)
        assert float(np.asarray(next(video_pictures(path, 15))).mean()) == pytest.approx(150, abs=4)


def test_times_are_those_of_the_file(even: Path, uneven: Path) -> None:
    facts = read_video_metadata(even)
    assert (facts.size, facts.fps, facts.uneven) == ((96, 64), 20.0, None)
    np.testing.assert_allclose(facts.times, np.arange(20) / 20, atol=1e-3)
    facts = read_video_metadata(uneven)
    np.testing.assert_allclose(facts.times, np.r_[np.arange(10), 10 + 3 * np.arange(10)] / 20, atol=2e-3)
    assert facts.uneven is not None and "0.050 to 0.150 s apart" in facts.uneven and "constant rate" in facts.uneven
    np.testing.assert_allclose(facts.times_of(np.array([0, 9, 11])), [0.0, 0.45, 0.65], atol=2e-3)
    assert facts.times_of(np.array([0, 20])) is None


def test_turned_videos_are_read_without_a_word(even: Path, caplog: pytest.LogCaptureFixture) -> None:
    turned = even.with_name("turned.mp4")
    ffmpeg("-display_rotation", "90", "-i", even, "-c", "copy", turned)
    with caplog.at_level(logging.DEBUG):
        assert read_video_metadata(turned).size == (64, 96)
        assert next(video_pictures(turned, 0)).size == (64, 96)
    assert caplog.text == ""
