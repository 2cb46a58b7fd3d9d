"""Kinds of keypoint files that people bring: each is read as what it is, or named."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.body.skeleton import (
    BODY25B,
    COCO17,
    H36M17,
    HALPE26,
    MEDIAPIPE33,
    OPENPOSE18,
    OPENPOSE25,
    SMPL22,
)
from hmr4d.keypoint_files.body_order import side_exchanges
from hmr4d.keypoint_files.joint_names import ORDERS, joint_name
from hmr4d.motion.procedural import synthetic_joints
from tests.data.keypoint_layouts import figure
from tests.keypoint_files.files import (
    Instance,
    check,
    everybody,
    flat,
    nested,
    one,
    rows,
    saved,
    shares,
)


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("image_id", "{}"),
        ("frame_id", 0),
        ("frame", 0),
        ("frame_index", 0),
        ("image_name", "walk_{:06d}.jpg"),
        ("file_name", "a/b/walk_{:06d}_1080p.png"),
        ("image_path", "C:\\v\\{:03d}.jpg"),
        ("image", "{}.jpg"),
    ],
)
@pytest.mark.parametrize("instance", [nested, flat, rows])
def test_flat_lists_name_their_frames(tmp_path: Path, key: str, label: Any, instance: Instance) -> None:
    points = figure(COCO17.joint_names, 20)
    entries = [{key: f + 7 if label == 0 else label.format(f + 7), **instance(p)} for f, p in enumerate(points)]
    entries = entries[10:] + entries[:10]  # in any order
    track = one(saved(tmp_path, entries))
    check(track, points)
    assert track.frame_ids[0] == 7


@pytest.mark.parametrize("extra", [{}, {"track_id": 1}, {"image_id": 5}, {"frame": 0}])
def test_many_entries_without_frames_are_refused(tmp_path: Path, extra: dict[str, Any]) -> None:
    entries = [{**nested(p), **extra} for p in figure(COCO17.joint_names, 8)]
    with pytest.raises(ValueError, match="it has 8 entries, and .*Give every entry its frame"):
        everybody(saved(tmp_path, entries))


@pytest.mark.parametrize("key", ["7", "frame_{}", "img{:04d}", "a/{}.jpg", "person_{}"])
def test_objects_of_frames_are_distinguished_from_objects_of_people(tmp_path: Path, key: str) -> None:
    points = figure(COCO17.joint_names, 8)
    if key in ("7", "person_{}"):  # one person's frames, listed under an id
        with pytest.raises(ValueError, match=r"overlapping entries|has no 'pose_keypoints_2d'"):
            everybody(
                saved(
                    tmp_path,
                    {key.format(i): [p.tolist() for p in points] for i in (7, 8)}
                    if "{" in key
                    else {"7": [p.tolist() for p in points], "8": []},
                )
            )
    else:
        check(one(saved(tmp_path, {key.format(f): [flat(p)] for f, p in enumerate(points)})), points)


def test_joints_and_confidences_side_by_side(tmp_path: Path) -> None:
    points = figure(COCO17.joint_names)
    check(one(saved(tmp_path, {"keypoints": points[..., :2].tolist(), "scores": points[..., 2].tolist()})), points)


def test_coco_images_tell_the_frames(tmp_path: Path) -> None:
    points = figure(COCO17.joint_names, 6)
    ids = [90311, 17, 55002, 4, 777, 12345]
    content = {
        "images": [{"id": i, "file_name": f"clip_{f:05d}.jpg"} for f, i in enumerate(ids)],
        "annotations": [
            {"id": 40 + f, "image_id": i, **flat(p)} for f, (i, p) in enumerate(zip(ids, points, strict=True))
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    check(one(saved(tmp_path, content)), points)


ANY_ID: dict[str, Callable[[int, int], Any]] = {
    "zero": lambda f, p: 0,
    "one": lambda f, p: 1,
    "minus one": lambda f, p: -1,
    "none": lambda f, p: None,
    "index": lambda f, p: p,
}


@pytest.mark.parametrize("kind", ANY_ID)
def test_ids_that_identify_nobody_are_ignored(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    people = [figure(COCO17.joint_names, 20, left=200.0), figure(COCO17.joint_names, 20, left=800.0, seed=1)]
    entries: list[dict[str, Any]] = []
    for frame in range(20):
        order = people if frame % 3 else people[::-1]
        entries += [{"image_id": frame, "idx": ANY_ID[kind](frame, i), **flat(p[frame])} for i, p in enumerate(order)]
    tracks = sorted(everybody(saved(tmp_path, entries)), key=lambda track: track.kp2d[0, 0, 0])
    assert len(tracks) == 2
    for track, points in zip(tracks, people, strict=True):
        check(track, points)
    assert ("boxes" in caplog.text) == (kind not in ("minus one", "none"))


def test_ids_that_count_from_zero_and_hold_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    people = [figure(COCO17.joint_names, 20, left=200.0), figure(COCO17.joint_names, 20, left=500.0, seed=1)]
    entries = [{"frame": f, "track_id": i, **flat(p[f])} for f in range(20) for i, p in enumerate(people)]
    for track in everybody(saved(tmp_path, entries)):
        check(track, people[int(track.person)])
    assert "boxes" not in caplog.text


EQUAL_COUNTS = [order for orders in ORDERS.values() for order in orders if len(orders) > 1]


@pytest.mark.parametrize("order", EQUAL_COUNTS, ids=lambda order: order.name)
def test_orders_of_equal_counts_are_distinguished_by_the_body(
    tmp_path: Path, order: Any, caplog: pytest.LogCaptureFixture
) -> None:
    points = figure(order.joint_names, 20)
    np.save(tmp_path / "k.npy", points)
    check(one(tmp_path / "k.npy"), points[:, order.order], order.skeleton.name)
    others = {o.skeleton.name for o in EQUAL_COUNTS if len(o.joint_names) == len(order.joint_names)}
    for wrong in others - {order.skeleton.name}:
        with pytest.raises(ValueError, match=f"not in the order of '{wrong}'.*order of"):
            everybody(tmp_path / "k.npy", skeleton=wrong)
    assert "do not look like a body" not in caplog.text


def test_shuffled_joints_are_rated_doubtful(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = figure(HALPE26.joint_names, 20)[:, np.random.default_rng(3).permutation(26)]
    np.save(tmp_path / "k.npy", points)
    one(tmp_path / "k.npy")
    assert "do not look like a body in the order of halpe26" in caplog.text


def test_sides_that_change_places_at_once_are_found() -> None:
    joints = synthetic_joints("walk", 60, np.random.default_rng(0)) @ [[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]]
    track = np.ones((60, 22, 3))
    track[..., :2] = joints[..., :2] * [100, -100] + [640, 500]
    track[..., :2] += np.random.default_rng(1).normal(0, 1, (60, 22, 2))
    assert side_exchanges(track, SMPL22) == []
    turned = np.stack(
        [track[frame] if not 20 <= frame < 33 else track[frame, list(SMPL22.mirror_order)] for frame in range(60)]
    )
    assert side_exchanges(turned, SMPL22) == [20, 33]
    turned[[19, 34], :, 2] = 0
    assert side_exchanges(turned, SMPL22) == [33]
    assert side_exchanges(turned[:1], SMPL22) == []


def test_heads_below_feet_are_rated_doubtful(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = figure(HALPE26.joint_names)
    points[..., 1] = 719 - points[..., 1]
    np.save(tmp_path / "k.npy", points)
    one(tmp_path / "k.npy")
    assert "Heads are below feet" in caplog.text


@pytest.mark.parametrize("nobody", [{}, None, [], {"pose_keypoints_2d": None}, {"pose_keypoints_2d": []}])
def test_placeholders_are_nobody_and_keep_their_place(tmp_path: Path, nobody: Any) -> None:
    points = figure(OPENPOSE25.joint_names)
    for f, p in enumerate(points):
        people = [nobody, {"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()}]
        saved(tmp_path / "cam", {"people": None if f == 5 else people}, f"c_{f:06d}_keypoints.json")
    (tmp_path / "cam" / "c_000003_keypoints.json").write_bytes(b"")
    points[[3, 5]] = 0
    track = one(tmp_path / "cam")
    check(track, points, "openpose25")
    assert track.person == ("1" if nobody in ({}, None, []) else "0")


def test_hidden_empty_and_damaged_files_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = figure(OPENPOSE25.joint_names)
    for f, p in enumerate(points):
        saved(tmp_path / "k", {"people": [{"pose_keypoints_2d": p.ravel().tolist()}]}, f"w_{f:03d}.json")
        (tmp_path / "k" / f"._w_{f:03d}.json").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    saved(tmp_path / "k", "{\x1b[31m", "w_004.json")
    points[4] = 0
    check(one(tmp_path / "k"), points, "openpose25")
    assert "1 of 12 files are skipped: w_004.json" in caplog.text and "\x1b" not in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_marked_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    points = figure(COCO17.joint_names)
    text = json.dumps([{"frame": f, **flat(p)} for f, p in enumerate(points)])
    mark = "\ufeff" if encoding[-2:] in ("le", "be") else ""
    check(one(saved(tmp_path, mark + text, encoding=encoding)), points)


@pytest.mark.parametrize("mark", [-1.0, 0.0, None, float("nan"), -5.0])
@pytest.mark.parametrize("columns", [2, 3])
def test_marks_for_missing_are_no_places(tmp_path: Path, mark: float | None, columns: int) -> None:
    points = figure(COCO17.joint_names, 20)
    wrist = COCO17.index("left_wrist")
    points[5:9, :, 2] = points[:, wrist, 2] = points[2, 10:13, 2] = 0
    lines: Any = points[..., :columns].tolist()
    for frame, joint in zip(*np.nonzero(points[..., 2] == 0), strict=True):
        lines[frame][joint] = [mark, mark, 0.9][:columns]
    track = one(saved(tmp_path, [{"frame": f, "keypoints": line} for f, line in enumerate(lines)]))
    np.testing.assert_array_equal(track.kp2d_conf > 0, points[..., 2] > 0)
    assert track.num_seen == 16 and not track.kp2d[track.kp2d_conf == 0].any()


def test_joints_that_lie_close_are_kept(tmp_path: Path) -> None:
    """Whole pixels of somebody who stands still, with eyes in one place, hide no mark."""
    points = np.repeat(figure(MEDIAPIPE33.joint_names, 1), 9, 0)
    points[..., :2] = np.round(points[..., :2])
    points[:, 1:4, :2] = points[:, 1:2, :2]
    np.save(tmp_path / "k.npy", points)
    assert (one(tmp_path / "k.npy").kp2d_conf > 0).all()


@pytest.mark.parametrize("left", [-100.0, 400.0, 1100.0])
def test_shares_of_the_image_may_lie_beyond_it(tmp_path: Path, left: float) -> None:
    points = figure(COCO17.joint_names, 20, left=left)
    points[..., 1] += 300  # feet below the picture
    entries = [{"frame": f, **flat(p)} for f, p in enumerate(shares(points))]
    check(one(saved(tmp_path, entries)), points, tolerance=0.01)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("LShoulder", "left_shoulder"),
        ("r_elbow", "right_elbow"),
        ("Wrist.L", "left_wrist"),
        ("left big toe", "left_big_toe"),
        ("RIGHT_FOOT_INDEX", "right_foot_index"),
        ("hip1", "right_hip"),
        ("MidHip", "pelvis"),
        ("leftUpLeg", "left_up_leg"),
        ("left_upLeg_joint", "left_hip"),
        ("tail", "tail"),
    ],
)
def test_names_of_joints_in_any_spelling(spelled: str, name: str) -> None:
    assert joint_name(spelled) == name


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n", "HDF5 file .*save_as_csv"),
        ("a.trc", b"PathFileType\t4", "TRC file: 3D"),
        ("a.dat", b"PathFileType\t4", "TRC file: 3D"),
        ("a.bvh", b"HIERARCHY", "BVH"),
        ("a.c3d", b"\x02P", "C3D"),
        ("a.txt", b"0 0.5 0.5", "YOLO's labels"),
        ("a.json", b"PK\x03\x04", "archive"),
        ("a.png", b"\x89PNG", "an image"),
        ("a.pt", b"x", "pickled"),
        ("a.yaml", b"size: [1, 2]", "the first argument is the keypoints"),
    ],
)
def test_unsupported_files_are_named_in_the_message(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        everybody(tmp_path / name)


@pytest.mark.parametrize("fps", [0.0, -25.0, float("inf"), float("nan"), 1e300])
def test_an_implausible_frame_rate_is_not_used_and_gives_a_warning(
    tmp_path: Path, fps: float, caplog: pytest.LogCaptureFixture
) -> None:
    points = figure(COCO17.joint_names, 4)
    np.savez(tmp_path / "k.npz", kp2d=points[..., :2], kp2d_conf=points[..., 2], fps=fps)
    content = {"fps": fps, "frames": [{"frame": f, **flat(p)} for f, p in enumerate(points)]}
    for path in (tmp_path / "k.npz", saved(tmp_path, content)):
        caplog.clear()
        assert one(path).fps is None and "frame rate is" in caplog.text


@pytest.mark.parametrize(
    ("written", "fps"), [("30000/1001", 29.97), ("25", 25), (" 59.94 ", 59.94), ("0/0", None), ("25 Hz", None)]
)
def test_a_frame_rate_may_be_text_and_a_quotient(tmp_path: Path, written: str, fps: float | None) -> None:
    frames = [{"frame": f, **flat(p)} for f, p in enumerate(figure(COCO17.joint_names, 4))]
    read = one(saved(tmp_path, {"fps": written, "frames": frames})).fps
    assert read is None if fps is None else read == pytest.approx(fps, abs=1e-2)


def test_named_joints_without_confidences_may_be_absent(tmp_path: Path) -> None:
    points = figure(COCO17.joint_names, 12)
    frames = [
        {"frame": f, "joints": {n: p[j, :2].tolist() for j, n in enumerate(COCO17.joint_names) if (f + j) % 5}}
        for f, p in enumerate(points)
    ]
    track = one(saved(tmp_path, frames))
    there = (np.arange(12)[:, None] + np.arange(17)) % 5 > 0
    assert ((track.kp2d_conf > 0) == there).all()


def test_names_in_no_english_are_reported_as_such(tmp_path: Path) -> None:
    names, points = [chr(0x9F3B + j) for j in range(17)], figure(COCO17.joint_names, 1)[0]
    frames = [{"frame": 0, "joints": {n: p[:2].tolist() for n, p in zip(names, points, strict=True)}}]
    with pytest.raises(ValueError, match="names that are not known .*Use English names"):
        one(saved(tmp_path, frames))


def test_one_bad_entry_is_excluded_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hmr4d")
    points = figure(COCO17.joint_names)
    entries: list[Any] = [{"frame": f, **flat(p)} for f, p in enumerate(points)]
    entries[3]["keypoints"] = ["\x1b[2J", "x"]
    entries[6]["keypoints"] = entries[6]["keypoints"][:36]
    del entries[8]["frame"]
    points[[3, 6, 8]] = 0
    check(one(saved(tmp_path, entries)), points)
    assert "2 of 12 entries are skipped" in caplog.text and "1 of 10 entries are skipped" in caplog.text
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("skeleton", [COCO17, H36M17, OPENPOSE18, BODY25B], ids=lambda s: s.name)
def test_a_named_right_skeleton_is_taken(tmp_path: Path, skeleton: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hmr4d")
    points = figure(skeleton.joint_names)
    np.save(tmp_path / "k.npy", points)
    check(one(tmp_path / "k.npy", skeleton=skeleton.name), points, skeleton.name)
    assert not caplog.text
