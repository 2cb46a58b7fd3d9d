"""Kinds of keypoint files that people bring: each is read as what it is, or named."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hmr4d.body.skeleton import (
    BODY25B,
    COCO17,
    H36M17,
    HALPE26,
    MEDIAPIPE33,
    OPENPOSE18,
    OPENPOSE25,
    SMPL22,
    WHOLEBODY23,
)
from hmr4d.keypoint_files.body_order import side_exchanges
from hmr4d.keypoint_files.joint_names import ORDERS, joint_name
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.motion.procedural import synthetic_joints
from tests.data.keypoint_layouts import figure

SIZE = (1280, 720)
CORNER = np.array([1279, 719])
Points = NDArray[np.float64]
Instance = Callable[[Points], dict[str, Any]]


def saved(folder: Path, content: Any, name: str = "keypoints.json", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
    return path


def everybody(path: Path, **options: Any) -> list[KeypointTrack]:
    tracks = read_keypoints(path, person="all", size=SIZE, **options)
    assert isinstance(tracks, list)
    return tracks


def one(path: Path, **options: Any) -> KeypointTrack:
    (track,) = everybody(path, **options)
    return track


def check(track: KeypointTrack, points: Points, skeleton: str = "coco17", tolerance: float = 1e-3) -> None:
    assert track.skeleton.name == skeleton
    np.testing.assert_allclose(track.kp2d, points[..., :2] * (points[..., 2:] > 0), atol=tolerance)
    np.testing.assert_allclose(track.kp2d_conf, points[..., 2], atol=1e-6)


def nested(p: Points) -> dict[str, Any]:
    return {"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()}


def flat(p: Points) -> dict[str, Any]:
    return {"keypoints": p.ravel().tolist()}


def rows(p: Points) -> dict[str, Any]:
    return {"keypoints": p.tolist()}


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


def shares(points: Points) -> Points:
    return np.concatenate([points[..., :2] / CORNER, points[..., 2:]], -1)


@pytest.mark.parametrize("left", [-100.0, 400.0, 1100.0])
def test_shares_of_the_image_may_lie_beyond_it(tmp_path: Path, left: float) -> None:
    points = figure(COCO17.joint_names, 20, left=left)
    points[..., 1] += 300  # feet below the picture
    entries = [{"frame": f, **flat(p)} for f, p in enumerate(shares(points))]
    check(one(saved(tmp_path, entries)), points, tolerance=0.01)


def landmarks(p: Points) -> list[dict[str, float]]:
    return [{"x": u, "y": v, "z": -0.1, "visibility": c} for u, v, c in p.tolist()]


MEDIAPIPE: dict[str, Callable[[Points], Any]] = {
    "frames": lambda s: [landmarks(p) for p in s],
    "frames of people": lambda s: [[landmarks(p)] for p in s],
    "objects": lambda s: [{"pose_landmarks": landmarks(p), "pose_world_landmarks": landmarks(p)} for p in s],
    "protobuf": lambda s: [{"pose_landmarks": {"landmark": landmarks(p)}} for p in s],
    "tasks": lambda s: {"frames": [{"frame": f, "pose_landmarks": [landmarks(p)]} for f, p in enumerate(s)]},
    "camel case": lambda s: [{"image": {}, "poseLandmarks": landmarks(p)} for p in s],
    "by number": lambda s: {str(f): landmarks(p) for f, p in enumerate(s)},
    "rows": lambda s: [{"landmarks": [[u, v, -0.1, c] for u, v, c in p.tolist()]} for p in s],
    "named": lambda s: [
        {
            "keypoints": [{"name": n, **x} for n, x in zip(MEDIAPIPE33.joint_names, landmarks(p), strict=True)],
            "frame": f,
        }
        for f, p in enumerate(s)
    ],
}


@pytest.mark.parametrize("form", MEDIAPIPE)
def test_mediapipe_in_json(tmp_path: Path, form: str) -> None:
    points = figure(MEDIAPIPE33.joint_names)
    check(one(saved(tmp_path, MEDIAPIPE[form](shares(points)))), points, "mediapipe33", 0.01)


@pytest.mark.parametrize("absent", [None, [], {}])
def test_frames_without_landmarks_count(tmp_path: Path, absent: Any) -> None:
    points = figure(MEDIAPIPE33.joint_names)
    content = [absent if f in (3, 4) else landmarks(p) for f, p in enumerate(shares(points))]
    points[3:5] = 0
    check(one(saved(tmp_path, content)), points, "mediapipe33", 0.01)


def test_time_stamps_count_frames(tmp_path: Path) -> None:
    points = figure(MEDIAPIPE33.joint_names)
    content = [{"timestamp_ms": 40 * f, "landmarks": landmarks(p)} for f, p in enumerate(shares(points)) if f != 6]
    track = one(saved(tmp_path, content))
    points[6] = 0
    check(track, points, "mediapipe33", 0.01)
    assert track.fps == 25


@pytest.mark.parametrize("columns", ["xyzv flat", "xyzv", "xyz", "xy", "xyzvp"])
def test_mediapipe_in_arrays(tmp_path: Path, columns: str) -> None:
    points = figure(MEDIAPIPE33.joint_names)
    u, v, conf = np.moveaxis(shares(points), -1, 0)
    depth = np.linspace(-0.3, 0.3, 33) + 0 * u
    table = {"x": u, "y": v, "z": depth, "v": conf, "p": conf}
    array = np.stack([table[c] for c in columns.split(maxsplit=1)[0]], -1)
    np.save(tmp_path / "k.npy", array.reshape(len(array), -1) if "flat" in columns else array)
    if "v" not in columns:
        points[..., 2] = 1
    check(one(tmp_path / "k.npy"), points, "mediapipe33", 0.01)


def test_depths_of_joints_are_read_in_the_order_of_the_skeleton(tmp_path: Path) -> None:
    names = tuple(reversed(MEDIAPIPE33.joint_names))
    points = figure(names)
    points[3, 4] = 0
    told: list[float | None] = [0.01 * k for k in range(33)]
    told[7] = None
    content = {
        "meta_info": {"keypoint_id2name": dict(enumerate(names))},
        "instance_info": [
            {"frame_id": f, "instances": [nested(p) | ({} if f == 5 else {"keypoint_depths": told})]}
            for f, p in enumerate(points)
        ],
    }
    depth = one(saved(tmp_path, content)).depth
    assert depth is not None
    expected = np.tile(np.array(told, float), (len(points), 1))
    expected[5], expected[3, 4] = np.nan, np.nan
    np.testing.assert_allclose(depth[:, ::-1], expected, atol=1e-6)


def test_depths_that_are_not_one_for_each_joint_are_named(tmp_path: Path) -> None:
    points = figure(COCO17.joint_names)
    for wrong in ([0.1] * 16, ["near"] * 17, 0.3):
        content = [{"frame_id": f, "instances": [nested(p) | {"keypoint_depths": wrong}]} for f, p in enumerate(points)]
        with pytest.raises(ValueError, match="keypoint_depths of a person in frame 0 is .*; expected 17 numbers"):
            one(saved(tmp_path, content))


def ultralytics(p: Points, number: int) -> dict[str, Any]:
    u, v, c = p.T.tolist()
    return {
        "name": "person",
        "class": 0,
        "confidence": 0.9,
        "box": {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0},
        "track_id": number,
        "keypoints": {"x": u, "y": v, "visible": c},
    }


@pytest.mark.parametrize("form", ["lists", "texts", "shares", "objects", "lines"])
def test_ultralytics(tmp_path: Path, form: str) -> None:
    people = {3: figure(COCO17.joint_names), 8: figure(COCO17.joint_names, left=700.0, seed=2)}
    frames = [[ultralytics((shares(p) if form == "shares" else p)[f], n) for n, p in people.items()] for f in range(12)]
    content: Any = frames
    if form == "texts":
        content = [json.dumps(frame) for frame in frames]
    elif form == "objects":
        content = [{"frame": f, "predictions": frame} for f, frame in enumerate(frames)]
    elif form == "lines":
        content = "\n".join(json.dumps(frame) for frame in frames)
    for track in everybody(saved(tmp_path, content)):
        check(track, people[int(track.person)], tolerance=0.01)


def test_boxes_without_joints_are_named(tmp_path: Path) -> None:
    boxes = [[{"name": "person", "class": 0, "confidence": 0.9, "box": {"x1": 1.0, "y1": 2.0}}]]
    with pytest.raises(ValueError, match=r"none of the known layouts|use a pose model"):
        everybody(saved(tmp_path, boxes))


def test_whole_body_keeps_the_feet(tmp_path: Path) -> None:
    body = figure(WHOLEBODY23.joint_names)
    rest = np.repeat(body[:, :1], 110, 1)  # face and hands
    points = np.concatenate([body, rest], 1)
    frames = [{"frame_id": f, "instances": [nested(p)]} for f, p in enumerate(points)]
    content = {"meta_info": {"dataset_name": "coco_wholebody"}, "instance_info": frames}
    check(one(saved(tmp_path, content)), body, "wholebody23")


@pytest.mark.parametrize("form", ["npz", "json", "npz one"])
def test_rtmlib_arrays_of_people(tmp_path: Path, form: str) -> None:
    people = [figure(COCO17.joint_names, left=150.0), figure(COCO17.joint_names, left=800.0, seed=1)]
    points = np.stack(people[:1] if form == "npz one" else people, 1)  # (L, P, J, 3)
    path = tmp_path / "k.npz"
    if form == "json":
        frames = [
            {"frame": f, "keypoints": p[..., :2].tolist(), "scores": p[..., 2].tolist()} for f, p in enumerate(points)
        ]
        path = saved(tmp_path, frames)
    else:
        np.savez(path, keypoints=points[..., :2], scores=points[..., 2])
    tracks = sorted(everybody(path), key=lambda track: track.kp2d[0, 0, 0])
    assert len(tracks) == points.shape[1]
    for track, expected in zip(tracks, people, strict=False):
        check(track, expected)


APPLE = {
    "head_joint": "nose",
    "neck_1_joint": "neck",
    "root": "pelvis",
    **{
        f"{side}_{theirs}_joint": f"{side}_{ours}"
        for side in ("left", "right")
        for theirs, ours in (
            ("eye", "eye"),
            ("ear", "ear"),
            ("shoulder_1", "shoulder"),
            ("forearm", "elbow"),
            ("hand", "wrist"),
            ("upLeg", "hip"),
            ("leg", "knee"),
            ("foot", "ankle"),
        )
    },
}
SWIFT = {
    name: "".join(w if i == 0 else w.title() for i, w in enumerate(joint.split("_"))) for name, joint in APPLE.items()
} | {"root": "root"}


@pytest.mark.parametrize("spelling", [APPLE, SWIFT], ids=["raw", "swift"])
def test_apple_vision_counts_upwards(tmp_path: Path, spelling: dict[str, str]) -> None:
    names = list(APPLE) if spelling is APPLE else [SWIFT[name] for name in APPLE]
    points = figure([APPLE[name] for name in APPLE])
    up = shares(points)
    up[..., 1] = 1 - up[..., 1]
    frames = [
        {"frame": f, "joints": {n: {"x": u, "y": v, "confidence": c} for n, (u, v, c) in zip(names, p, strict=True)}}
        for f, p in enumerate(up.tolist())
    ]
    track = one(saved(tmp_path, frames))
    expected = np.zeros((12, 25, 3))
    expected[:, list(OPENPOSE25.indices(*APPLE.values()))] = points
    check(track, expected, "openpose25", 0.01)


def test_apple_vision_without_neck_and_root_counts_upwards(tmp_path: Path) -> None:
    """Joints that are not found are left out of a frame: the neck and the root come later, or never."""
    names = [n for n in SWIFT if n not in ("neck_1_joint", "root")]
    points = figure([APPLE[n] for n in names])
    up = shares(points)
    up[..., 1] = 1 - up[..., 1]
    frames: list[dict[str, Any]] = [
        {
            "frame": f,
            "joints": {SWIFT[n]: {"x": u, "y": v, "confidence": c} for n, (u, v, c) in zip(names, p, strict=True)},
        }
        for f, p in enumerate(up.tolist())
    ]
    expected = np.zeros((12, 17, 3))
    expected[:, list(COCO17.indices(*(APPLE[n] for n in names)))] = points
    check(one(saved(tmp_path, frames)), expected, tolerance=0.01)
    knee = frames[0]["joints"].pop("leftKnee")
    assert knee and one(saved(tmp_path, frames)).num_seen == 12  # the knee of the other frames is kept
    track = one(saved(tmp_path, frames))
    (joint,) = COCO17.indices("left_knee")
    assert track.kp2d_conf[0, joint] == 0 and (track.kp2d_conf[1:, joint] > 0).all()


@pytest.mark.parametrize("layout", ["coco", "mmpose"])
def test_shares_may_count_from_the_middle_of_the_image(tmp_path: Path, layout: str) -> None:
    points = figure(COCO17.joint_names)
    middle = shares(points)
    middle[..., :2] = 2 * middle[..., :2] - 1
    rows = [p.ravel().tolist() if layout == "coco" else p.tolist() for p in middle]
    key = "image_id" if layout == "coco" else "frame"
    entries = [{key: f, "category_id": 1, "keypoints": row} for f, row in enumerate(rows)]
    check(one(saved(tmp_path, entries)), points, tolerance=0.01)


def deeplabcut(points: Points, names: Sequence[str], individuals: Sequence[str] = ()) -> str:
    heads = {"bodyparts": [n for n in names for _ in range(3)], "coords": ["x", "y", "likelihood"] * len(names)}
    lines = ["scorer," + ",".join(["DLC"] * 3 * len(names) * max(1, len(individuals)))]
    if individuals:
        lines.append("individuals," + ",".join(i for i in individuals for _ in range(3 * len(names))))
    lines += [f"{key}," + ",".join(cells * max(1, len(individuals))) for key, cells in heads.items()]
    return "\n".join([*lines, *(f"{f}," + ",".join(f"{x:.2f}" for x in p.ravel()) for f, p in enumerate(points))])


def test_deeplabcut_tables(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [n for n in COCO17.joint_names if "ear" not in n]
    points = figure(names)
    spelled = ["".join(w.title() for w in n.split("_")) for n in names]
    expected = np.zeros((12, 17, 3))
    expected[:, list(COCO17.indices(*names))] = points
    check(one(saved(tmp_path, deeplabcut(points, spelled), "k.csv")), expected)
    both = np.concatenate([points, figure(names, left=800.0)], 1)
    tracks = everybody(saved(tmp_path, deeplabcut(both, spelled, ["anna", "ben"]), "k.csv"))
    assert {track.person for track in tracks} == {"anna", "ben"}
    semicolons = deeplabcut(points, spelled).replace(",", ";").replace(".", ",").replace("\n", "\r\n")
    check(one(saved(tmp_path, semicolons, "k.csv")), expected)
    with pytest.raises(ValueError, match="it names its 3 joints snout"):
        everybody(saved(tmp_path, deeplabcut(points[:, :3], ["snout", "tail", "paw"]), "k.csv"))
    with pytest.raises(ValueError, match=r"not DeepLabCut's"):
        everybody(saved(tmp_path, "a,b\n1,2\n", "k.csv"))


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
def test_what_is_not_read_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        everybody(tmp_path / name)


@pytest.mark.parametrize("fps", [0.0, -25.0, float("inf"), float("nan"), 1e300])
def test_a_frame_rate_of_no_camera_is_not_used_and_said(
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


def test_one_bad_entry_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
