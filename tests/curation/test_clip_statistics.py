"""Statistics beside values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hmr4d.curation.clip_statistics import (
    VIEWPOINTS,
    DatasetStatistics,
    clip_measures,
    faults_of_table,
    keypoint_speeds,
    viewpoints,
    words_of,
)
from tests.curation.tracks import HEIGHT, STANDING, walk


def seen_from(side: str) -> np.ndarray:
    """(17, 3) somebody whom the camera sees from a side."""
    turn = {"front": 1.0, "back": -1.0, "left": 0.05, "right": 0.05}[side]
    points = STANDING * HEIGHT * [turn, 1.0] + [600.0, 200.0]
    points[0, 0] += {"left": -40.0, "right": 40.0}.get(side, 0.0)  # the nose points where the person faces
    return np.c_[points, np.full(17, 0.9)]


@pytest.mark.parametrize("side", VIEWPOINTS)
def test_the_viewpoint_is_the_visible_side(side: str) -> None:
    assert (viewpoints(np.stack([seen_from(side)] * 20)) == VIEWPOINTS.index(side)).all()


def test_the_more_confident_ear_replaces_an_uncertain_nose() -> None:
    frame = seen_from("left")
    frame[0, 2], frame[4] = 0.1, [700.0, 230.0, 0.95]  # the right ear lies right of the shoulders
    assert (viewpoints(frame[None]) == VIEWPOINTS.index("right")).all()


def test_single_frames_are_outvoted_within_half_a_second() -> None:
    frames = np.stack([seen_from("front")] * 40)
    frames[20:23] = seen_from("back")
    assert (viewpoints(frames) == 0).all()
    frames[20:32] = seen_from("back")
    assert (viewpoints(frames)[20:32] == 3).sum() == 12


def test_speed_uses_pairs_of_confident_keypoints() -> None:
    track = walk(31, speed=0.5)
    track.keypoints[10, 9, 2] = 0.1
    sums, pairs = keypoint_speeds(track.keypoints, HEIGHT)
    assert pairs.tolist() == [30] * 9 + [28] + [30] * 7
    assert np.allclose(sums[0] / pairs, 200.0, rtol=1e-4) and np.allclose(sums[1] / pairs, 0.5, rtol=1e-4)


def test_metadata_of_a_clip_and_of_a_data_set() -> None:
    track = walk(90)
    facts = clip_measures(track.keypoints, track.boxes)
    assert facts["viewpoint_counts"] == {"front": 90, "left": 0, "right": 0, "back": 0}
    assert facts["mean_speed"] == pytest.approx(0.5, rel=1e-4)
    statistics = DatasetStatistics()
    for split, texts in (("train", ["A man walks.", "He's walking left"]), ("test", ["a dog"])):
        captions = [{"text": text} for text in texts]
        statistics.add({**facts, "split": split, "n_frames": 90, "captions": captions, "source": {"kind": "folder"}})
    table = statistics.table()
    assert (table["clips"], table["captions"], table["unique_words"], table["frames"]) == (2, 3, 7, 180)
    assert table["mean_words"] == pytest.approx(8 / 3, abs=1e-3) and table["hours"] == round(6 / 3600, 4)
    assert table["clips_by_seconds"] == {"3": 2} and table["speed_px_per_s"]["nose"] == pytest.approx(200, rel=1e-3)
    assert table["viewpoint_frames"]["front"] == {"count": 180, "percent": 100.0}
    assert not faults_of_table(table)


def test_words_are_lower_case_letters_and_apostrophes() -> None:
    assert words_of("He's TURNING 90 degrees, left-handed.") == ["he's", "turning", "degrees", "left", "handed"]


PUBLISHED = {
    "clips": 101_208,
    "frames": 17_297_263,
    "hours": 160.2,
    "clips_by_split": {"all": 101_208},
    "clips_by_source": {"web": {"count": 75_307}, "existing": {"count": 25_901}},
    "clips_by_seconds": {"5": 101_208},
    "viewpoint_frames": {
        "front": {"count": 6_816_810},
        "left": {"count": 4_524_532},
        "right": {"count": 4_726_061},
        "back": {"count": 1_229_860},
    },
}


def test_the_published_statistics_are_consistent_and_faults_are_named() -> None:
    assert faults_of_table(PUBLISHED) == []
    assert faults_of_table({**PUBLISHED, "hours": 170.0}) == [
        "17297263 frames are 160.1598 hours, but the table says 170.0."
    ]
    assert (
        faults_of_table({**PUBLISHED, "clips": 101_209})[0]
        == "the splits have 101208 clips, but the data set has 101209."
    )
