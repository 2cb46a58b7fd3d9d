"""Small valid files of every kind that is read, and the makers that write damaged ones into a folder."""

from __future__ import annotations

import functools
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

from hmr4d.body.skeleton import COCO17, MEDIAPIPE33, OPENPOSE25
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO
from tests.data.bandai_files import bandai_bvh_file
from tests.data.cmu_layouts import amc_text, asf_text, bvh31_text, motion
from tests.data.keypoint_layouts import LAYOUTS, figure
from tests.fuzz.damage import changed, damaged
from tests.motions import as_motion

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Maker = Callable[[Path, Random], Path]


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@functools.cache
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


def keypoint_json(folder: Path, rng: Random) -> Path:
    content = rng.choice(_json_seeds())
    if rng.random() < 0.75:
        content = changed(content, rng, _json_seeds())
    data = json.dumps(content).encode()
    return _written(folder / "k.json", damaged(data, rng) if rng.random() < 0.3 else data)


def keypoint_folder(folder: Path, rng: Random) -> Path:
    place = folder / "frames"
    place.mkdir(exist_ok=True)
    for file in place.iterdir():
        file.unlink()
    for f, p in enumerate(figure(OPENPOSE25.joint_names, 4)):
        content: Any = {"people": [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()}, {}]}
        if rng.random() < 0.4:
            content = changed(content, rng, _json_seeds())
        data = json.dumps(content).encode()
        (place / f"a_{f:03d}_keypoints.json").write_bytes(damaged(data, rng) if rng.random() < 0.15 else data)
    return place


def keypoint_arrays(folder: Path, rng: Random) -> Path:
    points = figure(COCO17.joint_names, 4)
    arrays: dict[str, Any] = {
        "keypoints": points[..., :2],
        "scores": points[..., 2],
        "fps": 25.0,
        "frame_ids": np.arange(4),
        "skeleton": "coco17",
        "person": "3",
    }
    for _ in range(rng.randrange(4)):
        key = rng.choice(list(arrays))
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
        arrays[key] = rng.choice(odd)
    if rng.random() < 0.2:
        del arrays["keypoints"]
    buffer = io.BytesIO()
    if rng.random() < 0.7:
        np.savez(buffer, **arrays)
    else:
        np.save(buffer, next(iter(arrays.values())))
    data = buffer.getvalue()
    name = "k.npz" if data.startswith(b"PK") else "k.npy"
    return _written(folder / name, damaged(data, rng) if rng.random() < 0.3 else data)


def keypoint_table(folder: Path, rng: Random) -> Path:
    names = COCO17.joint_names
    rows = [
        ["scorer", *["s"] * 51],
        ["bodyparts", *(n for n in names for _ in range(3))],
        ["coords", *["x", "y", "likelihood"] * 17],
    ]
    rows += [[str(f), *(str(x) for x in p.ravel())] for f, p in enumerate(figure(names, 4))]
    content = changed(rows, rng) if rng.random() < 0.7 else rows
    content = content if isinstance(content, list) else [content]
    lines = [",".join(map(str, row)) if isinstance(row, list) else str(row) for row in content]
    data = "\n".join(lines).encode("utf-8", "replace")
    return _written(folder / "k.csv", damaged(data, rng) if rng.random() < 0.5 else data)


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
MEASUREMENT_SEEDS: tuple[Any, ...] = (
    {"size": [1280, 720], "fov_deg": 65.0,
     "floor_points": [[300, 500, -1.0, 4.0], [900, 510, 1.0, 4.0], [820, 420, 1.0, 7.0], [450, 415, -1.0, 7.0]]},
    {"size": [1280, 720], "fov_deg": 65.0,
     "checkerboard": {"rows": 5, "columns": 7, "square_m": 0.1,
                      "corners": [[500, 500], [800, 505], [760, 440], [520, 436]]}},
    {"size": [1280, 720], "K": {"fx": 1000, "fy": 1000, "cx": 640, "cy": 360},
     "people": {"height_m": 1.7, "places": [[300, 620, 310, 250], [640, 600, 640, 260], [900, 560, 890, 280],
                                            [500, 500, 502, 300], [760, 510, 757, 300]]}},
    {"size": [1280, 720], "vfov_deg": 40.0,
     "phone": {"accelerometer": [0.1, -9.6, 1.5], "hold": "portrait", "sensor": "ios", "height_m": 1.4}},
    {"size": [1280, 720], "fov_deg": 65.0,
     "lines": {"vertical": [[300, 620, 290, 250], [900, 560, 912, 280]],
               "lengths": [{"from": [640, 600], "to": [640, 400], "metres": 1.2, "upright": True}]}},
)  # fmt: skip


def camera(folder: Path, rng: Random) -> Path:
    for name, text in {"lens.yml": OPENCV, "lens.toml": TOML, "lens.txt": COLMAP}.items():
        data = text.encode()
        _written(folder / name, damaged(data, rng) if rng.random() < 0.4 else data)
    if rng.random() < 0.1:
        return folder / rng.choice(("lens.yml", "lens.toml", "lens.txt"))
    return _written(folder / "camera.yaml", _damaged_yaml(CAMERA_SEEDS, rng))


