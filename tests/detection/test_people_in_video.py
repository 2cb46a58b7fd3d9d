"""People of drawn videos are found once, followed, told apart, and written as keypoint files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmr4d.cli.main import main
from hmr4d.detection.camera_motion import CameraMotionMeter
from hmr4d.detection.keypoint_json import is_of_video, write_keypoints
from hmr4d.detection.networks import JointFinder, PeopleFinder, Sighting, find_detector
from hmr4d.detection.people_in_video import DetectedVideo, detect_people
from hmr4d.detection.regions import Region
from hmr4d.detection.scanning import LEVELS, distinct, squares
from hmr4d.keypoint_files.reading import read_keypoints
from hmr4d.visualization.pixels import to_pixels
from hmr4d.visualization.video_file import write_mp4
from tests.detection.pictures import draw_person, room, to_picture

SIZE, FPS, FRAMES = (480, 360), 10, 8
HEIGHT = 200.0


def tops(frame: int) -> list[tuple[float, float, float]]:
    """Head and height of both people: one in front walks to the right, one behind stands."""
    return [(100.0 + 14 * frame, 90.0, HEIGHT), (390.0, 100.0, 150.0)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "two.mp4"
    pictures: list[Image.Image] = []
    for frame in range(FRAMES):
        values = room(SIZE)
        for u, v, height in reversed(tops(frame)):
            draw_person(values, (u, v), height)
        pictures.append(to_picture(values))
    write_mp4(path, map(to_pixels, pictures), fps=FPS, size=SIZE)
    return path


@pytest.fixture(scope="module")
def found(video: Path) -> DetectedVideo:
    return detect_people(video)


def test_both_people_are_followed_and_the_larger_comes_first(found: DetectedVideo) -> None:
    assert [track.num_seen for track in found.tracks] == [FRAMES, FRAMES]
    assert (found.size, found.fps, len(found.times)) == (SIZE, FPS, FRAMES)
    for person, track in enumerate(found.tracks):
        hips = track.kp2d[:, [23, 24]].mean(1)
        drawn = np.array([(u, v + 0.5 * h) for u, v, h in (tops(frame)[person] for frame in range(FRAMES))])
        assert np.abs(hips - drawn).max() < 0.1 * HEIGHT
        assert track.kp2d_conf[:, [11, 12, 23, 24]].min() > 0.5
    assert found.person("largest") == found.tracks[:1] and found.person("1") == found.tracks[1:]
    with pytest.raises(ValueError, match="there is no person 'x'; known: 0"):
        found.person("x")


def test_a_camera_that_stands_is_not_said_to_move(found: DetectedVideo) -> None:
    assert len(found.motion.times) == 4 and found.motion.remark is None


def test_the_command_writes_what_the_reader_of_keypoint_files_reads(
    video: Path, found: DetectedVideo, tmp_path: Path
) -> None:
    for joints, count in (("mediapipe33", 33), ("coco17", 17)):
        out = tmp_path / f"{joints}.json"
        if joints == "coco17":
            assert main(["detect", str(video), "--out", str(out), "--joints", joints]) == 0
        else:
            write_keypoints(out, found)
        tracks = read_keypoints(out, person="all")
        assert isinstance(tracks, list) and sorted(t.person for t in tracks) == ["0", "1"]
        one = next(t for t in tracks if t.person == "0")
        assert one.skeleton.name == joints and one.kp2d.shape == (FRAMES, count, 2) and one.fps == FPS
        shoulder = one.skeleton.index("left_shoulder")
        np.testing.assert_allclose(one.kp2d[:, shoulder], found.tracks[0].kp2d[:, 11], atol=0.02)
        assert one.depth is not None and found.tracks[0].depth is not None
        np.testing.assert_allclose(one.depth[:, shoulder], found.tracks[0].depth[:, 11], atol=0.001)
        assert (np.isfinite(one.depth) == (one.kp2d_conf > 0)).all()


def test_keypoints_of_others_next_to_a_video_are_left_alone(
    video: Path, found: DetectedVideo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / video.name
    copy.write_bytes(video.read_bytes())
    beside = tmp_path / "two_keypoints.json"
    write_keypoints(beside, found)
    assert is_of_video(beside, copy) and not is_of_video(beside, tmp_path / "two.mov")
    beside.write_text('[{"image_id": 0}]')
    assert main(["detect", str(copy)]) == 2
    assert "exists already" in capsys.readouterr().err and beside.read_text() == '[{"image_id": 0}]'


def test_a_damaged_video_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "hole.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), np.uint8)  # so that pictures have some length
    write_mp4(path, (to_pixels(Image.fromarray(frame)) for frame in noise), fps=10, size=(96, 64))
    content = bytearray(path.read_bytes())
    middle = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2
    content[middle : middle + 6000] = bytes(6000)
    path.write_bytes(content)
    with caplog.at_level("WARNING"):
        found = detect_people(path)
    assert len(found.times) < 12 and "of its 12 pictures" in caplog.text


def test_an_empty_video_and_a_missing_one_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        to_picture(room((160, 120))).save(tmp_path / f"{number}.png")
    assert main(["detect", str(tmp_path)]) == 2
    assert "no person was detected in its 3 frames" in capsys.readouterr().err
    assert main(["detect", str(tmp_path / "gone.mp4")]) == 2
    assert "Video not found" in capsys.readouterr().err


def test_small_people_are_found_in_squares_of_the_image() -> None:
    size = (1280, 720)
    values = room(size)
    draw_person(values, (1010.0, 400.0), 88.0)
    picture, finder = to_picture(values), PeopleFinder(find_detector())
    whole = finder(picture, squares(size, 1))
    parts = finder(picture, [s for s in squares(size, 3) if abs(s.u - 1010) < s.size / 2 and abs(s.v - 444) < 200])
    assert not whole and parts
    body = JointFinder(find_detector())(picture, [distinct(parts, [])[0].region])[0]
    assert body.presence > 0.5 and abs(body.next_region.u - 1010) < 12 and abs(body.next_region.v - 444) < 20


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (500, 500), (2000, 300)])
def test_squares_cover_the_image_and_share_a_third(size: tuple[int, int]) -> None:
    for level in LEVELS:
        found = squares(size, level)
        assert {s.size for s in found} == {max(size) / level}
        for axis, length in enumerate(size):
            middles = sorted({(s.u, s.v)[axis] for s in found})
            side = found[0].size
            assert middles[0] - side / 2 <= 1e-9 and middles[-1] + side / 2 >= length - 1e-9
            assert all(b - a <= side * 2 / 3 + 1e-9 for a, b in zip(middles, middles[1:], strict=False))


def test_the_same_person_seen_in_two_squares_counts_once() -> None:
    seen = [
        Sighting(0.6, Region(100, 100, 50)),
        Sighting(0.9, Region(104, 98, 55)),
        Sighting(0.7, Region(200, 100, 50)),
    ]
    assert [s.score for s in distinct(seen, [])] == [0.9, 0.7]
    assert [s.score for s in distinct(seen, [Region(102, 99, 52)])] == [0.7]


def wandered(shift: float, turn: float = 0.0) -> CameraMotionMeter:
    """A camera that pans by `shift` of the width, or turns by degrees, over two seconds, while somebody walks."""
    wide = room((720, 360), 3)
    rng = np.random.default_rng(0)
    for _ in range(60):  # furniture
        u, v = rng.uniform(0, 680), rng.uniform(0, 320)
        wide[int(v) : int(v) + 40, int(u) : int(u) + 40] += rng.uniform(-60, 60)
    meter = CameraMotionMeter()
    for step in range(6):
        values = wide.copy()
        draw_person(values, (200.0 + 40 * step, 60.0), 220.0)
        picture = to_picture(values)
        left = 100 + shift * 480 * step / 5
        view = picture.rotate(turn * step / 5, resample=Image.Resampling.BILINEAR, center=(360, 180))
        view = view.transform((480, 270), Image.Transform.AFFINE, (1, 0, left, 0, 1, 40), Image.Resampling.BILINEAR)
        u = 200 + 40 * step - left
        meter.add(view, step * 0.2, [np.array([[u - 45, 20], [u + 45, 240]])])
    return meter


def test_a_pan_and_a_turn_are_noticed_and_somebody_who_walks_is_not_taken_for_one() -> None:
    still = wandered(0.0).result()
    assert still.farthest < 0.004 and still.remark is None
    pan = wandered(0.1).result()
    assert pan.moves and 0.08 < pan.farthest < 0.12 and "tripod" in str(pan.remark)
    assert wandered(0.0, turn=8.0).result().moves
    shake = wandered(0.015).result()
    assert not shake.moves and "shakes" in str(shake.remark)
