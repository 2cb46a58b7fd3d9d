"""The command that turns measurements into a camera file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hmr4d.camera.camera_files import read_camera
from hmr4d.cli.calibrate import main
from hmr4d.geometry.rigs import Rig, camera_pose, project

ANGLES = (14.0, -3.0, 0.0)  # degrees
# The rug of docs/calibrate.md with two corners taken for each other.
CROSSED = [[489, 894, 0, 0], [1230, 579, 2.4, 0], [1443, 877, 2.4, 3], [692, 588, 0, 3]]


def floor_points() -> list[list[float]]:
    """[u, v, a, b] of floor points in front of a camera 1.7 m high with a focal length of 1000 pixels."""
    pitch, roll, yaw = torch.tensor(ANGLES, dtype=torch.float64).deg2rad()
    T_w2c = camera_pose(pitch, roll, yaw, torch.tensor([0.0, 1.7, 0.0], dtype=torch.float64))
    K4 = torch.tensor([[1000.0, 1000, 640, 360]], dtype=torch.float64)
    rig = Rig(torch.tensor([[1280.0, 720.0]], dtype=torch.float64), K4, T_w2c[None])
    floor = np.stack([np.linspace(-2, 2, 6), np.zeros(6), np.array([-6.0, -4, -7, -5, -6.5, -4.5])], -1)
    pixels = project(rig, torch.from_numpy(floor)[None])[0][0, 0].numpy()
    return np.concatenate([pixels, floor[:, [0, 2]]], 1).tolist()


def test_command_writes_a_camera_and_says_how_good_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "hmr4d")
    path = tmp_path / "measurements.yaml"
    path.write_text(yaml.safe_dump({"size": [1280, 720], "floor_points": floor_points()}), encoding="utf-8")
    assert main([str(path), "--out", str(tmp_path / "out" / "camera.yaml"), "--distances", "6"]) == 0
    camera = read_camera(tmp_path / "out" / "camera.yaml")
    np.testing.assert_allclose(np.degrees(camera.angles), ANGLES, atol=1e-3)
    assert camera.height == pytest.approx(1.7, abs=1e-4) and float(camera.K4[0]) == pytest.approx(1000, abs=0.1)
    for words in ("pitch 14.00 +-", "reprojection residual", "6.0 m", "per degree", "1 sigma"):
        assert words in caplog.text and words in (tmp_path / "out" / "camera.yaml").read_text()
    assert main([str(path), "--out", str(path)]) == 2 and "Choose another" in capsys.readouterr().err
    assert main([str(path), "--distances", "0"]) == 2 and "above 0" in capsys.readouterr().err
    assert main([str(tmp_path / "none.yaml")]) == 2 and "not found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"floor_points": [[u, v, 100 * a, 100 * b] for u, v, a, b in floor_points()]}, r"meters \(not cm or mm\)"),
        ({"size": [1920, 1080], "fov_deg": 65, "floor_points": CROSSED}, "contradict each other"),
        (
            {
                "floor_points": None,
                "fov_deg": 65,
                "phone": {"accelerometer": [0, 9.5, 2.4], "hold": "portrait", "sensor": "android", "height_m": 145},
            },
            "at most 100",
        ),
        ({"floor_points": None, "fov_deg": 65, "lines": {"vertical": [[3, 4, 3, 4], [9, 4, 9, 80]]}}, "line 1 of"),
    ],
)
def test_what_is_no_camera_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    path, out = tmp_path / "measurements.yaml", tmp_path / "camera.yaml"
    good = {"size": [1280, 720], "floor_points": floor_points()}
    path.write_text(yaml.safe_dump(good), encoding="utf-8")
    assert main([str(path), "--out", str(out)]) == 0
    written = out.read_text()
    path.write_text(yaml.safe_dump({k: v for k, v in {**good, **change}.items() if v is not None}), encoding="utf-8")
    assert main([str(path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("error:") == 1 and error.count("\n") == 1
    assert out.read_text() == written


def test_a_camera_file_of_somebody_else_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "measurements.yaml", tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump({"size": [1280, 720], "floor_points": floor_points()}), encoding="utf-8")
    out.write_text("size: [1280, 720]\nfov_deg: 60\n", encoding="utf-8")
    assert main([str(path)]) == 2
    assert "was not made by this command" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "size: [1280, 720]\nfov_deg: 60\n"
    out.unlink()
    assert main([str(path)]) == main([str(path)]) == 0  # its own it replaces


def test_measurements_that_leave_the_camera_open_are_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noisy = [[u, v + 25 * (-1) ** (i // 2), a, b] for i, (u, v, a, b) in enumerate(floor_points())]
    path = tmp_path / "measurements.yaml"
    path.write_text(yaml.safe_dump({"size": [1280, 720], "floor_points": noisy}), encoding="utf-8")
    assert main([str(path), "--out", str(tmp_path / "camera.yaml")]) == 0
    assert "The position of a point on the floor at 4 m may be wrong by" in caplog.text
