"""Readers of keypoints and cameras meet broken files: a result, or one clear sentence; no crash, no hang, no warning.

`python -m tests.data.test_reader_fuzz 20000` tries as many inputs of each kind and prints the figures.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hmr4d.body.skeleton import COCO17, MEDIAPIPE33, OPENPOSE25
from hmr4d.camera.camera_files import read_camera
from hmr4d.keypoint_files.reading import NobodyError, read_keypoints
from tests.data.keypoint_layouts import LAYOUTS, figure
from tests.data.mutations import damaged, mutated

SLOWEST = 2.0  # seconds of the processor
Maker = Callable[[Path, np.random.Generator], Path]


def _json_seeds() -> tuple[Any, ...]:
    body, face = figure(COCO17.joint_names, 4), figure(MEDIAPIPE33.joint_names, 4) / (1280, 720, 1)
    seeds: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, write in LAYOUTS.items():
            if not name.startswith(("np", "openpose")):
                seeds.append(json.loads(write(Path(folder), {"3": body, "1": body + 100}).read_text()))
    points = [[{"x": u, "y": v, "z": 0.1, "visibility": c} for u, v, c in p] for p in face.tolist()]
    named = [
        {
            "frame": f,
            "joints": {
                n: {"x": u, "y": v, "confidence": c} for n, (u, v, c) in zip(COCO17.joint_names, p, strict=True)
            },
        }
        for f, p in enumerate(body.tolist())
    ]
    u, v, c = np.moveaxis(body, -1, 0).tolist()
    objects = [
        [{"box": {"x1": 1.0}, "track_id": 1, "keypoints": {"x": u[f], "y": v[f], "visible": c[f]}}] for f in range(4)
    ]
    flat = [{"image_name": f"a_{f}.jpg", "id": 5, "keypoints": p.tolist()} for f, p in enumerate(body)]
    coco = {
        "images": [{"id": 9 * f, "file_name": f"v_{f}.jpg"} for f in range(4)],
        "annotations": [{"image_id": 9 * f, "keypoints": p.ravel().tolist()} for f, p in enumerate(body)],
        "categories": [{"keypoints": list(COCO17.joint_names)}],
    }
    timed = [{"timestamp": 0.04 * f, "pose_landmarks": [p]} for f, p in enumerate(points)]
    texts = [json.dumps(o) for o in objects]
    by_number = {str(f): p for f, p in enumerate(points)}
    return (*seeds, points, {"frames": timed}, named, objects, flat, coco, texts, by_number)


JSON_SEEDS = _json_seeds()


def _json_file(folder: Path, rng: np.random.Generator) -> Path:
    content = JSON_SEEDS[int(rng.integers(len(JSON_SEEDS)))]
    if rng.random() < 0.85:
        content = mutated(content, rng, JSON_SEEDS)
    data = json.dumps(content).encode()
    (folder / "k.json").write_bytes(damaged(data, rng) if rng.random() < 0.2 else data)
    return folder / "k.json"


def _folder(folder: Path, rng: np.random.Generator) -> Path:
    place = folder / "frames"
    place.mkdir(exist_ok=True)
    for file in place.iterdir():
        file.unlink()
    for f, p in enumerate(figure(OPENPOSE25.joint_names, 4)):
        content: Any = {"people": [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()}, {}]}
        if rng.random() < 0.4:
            content = mutated(content, rng, JSON_SEEDS)
        data = json.dumps(content).encode()
        (place / f"a_{f:03d}_keypoints.json").write_bytes(damaged(data, rng) if rng.random() < 0.15 else data)
    return place


def _array_file(folder: Path, rng: np.random.Generator) -> Path:
    points = figure(COCO17.joint_names, 4)
    arrays: dict[str, Any] = {
        "keypoints": points[..., :2],
        "scores": points[..., 2],
        "fps": 25.0,
        "frame_ids": np.arange(4),
        "skeleton": "coco17",
        "person": "3",
    }
    for _ in range(int(rng.integers(0, 4))):
        key = list(arrays)[int(rng.integers(len(arrays)))]
        odd = (
            np.zeros(0),
            np.full((4, 17, 2), np.nan),
            np.array(["a\x1b"]),
            np.zeros((2, 3, 4, 5, 6)),
            points[..., :1],
            np.full((4, 17), 1e300),
            np.array(-3.5),
            np.array([[1j]]),
            np.array(True),
            points[:, :, None],
            points.ravel(),
            np.full(4, 2**62),
            points.astype(np.int8),
            np.zeros((4, 1, 17, 2)),
            np.full((4, 99), np.inf),
        )
        arrays[key] = odd[int(rng.integers(len(odd)))]
    if rng.random() < 0.2:
        del arrays["keypoints"]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays) if rng.random() < 0.7 else np.save(buffer, next(iter(arrays.values())))
    data = buffer.getvalue()
    path = folder / ("k.npz" if data.startswith(b"PK") else "k.npy")
    path.write_bytes(damaged(data, rng) if rng.random() < 0.3 else data)
    return path


def _table_file(folder: Path, rng: np.random.Generator) -> Path:
    names = COCO17.joint_names
    rows = [
        ["scorer", *["s"] * 51],
        ["bodyparts", *(n for n in names for _ in range(3))],
        ["coords", *["x", "y", "likelihood"] * 17],
    ]
    rows += [[str(f), *(str(x) for x in p.ravel())] for f, p in enumerate(figure(names, 4))]
    content = mutated(rows, rng)
    content = content if isinstance(content, list) else [content]
    lines = [",".join(map(str, row)) if isinstance(row, list) else str(row) for row in content]
    data = "\n".join(lines).encode("utf-8", "replace")
    (folder / "k.csv").write_bytes(damaged(data, rng) if rng.random() < 0.4 else data)
    return folder / "k.csv"


OPENCV = """%YAML:1.0
---
image_width: 1280
image_height: 720
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 1000.0, 0., 640.0, 0., 1000.0, 360.0, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ -0.1, 0., 0., 0., 0. ]
"""
TOML = """[cam01]
name = "cam01"
size = [ 1280.0, 720.0]
matrix = [ [ 1000.0, 0.0, 640.0], [ 0.0, 1000.0, 360.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.1, 0.0, 0.0, 0.0]
fisheye = false
"""
COLMAP = "# Camera list\n1 OPENCV 1280 720 1000 1000 640 360 0.1 0 0 0\n2 SIMPLE_RADIAL 1280 720 1000 640 360 0.1\n"
_POSE = {"pitch_deg": 8.0, "roll_deg": 0.5, "height_m": 1.6}
CAMERA_SEEDS: tuple[Any, ...] = (
    {
        "size": [1280, 720],
        "K": {"fx": 1000, "fy": 1000, "cx": 640, "cy": 360},
        "pose": _POSE,
        "distortion": [0.1, 0, 0, 0, 0],
    },
    {
        "size": [1280, 720],
        "fov_deg": 65.0,
        "extrinsic": {"R": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "t": [0, 1.5, 0]},
        "ground": {"normal": [0, 0, 1], "d": 0},
    },
    {"size": [1280, 720], "vfov_deg": 40.0, "pose": _POSE},
    {"intrinsics": "lens.yml", "pose": _POSE},
    {"intrinsics": {"file": "lens.toml", "camera": "cam01"}, "pose": _POSE},
    {"intrinsics": "lens.txt", "pose": _POSE},
    {
        "image_width": 1280,
        "image_height": 720,
        "camera_name": "c",
        "distortion_model": "plumb_bob",
        "camera_matrix": {"rows": 3, "cols": 3, "data": [1000, 0, 640, 0, 1000, 360, 0, 0, 1]},
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, 0, 0, 0, 0]},
    },
)


def _camera_file(folder: Path, rng: np.random.Generator) -> Path:
    for name, text in {"lens.yml": OPENCV, "lens.toml": TOML, "lens.txt": COLMAP}.items():
        data = text.encode()
        (folder / name).write_bytes(damaged(data, rng) if rng.random() < 0.4 else data)
    if rng.random() < 0.2:
        return folder / ("lens.yml", "lens.toml", "lens.txt")[int(rng.integers(3))]
    content = CAMERA_SEEDS[int(rng.integers(len(CAMERA_SEEDS)))]
    content = mutated(content, rng, CAMERA_SEEDS) if rng.random() < 0.7 else content
    data = yaml.safe_dump(content, default_flow_style=None).encode("utf-8", "replace")
    (folder / "camera.yaml").write_bytes(damaged(data, rng) if rng.random() < 0.4 else data)
    return folder / "camera.yaml"


def _read_keypoints(path: Path) -> None:
    tracks = read_keypoints(path, person="all", size=(1280, 720))
    for track in tracks if isinstance(tracks, list) else [tracks]:
        assert np.isfinite(track.kp2d).all() and ((track.kp2d_conf >= 0) & (track.kp2d_conf <= 1)).all()
        assert not track.kp2d[track.kp2d_conf == 0].any() and track.num_seen > 0


def _read_camera(path: Path) -> None:
    camera = read_camera(path)
    assert bool(camera.K4.isfinite().all()) and bool(camera.T_w2c.isfinite().all()) and camera.height > 0


READERS: dict[str, tuple[Maker, Callable[[Path], None]]] = {
    "json": (_json_file, _read_keypoints),
    "folder": (_folder, _read_keypoints),
    "arrays": (_array_file, _read_keypoints),
    "table": (_table_file, _read_keypoints),
    "camera": (_camera_file, _read_camera),
}


def tried(kind: str, count: int, seed: int, folder: Path) -> tuple[Counter[str], float]:
    """Outcomes of random inputs ("read", "refused", or what went wrong), and the longest time in seconds."""
    make, read = READERS[kind]
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(count):
        path = make(folder, np.random.default_rng((seed, number)))
        start = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                read(path)
            outcome = "read"
        except (ValueError, FileNotFoundError) as error:
            text = str(error)
            kinds = (ValueError, NobodyError, FileNotFoundError)
            is_clear = type(error) in kinds or "TextError" in type(error).__name__
            is_clear = is_clear and text.isprintable() and len(text) < 1500
            outcome = "refused" if is_clear else f"{type(error)} {text!r:.300}"
        except Exception:  # what the test is about
            outcome = "".join(traceback.format_exc().splitlines(keepends=True)[-4:]) + f"(input {number})"
        seconds = time.process_time() - start
        slowest = max(slowest, seconds)
        outcomes[outcome if seconds < SLOWEST else f"{seconds:.1f} s (input {number})"] += 1
    return outcomes, slowest


@pytest.mark.parametrize("kind", READERS)
def test_broken_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    outcomes, _ = tried(kind, 60, 0, tmp_path)
    assert set(outcomes) <= {"read", "refused"}, outcomes
    assert min(outcomes["read"], outcomes["refused"]) > 5  # neither everything nor nothing was broken


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for each in sys.argv[2:] or READERS:
        with tempfile.TemporaryDirectory() as place:
            found, longest = tried(each, int(sys.argv[1]), 1, Path(place))
        sys.stdout.write(f"{each}: {sum(found.values())} inputs, longest {longest:.2f} s\n")
        for what, times in found.most_common(12):
            sys.stdout.write(f"  {times} {what}\n")
