"""Kinds of files in which frames and people are written otherwise than in those of detectors."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.body.skeleton import COCO17
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from tests.data.keypoint_layouts import figure

SIZE = (1280, 720)
POINTS = figure(COCO17.joint_names, 12)
GONE = 5  # a frame without the person


def everybody(path: Path) -> list[KeypointTrack]:
    tracks = read_keypoints(path, person="all", size=SIZE)
    assert isinstance(tracks, list)
    return tracks


def saved(folder: Path, content: Any, encoding: str = "utf-8") -> Path:
    (folder / "k.json").write_bytes(json.dumps(content).encode(encoding))
    return folder / "k.json"


def entries(key: str, label: str) -> list[dict[str, Any]]:
    """One person per frame, whose frame the label names; one frame is left out."""
    return [
        {key: int(name) if (name := label % f).isdigit() and label == "%d" else name, "keypoints": POINTS[f].tolist()}
        for f in range(len(POINTS))
        if f != GONE
    ]


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("frameId", "%d"),
        ("Frame-ID", "%d"),
        ("frame_no", "%06d"),
        ("frame_name", "f%d"),
        ("imgname", "2026-11-29_12-00-00_%06d.jpg"),
        ("source_frame", "%d"),
    ],
)
@pytest.mark.parametrize("people", [1, 2])
def test_frames_are_named_by_keys_in_any_spelling(key: str, label: str, people: int, tmp_path: Path) -> None:
    content = entries(key, label)
    if people == 2:
        for entry in content:
            entry["people"] = [{"keypoints": entry.pop("keypoints")}, {"keypoints": POINTS[3].tolist()}]
    track = max(everybody(saved(tmp_path, content)), key=lambda t: float(np.ptp(t.kp2d[:, 0, 0])))
    present = np.arange(len(POINTS)) != GONE
    assert track.frame_ids.tolist() == list(range(len(POINTS))) and not track.kp2d_conf[GONE].any()
    np.testing.assert_allclose(track.kp2d[present], POINTS[present, :, :2], atol=1e-3)


def test_keys_about_frames_that_name_none_are_no_frames(tmp_path: Path) -> None:
    content = [{"frame_rate": 25, "frame_count": 12, "keypoints": [POINTS[f].tolist()]} for f in range(12)]
    (track,) = everybody(saved(tmp_path, content))
    np.testing.assert_allclose(track.kp2d, POINTS[..., :2], atol=1e-3)


def test_people_may_have_their_frames_below_them(tmp_path: Path) -> None:
    far = POINTS + [400, 0, 0]
    rows = {"7": entries("frame", "%d"), "9": [{"frame": f, "keypoints": far[f].tolist()} for f in range(4)]}
    by_number = {"person_7": {str(f): POINTS[f].tolist() for f in range(12)}, "person_9": {"2": far[2].tolist()}}
    first, second = everybody(saved(tmp_path, rows))
    assert (first.person, second.person, first.num_seen, second.num_seen) == ("7", "9", 11, 4)
    np.testing.assert_allclose(second.kp2d, far[:4, :, :2], atol=1e-3)
    first, second = everybody(saved(tmp_path, by_number))
    assert (first.person, second.person) == ("person_7", "person_9") and second.frame_ids.tolist() == [2]
    by_frame = {str(f): [{"frame": f, "keypoints": POINTS[f].tolist()}] for f in range(12)}
    (only,) = everybody(saved(tmp_path, by_frame))
    np.testing.assert_allclose(only.kp2d, POINTS[..., :2], atol=1e-3)


@pytest.mark.parametrize("mark", [(-1.0, -1.0), (-1000.0, -1000.0)])
def test_equal_negative_coordinates_mark_missing_joints(mark: tuple[float, float], tmp_path: Path) -> None:
    points = POINTS.copy()
    points[:, 9, :2] = mark
    (track,) = everybody(saved(tmp_path, [{"frame": f, "keypoints": p.tolist()} for f, p in enumerate(points)]))
    assert not track.kp2d_conf[:, 9].any() and track.kp2d_conf[:, 8].all()


@pytest.mark.parametrize(("low", "high"), [(-600.0, 500.0), (-0.4, 0.3), (1500.0, 4000.0)])
def test_a_depth_in_the_place_of_confidences_is_told_and_drops_no_joint(
    low: float, high: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    points = POINTS.copy()
    points[..., 2] = np.random.default_rng(0).uniform(low, high, points.shape[:2])
    points[3, 9] = 0.0
    np.save(tmp_path / "k.npy", points)
    (track,) = everybody(tmp_path / "k.npy")
    assert "a depth, no confidence" in caplog.text
    assert int((track.kp2d_conf == 1).sum()) == points.shape[0] * points.shape[1] - 1 and not track.kp2d_conf[3, 9]


def test_confidences_in_percent_become_shares(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = POINTS * [1.0, 1.0, 100.0]
    points[4, :, 2] = 5.0
    (track,) = everybody(saved(tmp_path, [{"frame": f, "keypoints": p.tolist()} for f, p in enumerate(points)]))
    np.testing.assert_allclose(track.kp2d_conf, points[..., 2] / 100, atol=1e-4)
    assert "taken as percent" in caplog.text
    flags = np.where(np.arange(17) % 3, 2.0, 1.0)  # of COCO: seen, and known but hidden
    points[..., 2] = flags
    (track,) = everybody(saved(tmp_path, [{"frame": f, "keypoints": p.tolist()} for f, p in enumerate(points)]))
    assert (track.kp2d_conf == 1).all()


def test_a_list_of_empty_frames_has_nobody(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nobody was detected in any frame"):
        everybody(saved(tmp_path, [[] for _ in range(12)]))


def test_entries_that_are_there_twice_are_one_person(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    twice = [{"frame": f, "keypoints": p.tolist()} for f, p in enumerate(POINTS) for _ in range(2)]
    (track,) = everybody(saved(tmp_path, twice))
    assert track.num_seen == len(POINTS) and f"{len(POINTS)} entries repeat another" in caplog.text


def test_people_may_be_the_first_axis_of_arrays(tmp_path: Path) -> None:
    others = np.stack([POINTS, POINTS + [400, 0, 0]])  # (P, L, J, 3)
    np.savez(tmp_path / "k.npz", keypoints=others[..., :2], scores=others[..., 2])
    for track, points in zip(sorted(everybody(tmp_path / "k.npz"), key=lambda t: t.kp2d[0, 0, 0]), others, strict=True):
        np.testing.assert_allclose(track.kp2d, points[..., :2], atol=1e-3)
        np.testing.assert_allclose(track.kp2d_conf, points[..., 2], atol=1e-3)
    np.savez(tmp_path / "k.npz", keypoints=others.swapaxes(0, 1)[:2])  # two people in two frames stay as they are
    assert [t.num_frames for t in everybody(tmp_path / "k.npz")] == [2, 2]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig"])
def test_text_is_decoded_with_and_without_marks(encoding: str, tmp_path: Path) -> None:
    (track,) = everybody(saved(tmp_path, entries("frame", "%d"), encoding))
    assert track.num_seen == len(POINTS) - 1


def test_coordinates_with_rows_first_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        everybody(saved(tmp_path, POINTS.tolist()))
        assert not caplog.text
        everybody(saved(tmp_path, POINTS[..., [1, 0, 2]].tolist()))
    assert "Bodies lie across the image nearly always: are coordinates (v, u)" in caplog.text


@pytest.mark.filterwarnings("error")
def test_coordinates_beyond_all_images_do_not_hide_the_others(tmp_path: Path) -> None:
    points = POINTS.copy()
    points[:, 9, :2] = 1e300
    content = [{"frame": 0, "people": [{"keypoints": p.tolist()} for p in points]}, {"frame": 1}]
    with pytest.raises(ValueError, match="12 overlapping entries, like one person in many frames"):
        everybody(saved(tmp_path, content))
    np.save(tmp_path / "k.npy", points[None])
    (track,) = everybody(tmp_path / "k.npy")
    assert track.num_frames == 12 and not track.kp2d_conf[:, 9].any()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("t_%d.%03d.jpg", "t_0.000.jpg' and 't_1.000.jpg' would both be frame 0.*name images by frame number"),
        ("12-00-%02d_%03d.jpg", "several numbers that change, and none counts frames"),
    ],
)
def test_names_with_times_are_not_taken_for_frames(names: str, words: str, tmp_path: Path) -> None:
    jitter = 0 if "t_" in names else 1  # milliseconds, so that no two names end alike
    times = [divmod(250 * f + jitter * f, 1000) for f in range(len(POINTS))]
    content = [{"image_name": names % t, "keypoints": p.tolist()} for t, p in zip(times, POINTS, strict=True)]
    with pytest.raises(ValueError, match=words):
        everybody(saved(tmp_path, content))


def test_the_frame_may_stand_before_a_time_in_a_name(tmp_path: Path) -> None:
    names = [f"{f:06d}_{0.25 * f:.3f}.jpg" for f in range(len(POINTS))]
    content = [{"image_name": n, "keypoints": p.tolist()} for n, p in zip(names, POINTS, strict=True)]
    (track,) = everybody(saved(tmp_path, content))
    np.testing.assert_allclose(track.kp2d, POINTS[..., :2], atol=1e-3)


def test_images_of_two_videos_are_refused_or_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    half = len(POINTS) // 2
    coco = {
        "images": [{"id": f, "file_name": f"v{f // half}/{f % half:06d}.jpg"} for f in range(2 * half)],
        "annotations": [{"image_id": f, "keypoints": POINTS[f].ravel().tolist()} for f in range(2 * half)],
    }
    with pytest.raises(ValueError, match=r"'v0/000000.jpg' and 'v1/000000.jpg' would both be frame 0"):
        everybody(saved(tmp_path, coco))
    content = [
        {"image": f"{'ab'[f // half]}_{f:06d}.jpg", "keypoints": p.tolist()} for f, p in enumerate(POINTS[: 2 * half])
    ]
    everybody(saved(tmp_path, content))
    assert "names of 2 series" in caplog.text


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("timestampMs", 1e-3),
        ("time_us", 1e-6),
        ("Time", 1e-3),
        ("timestamp_sec", 1.0),
        ("time", 1.0),
        ("pts_time_ms", 1e-3),
    ],
)
@pytest.mark.parametrize("missing", [0, 1])
def test_time_stamps_beside_frame_numbers_tell_the_rate(key: str, unit: float, missing: int, tmp_path: Path) -> None:
    content = [{"frame": f, key: f / 25 / unit, "keypoints": p.tolist()} for f, p in enumerate(POINTS)]
    for entry in content[2 : 2 + missing]:
        entry[key] = None
    (track,) = everybody(saved(tmp_path, content))
    assert track.fps == pytest.approx(25)
    assert (track.times is None) == bool(missing)
    if track.times is not None:
        np.testing.assert_allclose(track.times, np.arange(len(POINTS)) / 25, atol=1e-9)


def test_confidences_of_fewer_frames_are_refused(tmp_path: Path) -> None:
    content = {"keypoints": POINTS[..., :2].tolist(), "scores": POINTS[1:, :, 2].tolist()}
    with pytest.raises(ValueError, match="has 12 entries of keypoints and 11 of confidences"):
        everybody(saved(tmp_path, content))


def test_files_one_folder_below_are_named(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    saved(tmp_path / "json", [])
    with pytest.raises(ValueError, match="The folder 'json' in it has such files"):
        everybody(tmp_path)
