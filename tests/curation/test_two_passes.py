"""Detection in two passes: the same clips as of all frames, and fewer frames looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hmr4d.curation.filters import Thresholds, Track, frame_failures
from hmr4d.curation.largest_person import People
from hmr4d.curation.sources import SourceTable, open_sources
from hmr4d.curation.stages import Settings, build_stages
from hmr4d.curation.trimming import TrimRules, trim
from hmr4d.curation.two_passes import MARGIN, candidate_frames, in_two_passes
from hmr4d.utils.text_files import TextError
from tests.curation.tracks import unsure, walk

LIMITS, RULES = Thresholds(), TrimRules()


class Recorded:
    """A detector that knows a track, and remembers which of its frames it was asked for."""

    def __init__(self, track: Track, frames: int) -> None:
        self.track, self.frames, self.asked = track, frames, []

    def __call__(self, at: NDArray[np.float64]) -> People:
        rows = np.round(at * 30).astype(int)
        rows = rows[rows < self.frames]
        self.asked += rows.tolist()
        return People(self.track.keypoints[rows], self.track.boxes[rows], at[: len(rows)])


def absent(track: Track, *parts: slice) -> Track:
    """Nobody is there in parts of a track."""
    keypoints, boxes = track.keypoints.copy(), track.boxes.copy()
    for part in parts:
        keypoints[part], boxes[part] = 0.0, 0.0
    return Track(keypoints, boxes, track.size)


def clips_of(people: People, size: tuple[int, int]) -> list[tuple[int, int]]:
    track = Track(people.keypoints, people.boxes, size)
    return [(first, last) for first, last, _ in trim(track, frame_failures(track, LIMITS), LIMITS, RULES)]


@pytest.mark.parametrize(
    "track",
    [
        walk(330, speed=0.11),
        absent(walk(330, speed=0.11), slice(0, 91), slice(200, 330)),
        unsure(walk(330, speed=0.11), slice(120, 123), [13, 14]),  # a gap that is bridged
        unsure(walk(330, speed=0.11), slice(70, 330), [13, 14, 15]),
    ],
    ids=["whole", "absent", "bridged", "unsure"],
)
def test_clips_are_those_of_all_frames(track: Track) -> None:
    detector, at = Recorded(track, 330), np.arange(330) / 30
    whole = People(track.keypoints, track.boxes, at)
    people = in_two_passes(detector, at, track.size, LIMITS, RULES)
    found = clips_of(whole, track.size)
    assert found and clips_of(people, track.size) == found
    for first, last in found:
        assert np.allclose(people.keypoints[first:last], track.keypoints[first:last], atol=1e-4)
        assert set(range(first, last)) <= set(detector.asked)
    assert len(detector.asked) == len(set(detector.asked))


def test_half_of_the_frames_are_detected_if_no_clip_is_possible() -> None:
    track = absent(walk(330, speed=0.11), slice(0, 150), slice(200, 330))
    detector = Recorded(track, 330)
    people = in_two_passes(detector, np.arange(330) / 30, track.size, LIMITS, RULES)
    assert len(detector.asked) == 165 and clips_of(people, track.size) == []
    long = absent(walk(330, speed=0.11), slice(0, 150))
    detector = Recorded(long, 330)
    in_two_passes(detector, np.arange(330) / 30, long.size, LIMITS, RULES)
    assert len(detector.asked) == 165 + (180 + MARGIN) // 2


def test_a_video_that_ends_before_its_times_is_read_to_its_end() -> None:
    track = walk(100, speed=0.3)
    people = in_two_passes(Recorded(track, 80), np.arange(100) / 30, track.size, LIMITS, RULES)
    assert 79 <= len(people.times) <= 80 and np.allclose(np.diff(people.times), 1 / 30)


def test_small_people_are_no_candidates() -> None:
    track = walk(120)
    first = People(track.keypoints[::2], track.boxes[::2], np.arange(60) / 15)
    assert candidate_frames(first, 120, (1280, 720), LIMITS, RULES).all()
    assert not candidate_frames(first, 120, (1280, 9000), LIMITS, RULES).any()


def test_two_passes_need_a_detector_of_images(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="'precomputed' reads whole videos"):
        build_stages(Settings(str(tmp_path / "in"), two_passes=True), tmp_path / "videos")


def test_a_table_lists_sources_at_any_path(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name in ("far/b.mp4", "far/b_points.json", "a.npz"):
        (tmp_path / name).write_text("x")
    lines = "file,url,licence,keypoints\nfar/b.mp4,https://example.org/b,CC0,far/b_points.json\na.npz,,,\n"
    (tmp_path / "mine.csv").write_text(lines)
    opened = open_sources(f"table:{tmp_path / 'mine.csv'}")
    assert isinstance(opened, SourceTable) and opened.place == tmp_path / "mine.csv"
    first, second = opened.list()
    assert (first.id, first.kind, first.is_video) == ("a.npz", "table", False)
    assert (second.url, second.licence, second.keypoints) == (
        "https://example.org/b",
        "CC0",
        tmp_path / "far/b_points.json",
    )
    with pytest.raises(FileNotFoundError, match="is not a file"):
        open_sources("table:nowhere.csv")
    for content, error, message in (
        ("file\nmissing.mp4\n", FileNotFoundError, "lists 1 missing files, such as missing.mp4"),
        ("path\na.npz\n", TextError, "no column 'file'"),
        ("file\na.npz\na.npz\n", TextError, "lists a file twice"),
        ("file\nmine.csv.txt\n", TextError, "neither a video nor a keypoint file"),
    ):
        (tmp_path / "bad.csv").write_text(content)
        (tmp_path / "mine.csv.txt").write_text("x")
        with pytest.raises(error, match=message):
            list(SourceTable(tmp_path / "bad.csv").list())