def measurements(folder: Path, rng: Random) -> Path:
    return _written(folder / "measured.yaml", _damaged_yaml(MEASUREMENT_SEEDS, rng))


def _damaged_yaml(seeds: Sequence[Any], rng: Random) -> bytes:
    content = rng.choice(seeds)
    content = changed(content, rng, tuple(seeds)) if rng.random() < 0.5 else content
    data = yaml.dump(content, Dumper=_DUMPER, default_flow_style=None).encode("utf-8", "replace")
    return damaged(data, rng) if rng.random() < 0.4 else data


@functools.cache
def _bvh_seeds() -> tuple[bytes, ...]:
    bvh = bandai_bvh_file(3)
    return *[bvh] * 6, bvh.replace(b"\n", b"\r\n"), bvh.decode().encode("utf-16")


def bvh(folder: Path, rng: Random) -> Path:
    return _written(folder / "clip.bvh", damaged(rng.choice(_bvh_seeds()), rng))


@functools.cache
def _cmu_seeds() -> tuple[bytes, bytes, bytes]:
    values = motion(3)
    return asf_text().encode(), amc_text(values).encode(), bvh31_text(values).encode()


def cmu(folder: Path, rng: Random) -> Path:
    """An ASF and an AMC file, either or both damaged; or a BVH conversion of them."""
    asf, amc, conversion = _cmu_seeds()
    kind = rng.randrange(10)
    if kind == 0:
        return _written(folder / "02_01.bvh", damaged(conversion, rng))
    _written(folder / "02.asf", damaged(asf, rng) if kind < 6 else asf)
    return _written(folder / "02_01.amc", damaged(amc, rng) if kind > 4 else amc)


CSV = 'file,caption\none.bvh,"walks, then ""turns"" left"\ndeep/two,runs\nтри,走る\n'.encode()
JSON = '{"one.bvh": ["walks", "runs"], "deep/two": "turns left", "три": "走る"}'.encode()
TEXT = b"a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0\nhe stops.#he/PRON#1.0#2.5\n"
INDEX = b'clip,format,fps,description\n02_01,amc,120,walk\n02_02,bvh,60,"run, then jump"\n'
MAP = "\n".join(
    f"{k}: {v}" if isinstance(v, str) else f"{k}: {{from: {v.start}, to: {v.end}, at: {v.fraction}}}"
    for k, v in BANDAI_NAMCO.rules.items()
).encode()


def captions(folder: Path, rng: Random) -> Path:
    files = {"c.csv": CSV, "c.tsv": CSV.replace(b",", b"\t"), "c.json": JSON, "t.txt": TEXT, "index.csv": INDEX}
    name = rng.choice(list(files))
    data = files[name]
    if name == "c.json" and rng.random() < 0.5:
        data = json.dumps(changed(json.loads(JSON), rng)).encode()
    return _written(folder / name, damaged(data, rng))


def joint_map(folder: Path, rng: Random) -> Path:
    return _written(folder / "map.yaml", damaged(MAP, rng))


@functools.cache
def _motion_arrays() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.npz"
        joints3d = synthetic_joints("walk", 3, np.random.default_rng(0))
        save_motion_npz(path, as_motion(joints3d, fps=20, text="walks"))
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in archive.files}
    arrays |= {"uncertainty": np.full((3, 22), 0.1, np.float32), "frame_ids": np.arange(3)}
    camera = {"camera_T_w2c": np.eye(4), "camera_K4": np.array([1e3, 1e3, 640, 360]), "camera_size": [1280, 720]}
    return arrays | {key: np.asarray(value) for key, value in camera.items()}


def motion_npz(folder: Path, rng: Random) -> Path:
    """A motion file whose arrays are of other types, shapes and values, or whose bytes are damaged."""
    arrays = dict(_motion_arrays())
    joints = arrays["joints3d"]
    for _ in range(rng.randrange(3)):
        odd = (
            np.zeros(0), np.full((3, 22, 3), np.nan), np.array("x\x1b"), joints[:, :21], joints[0], joints.astype(int),
            np.full((3, 22, 3), 1e30), np.array(-3.5), np.array(np.nan), np.array(0), np.array([[1j]]), np.array(2**62),
            np.full((3, 22), -1.0), np.full((3, 22), np.nan), np.zeros((2, 3, 4, 5)), np.array("{}"), np.array("[1"),
            np.array("coco17"), np.array(True), np.array(b"bytes"), joints[:0], joints.astype(np.float16),
            np.array(1e-9),
        )  # fmt: skip
        arrays[rng.choice(list(arrays))] = rng.choice(odd)
    if rng.random() < 0.3:
        key = rng.choice(list(arrays))
        arrays[damaged(key.encode(), rng).decode("utf-8", "replace").replace("\x00", "") or "_"] = arrays.pop(key)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return _written(folder / "m.npz", damaged(buffer.getvalue(), rng) if rng.random() < 0.4 else buffer.getvalue())
