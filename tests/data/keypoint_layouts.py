"""The same people written in every layout that the readers know."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

People = dict[str, NDArray[np.float64]]  # id -> (L, J, 3) u, v, confidence; a frame of zeros: not there


def walk(num_frames: int = 12, num_joints: int = 17, *, seed: int = 0, left: float = 300.0) -> NDArray[np.float64]:
    """(L, J, 3) a person of 200 by 400 pixels that moves 4 pixels a frame; two decimals, so that text holds it."""
    rng = np.random.default_rng(seed)
    body = rng.uniform((0, 0), (200, 400), (num_joints, 2))
    points = body + rng.normal(0, 2, (num_frames, num_joints, 2))
    points[..., 0] += left + 4 * np.arange(num_frames)[:, None]
    points[..., 1] += 150
    conf = rng.uniform(0.3, 1.0, (num_frames, num_joints, 1))
    return np.round(np.concatenate([points, conf], -1), 2)


# A person who stands 400 pixels tall and faces the camera: joint -> u, v; left is at the right.
_STANDING = {
    "nose": (0, 28),
    "eye": (7, 22),
    "eye_inner": (4, 22),
    "eye_outer": (10, 22),
    "ear": (16, 26),
    "mouth": (6, 36),
    "head": (0, 2),
    "neck": (0, 70),
    "thorax": (0, 72),
    "shoulder": (42, 72),
    "elbow": (56, 135),
    "wrist": (62, 195),
    "pinky": (64, 210),
    "index": (60, 212),
    "thumb": (56, 205),
    "hand": (62, 215),
    "collar": (15, 76),
    "pelvis": (0, 200),
    "spine": (0, 135),
    "spine1": (0, 175),
    "spine2": (0, 145),
    "spine3": (0, 120),
    "hip": (24, 202),
    "knee": (28, 295),
    "ankle": (30, 385),
    "heel": (30, 396),
    "foot": (36, 396),
    "big_toe": (34, 402),
    "small_toe": (44, 400),
    "foot_index": (38, 402),
}


def figure(names: Sequence[str], num_frames: int = 12, *, left: float = 400.0, seed: int = 0) -> NDArray[np.float64]:
    """(L, J, 3) a person who walks to the right, 4 pixels a frame, joints in the order of their names."""
    rng = np.random.default_rng(seed)
    frames = np.arange(num_frames)
    points = np.zeros((num_frames, len(names), 3))
    for joint, name in enumerate(names):
        side = 1 if name.startswith("left_") else -1 if name.startswith("right_") else 0
        u, v = _STANDING[name.removeprefix("left_").removeprefix("right_")]
        swing = side * 25 * np.sin(frames / 3) if v > 230 or name.endswith(("wrist", "elbow")) else 0
        points[:, joint, 0] = left + 4 * frames + u * (side or 1) + swing
        points[:, joint, 1] = 150 + v
    points[..., :2] += rng.normal(0, 1.5, (num_frames, len(names), 2))
    points[..., 2] = rng.uniform(0.4, 1.0, (num_frames, len(names)))
    return np.round(points, 2)


def _entries(people: People) -> list[tuple[int, str, NDArray[np.float64]]]:
    """(frame, id, (J, 3)) of everybody who is there, in order of frames."""
    num_frames = max(map(len, people.values()))
    return [(f, name, points[f]) for f in range(num_frames) for name, points in people.items() if points[f].any()]


def _frames(people: People, entry: Callable[[str, NDArray[np.float64]], Any]) -> list[list[Any]]:
    found: list[list[Any]] = [[] for _ in range(max(map(len, people.values())))]
    for frame, name, points in _entries(people):
        found[frame].append(entry(name, points))
    return found


def _save(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _instance(name: str, points: NDArray[np.float64], with_id: bool = True) -> dict[str, Any]:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    instance: dict[str, Any] = {
        "keypoints": points[:, :2].tolist(),
        "keypoint_scores": points[:, 2].tolist(),
        "bbox": [[*low, *high]],
    }
    return {**instance, "track_id": int(name)} if with_id else instance


def write_coco(folder: Path, people: People) -> Path:
    return _save(
        folder / "coco.json",
        [
            {"image_id": f, "category_id": 1, "keypoints": p.ravel().tolist(), "score": 0.9, "track_id": int(name)}
            for f, name, p in _entries(people)
        ],
    )


def write_alphapose(folder: Path, people: People) -> Path:
    return _save(
        folder / "alphapose.json",
        [
            {
                "image_id": f"{f}.jpg",
                "category_id": 1,
                "keypoints": p.ravel().tolist(),
                "score": 2.7,
                "idx": [float(name)],
            }
            for f, name, p in _entries(people)
        ],
    )


def write_openpose(folder: Path, people: People) -> Path:
    place = folder / "openpose"
    place.mkdir()
    for frame, found in enumerate(
        _frames(people, lambda name, p: {"person_id": [int(name)], "pose_keypoints_2d": p.ravel().tolist()})
    ):
        _save(place / f"clip2_{frame:012d}_keypoints.json", {"version": 1.3, "people": found})
    return place


def write_mmpose_video(folder: Path, people: People) -> Path:
    frames = [{"frame_id": f, "instances": found} for f, found in enumerate(_frames(people, _instance))]
    names = {"0": "nose", "1": "left_eye"}
    return _save(folder / "mmpose.json", {"meta_info": {"keypoint_id2name": names}, "instance_info": frames})


def write_mmpose_list(folder: Path, people: People) -> Path:
    return _save(folder / "mmpose_list.json", _frames(people, _instance))


def write_vitpose(folder: Path, people: People) -> Path:
    frames = [dict(found) for found in _frames(people, lambda name, p: (name, p[:, [1, 0, 2]].tolist()))]
    return _save(folder / "vitpose.json", {"keypoints": frames, "skeleton": {"0": "nose"}})


def write_npz(folder: Path, people: People) -> Path:
    (points,) = people.values()
    np.savez(folder / "track.npz", kp2d=points[..., :2], kp2d_conf=points[..., 2], person=next(iter(people)))
    return folder / "track.npz"


def write_npy(folder: Path, people: People) -> Path:
    (points,) = people.values()
    np.save(folder / "track.npy", points)
    return folder / "track.npy"


LAYOUTS: dict[str, Callable[[Path, People], Path]] = {
    "coco": write_coco,
    "alphapose": write_alphapose,
    "openpose": write_openpose,
    "mmpose": write_mmpose_video,
    "mmpose list": write_mmpose_list,
    "vitpose": write_vitpose,
    "npz": write_npz,
    "npy": write_npy,
}
