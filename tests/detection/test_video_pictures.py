"""Videos are read picture by picture as they are coded, with the times of the file."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from hmr4d.detection.video_pictures import VideoMetadata, is_video, read_video_metadata, video_pictures
from hmr4d.visualization.pixels import to_pixels
from hmr4d.visualization.video_file import write_mp4


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


def test_every_coded_image_comes_once_whatever_its_time(even: Path, uneven: Path) -> None:
    for path in (even, uneven):
        gray = [float(np.asarray(picture).mean()) for picture in video_pictures(path)]
        np.testing.assert_allclose(gray, 10 * np.arange(20), atol=4)
        assert float(np.asarray(next(video_pictures(path, [15]))).mean()) == pytest.approx(150, abs=4)


def test_times_are_those_of_the_file(even: Path, uneven: Path) -> None:
    facts = read_video_metadata(even)
    assert (facts.size, facts.fps, facts.uneven) == ((96, 64), 20.0, None)
    np.testing.assert_allclose(facts.times, np.arange(20) / 20, atol=1e-3)
    facts = read_video_metadata(uneven)
    np.testing.assert_allclose(facts.times, np.r_[np.arange(10), 10 + 3 * np.arange(10)] / 20, atol=2e-3)
    assert facts.uneven is not None and "0.050 to 0.150 s apart" in facts.uneven and "constant rate" in facts.uneven
    np.testing.assert_allclose(facts.times_of(np.array([0, 9, 11])), [0.0, 0.45, 0.65], atol=2e-3)
    assert facts.times_of(np.array([0, 20])) is None


def test_images_of_sixteen_bits_keep_their_shades(tmp_path: Path) -> None:
    Image.fromarray(np.full((48, 64), 128 << 8, np.uint16)).save(tmp_path / "1.png")
    (picture,) = video_pictures(tmp_path)
    assert picture.getpixel((5, 5)) == (128, 128, 128)


@pytest.mark.parametrize("rate", [60.0, 120.0, 30000 / 1001])
def test_times_in_whole_milliseconds_leave_the_rate_as_it_is(even: Path, rate: float) -> None:
    rounded = even.with_name("rounded.mkv")  # as Matroska and WebM have them
    ffmpeg("-i", even, "-vf", f"setpts=N/{rate}/TB", "-r", f"{rate}", rounded)
    facts = read_video_metadata(rounded)
    assert facts.usual_fps == pytest.approx(rate, rel=2e-3) and facts.uneven is None


def test_a_rate_that_drops_on_the_way_is_uneven() -> None:
    times = np.r_[np.arange(60) / 30, 2 + np.arange(60) / 25]  # as phones do when it gets dark
    assert VideoMetadata((96, 64), 27.3, times).uneven is not None
    assert VideoMetadata((96, 64), 30.0, np.round(np.arange(300) / 30, 3)).uneven is None


def test_turned_videos_are_read_without_a_word(even: Path, caplog: pytest.LogCaptureFixture) -> None:
    turned = even.with_name("turned.mp4")
    ffmpeg("-display_rotation", "90", "-i", even, "-c", "copy", turned)
    with caplog.at_level(logging.DEBUG):
        assert read_video_metadata(turned).size == (64, 96)
        assert next(video_pictures(turned)).size == (64, 96)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_images_come_by_their_numbers_and_again_where_they_are_requested_twice(even: Path) -> None:
    gray = [float(np.asarray(picture).mean()) for picture in video_pictures(even, [3, 3, 5, 19, 25])]
    np.testing.assert_allclose(gray, [30, 30, 50, 190], atol=4)


def test_odd_sides_are_read_whole(even: Path) -> None:
    odd = even.with_name("odd.mkv")
    ffmpeg("-i", even, "-vf", "crop=95:63:0:0:exact=1,format=yuv444p", "-c:v", "libx264", odd)
    assert read_video_metadata(odd).size == (95, 63)
    assert [picture.size for picture in video_pictures(odd)] == [(95, 63)] * 20


def test_a_folder_of_images_is_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        Image.new("RGB", (40, 30), (number * 10,) * 3).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture", "utf-8")
    assert [picture.getpixel((0, 0))[0] for picture in video_pictures(tmp_path)] == [10, 90, 100]
    facts = read_video_metadata(tmp_path)
    assert facts.size == (40, 30) and facts.fps is None and is_video(tmp_path)
    Image.new("RGB", (30, 40)).save(tmp_path / "frame11.png")
    with pytest.raises(ValueError, match="30 x 40"):
        list(video_pictures(tmp_path))
    (tmp_path / "frame2.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="frame2.png"):
        list(video_pictures(tmp_path))


def test_a_video_that_is_cut_off_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draws = np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3), dtype=np.uint8)
    write_mp4(tmp_path / "noise.mp4", map(to_pixels, map(Image.fromarray, draws)), fps=20, size=(96, 64))
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    ffmpeg("-i", tmp_path / "noise.mp4", "-c", "copy", "-movflags", "+faststart", whole)
    assert len(read_video_metadata(whole).times) == 20
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 7 // 10])
    assert 0 < len(read_video_metadata(cut).times) < 20
    assert "cut.mp4 is truncated" in caplog.text
