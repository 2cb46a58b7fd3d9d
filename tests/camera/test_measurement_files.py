"""Files of measurements: every kind gives the camera back that made them; mistakes are one sentence each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from hmr4d.body.skeleton import get_skeleton
from hmr4d.camera.camera_files import CameraFile
from hmr4d.camera.measurement_files import ANKLE_SHARE, EYE_SHARE, METHODS, read_measurements
from hmr4d.geometry.distortion import distort
from hmr4d.geometry.rigs import camera_pose, project

Array = NDArray[np.float64]
SIZE, FOV = (1280, 720), 65.0
FOCAL = 640 / math.tan(math.radians(FOV / 2))
HEIGHT, PITCH, ROLL = 1.7, 14.0, -3.0
DISTORTION = [-0.15, 0.03, 0.0005, -0.001, 0.0]


def true_camera(distortion: bool = False) -> CameraFile:
    pitch, roll, yaw = torch.tensor([math.radians(PITCH), math.radians(ROLL), 0.0], dtype=torch.float64)
    T_w2c = camera_pose(pitch, roll, yaw, torch.tensor([0.0, HEIGHT, 0.0], dtype=torch.float64))
    K4 = torch.tensor([FOCAL, FOCAL, 640.0, 360.0], dtype=torch.float64)
    return CameraFile(SIZE, K4, torch.tensor(DISTORTION if distortion else [], dtype=torch.float64), T_w2c)


def seen(points: Any, distortion: bool = False) -> Array:
    camera = true_camera(distortion)
    pixels = project(camera.rig, torch.as_tensor(np.asarray(points), dtype=torch.float64)[None])[0][0, 0]
    return (distort(pixels, camera.K4, camera.distortion) if distortion else pixels).numpy()


FLOOR = np.stack([np.linspace(-2, 2, 6), np.zeros(6), np.array([-6.0, -4, -7, -5, -6.5, -4.5])], -1)


def floor_points(distortion: bool = False) -> dict[str, Any]:
    rows = np.concatenate([seen(FLOOR, distortion), FLOOR[:, [0, 2]]], 1)
    return {"floor_points": rows.tolist()}


def checkerboard() -> dict[str, Any]:
    corners = np.array([[0.3 * i - 1, 0, 0.3 * j - 5] for j in range(3) for i in range(5)])
    return {"checkerboard": {"rows": 3, "columns": 5, "square_m": 0.3, "corners": seen(corners).tolist()}}


def people() -> dict[str, Any]:
    rows = np.concatenate([seen(FLOOR), seen(FLOOR + (0, 1.8, 0))], 1)
    return {"people": {"height_m": 1.8, "places": rows.tolist()}}


def lines() -> dict[str, Any]:
    vertical = np.concatenate([seen(FLOOR), seen(FLOOR + (0, 1.0, 0))], 1)
    level = np.concatenate([seen(FLOOR[:3]), seen(FLOOR[:3] + (1.0, 0, -1.5))], 1)
    door = seen([FLOOR[1], FLOOR[1] + (0, 2.0, 0)])
    aside = seen([FLOOR[2], FLOOR[3]])
    lengths = [
        {"from": door[0].tolist(), "to": door[1].tolist(), "metres": 2.0, "upright": True},
        {
            "from": aside[0].tolist(),
            "to": aside[1].tolist(),
            "upright": False,
            "metres": float(np.linalg.norm(FLOOR[2] - FLOOR[3])),
        },
    ]
    return {"lines": {"vertical": vertical.tolist(), "level": [level.tolist()], "lengths": lengths}}


def phone() -> dict[str, Any]:
    up = true_camera().T_w2c[:3, 1].numpy() * 9.81
    in_phone = [-up[1], -up[0], -up[2]]  # landscape left: picture right is -y, picture down is -x, forward is -z
    return {
        "phone": {
            "accelerometer": [float(a) for a in in_phone],
            "hold": "landscape_left",
            "sensor": "android",
            "height_m": HEIGHT,
        }
    }


MAKERS = {"floor_points": floor_points, "checkerboard": checkerboard, "people": people, "lines": lines, "phone": phone}


def saved(folder: Path, values: Any) -> Path:
    path = folder / "measurements.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_every_method_is_tried() -> None:
    assert set(MAKERS) == set(METHODS)


@pytest.mark.parametrize("fit_focal", [False, True])
@pytest.mark.parametrize("method", MAKERS)
def test_measurements_give_the_camera_back(tmp_path: Path, method: str, fit_focal: bool) -> None:
    intrinsics = {} if fit_focal else {"fov_deg": FOV}
    path = saved(tmp_path, {"size": list(SIZE), **intrinsics, **MAKERS[method]()})
    if method == "phone" and fit_focal:
        with pytest.raises(ValueError, match="does not determine the focal length"):
            read_measurements(path)
        return
    camera, fit, name = read_measurements(path)
    assert name == method and fit.rms < 1e-3
    torch.testing.assert_close(camera.T_w2c, true_camera().T_w2c, atol=2e-4, rtol=0)
    torch.testing.assert_close(camera.K4, true_camera().K4, atol=0.1, rtol=0)


def test_lens_distortion_is_taken_out_of_measurements(tmp_path: Path) -> None:
    values = {"size": list(SIZE), "fov_deg": FOV, "distortion": DISTORTION, **floor_points(distortion=True)}
    camera, fit, _ = read_measurements(saved(tmp_path, values))
    torch.testing.assert_close(camera.T_w2c, true_camera().T_w2c, atol=1e-5, rtol=0)
    assert fit.rms < 1e-3 and camera.distortion.tolist() == DISTORTION
    wrong = read_measurements(saved(tmp_path, {key: v for key, v in values.items() if key != "distortion"}))[1]
    assert wrong.rms > 1


def test_people_in_keypoint_files(tmp_path: Path) -> None:
    """A person walks in a circle, eyes ahead of the ankles, three pixels of noise, crouching now and then."""
    skeleton = get_skeleton("coco17")
    rng = np.random.default_rng(0)
    steps = np.linspace(0, 2 * math.pi, 80)
    foot = np.stack([1.5 * np.sin(steps), np.zeros(80), -5.5 + 2 * np.cos(steps)], -1)
    eyes = foot + 0.12 * np.stack([np.cos(steps), np.zeros(80), -np.sin(steps)], -1)
    stature = np.where(rng.random(80) < 0.15, 1.3, 1.75)
    kp2d = np.zeros((80, 17, 2))
    for name, share, side in [("ankle", ANKLE_SHARE, 0.15), ("eye", EYE_SHARE, 0.03), ("ear", EYE_SHARE, 0.07)]:
        for sign, which in ((1, "left"), (-1, "right")):
            points = (foot if name == "ankle" else eyes) + np.stack(
                [np.full(80, sign * side), share * stature, np.zeros(80)], -1
            )
            kp2d[:, skeleton.index(f"{which}_{name}")] = seen(points) + rng.normal(0, 3, (80, 2))
    np.savez(tmp_path / "walk.npz", kp2d=kp2d, kp2d_conf=(kp2d[..., 0] > 0).astype(float), skeleton="coco17")
    values = {"size": list(SIZE), "fov_deg": FOV, "people": {"height_m": 1.75, "keypoints": "walk.npz"}}
    camera, fit, _ = read_measurements(saved(tmp_path, values))
    assert abs(math.degrees(camera.angles[0]) - PITCH) < 0.6 and abs(camera.height - HEIGHT) < 0.06
    assert len(fit.residuals) == 80


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "it has no measurements; expected one of floor_points"),
        ({**floor_points(), **phone()}, "it has floor_points and phone"),
        ({"floor_point": []}, "unknown key 'floor_point'. Did you mean 'floor_points'"),
        ({"floor_points": [[1, 2, 3]]}, "'floor_points' is .* expected 4 numbers"),
        ({"floor_points": floor_points()["floor_points"][:3]}, "four or more"),
        ({"people": {"height_m": 178, "places": []}}, "height_m is 178; expected meters"),
        ({"people": {"height_m": 1.78}}, "either places or keypoints"),
        ({"people": {"height_m": 1.78, "keypoints": "none.json"}}, "Keypoints not found"),
        ({"lines": {"vertical": lines()["lines"]["vertical"]}}, "one known height or distance"),
        ({"lines": {"lengths": [{"from": [1, 2], "to": [3, 4], "metres": 2}]}}, "lengths.0..upright' is missing"),
        ({"checkerboard": {**checkerboard()["checkerboard"], "rows": 4}}, "corners are 15; expected all 20"),
        (
            {"checkerboard": {**checkerboard()["checkerboard"], "square_m": 1e5}},
            "square_m above 0, at most 100",
        ),
        ({"checkerboard": {**checkerboard()["checkerboard"], "rows": 5000}}, "rows and columns .* 2 to 1000"),
        (
            {"checkerboard": {**checkerboard()["checkerboard"], "square_m": 30}},
            "above the floor; expected at most 100 m",
        ),
        ({"phone": {**phone()["phone"], "hold": "sideways"}}, "phone.hold is one of portrait"),
        ({"phone": {**phone()["phone"], "sensor": "ios"}}, "upside down"),
        ({"distortion": DISTORTION, "fov_deg": None, **floor_points()}, "distortion without K"),
        ({"size": [1e308, 720], **phone()}, "'size' has the number 1e.308; .* at most 1e.07"),
        ({"lines": {"vertical": [[300, 620, 290, -1e308]]}}, "lines.vertical' has the number 1e.308"),
        ({"phone": {**phone()["phone"], "height_m": -1e9}}, "phone.height_m' has the number 1e.09"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    path = saved(tmp_path, {"size": list(SIZE), "fov_deg": FOV, **values})
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        read_measurements(path)
    assert "\n" not in str(caught.value)
