"""Files of particular detectors: MediaPipe, Ultralytics, rtmlib, Apple Vision and DeepLabCut."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.body.skeleton import (
    COCO17,
    MEDIAPIPE33,
    OPENPOSE25,
    WHOLEBODY23,
)
from tests.data.keypoint_layouts import figure
from tests.keypoint_files.files import Points, check, everybody, nested, one, saved, shares


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
