"""The plan view: people and cameras where they are, and nothing half-written."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import camera_pose
from hmr4d.visualization.plan_view import PlanCamera, PlanPath, write_plan_view
from tests.motions import as_motion


def camera(yaw: float = 0.0, x: float = 0.0, z: float = 0.0, *, is_real: bool = True) -> PlanCamera:
    turns = [torch.tensor(math.radians(a), dtype=torch.float64) for a in (15.0, 0.0, yaw)]
    T = camera_pose(turns[0], turns[1], turns[2], torch.tensor([x, 1.5, z], dtype=torch.float64)).numpy()
    return PlanCamera(T, np.array([1000.0, 1000, 640, 360]), (1280, 720), "camera", is_real)


def drawn(path: Path) -> NDArray[np.int64]:
    picture = Image.open(path)
    assert picture.format == "PNG"
    return np.asarray(picture).astype(np.int64)


def colored(pixels: NDArray[np.int64], color: tuple[int, int, int]) -> NDArray[np.int64]:
    """(N, 2) rows and columns of pixels near a color."""
    return np.argwhere((np.abs(pixels - color) < 30).all(-1))


def test_path_goes_up_and_right_with_the_person(tmp_path: Path, walk: np.ndarray) -> None:
    away = walk * (1, 1, -1) - (0, 0, 4)  # walks on away from a camera at the origin
    aside = away[..., [2, 1, 0]] * (-1, 1, 1) - (4, 0, 5)  # and one who walks to the right
    cameras = [camera(), camera(90, 5, -5, is_real=False)]
    path = tmp_path / "plan.png"
    contacts = np.ones((len(walk), len(SMPL22.contact_joints)), bool)
    write_plan_view(path, [PlanPath(as_motion(away), contacts, "a"), PlanPath(as_motion(aside))], cameras, title="t")
    first, second = (colored(drawn(path), c) for c in ((43, 122, 214), (240, 128, 42)))
    assert np.ptp(first[:, 0]) > 2 * np.ptp(first[:, 1])  # away: upwards
    assert np.ptp(second[:, 1]) > 2 * np.ptp(second[:, 0])
    here = colored(drawn(path), (60, 70, 90)).mean(0)  # the real camera, below all
    assert here[0] > first[:, 0].max() and here[0] > second[:, 0].max()


def test_camera_sees_the_floor_ahead_of_it(tmp_path: Path, walk: np.ndarray) -> None:
    write_plan_view(tmp_path / "a.png", [PlanPath(as_motion(walk - (0, 0, 6)))], [camera()])
    write_plan_view(tmp_path / "b.png", [PlanPath(as_motion(walk - (0, 0, 6)))], [camera(is_real=False)])
    seen = colored(drawn(tmp_path / "a.png"), (214, 226, 240))
    plain = colored(drawn(tmp_path / "b.png"), (214, 226, 240))
    assert len(seen) > 2 * len(plain)
    with pytest.raises(ValueError, match="people is empty"):
        write_plan_view(tmp_path / "c.png", [], [camera()])
    assert not (tmp_path / "c.png").exists()


def test_narrow_plans_have_room_for_the_legend(tmp_path: Path, walk: np.ndarray) -> None:
    far = walk * (0.1, 1, 0.1) - (0, 0, 9)
    write_plan_view(tmp_path / "a.png", [PlanPath(as_motion(far))], [camera()])
    width, height = Image.open(tmp_path / "a.png").size
    assert height / 2.2 < width < height
    assert not (np.abs(drawn(tmp_path / "a.png")[-30:, -10:] - (247, 249, 252)) > 40).any()  # the legend ends before


def test_footprints_of_several_people_have_their_colors(tmp_path: Path, walk: np.ndarray) -> None:
    rests = np.ones((len(walk), len(SMPL22.contact_joints)), bool)
    people = [PlanPath(as_motion(walk - (x, 0, 6)), rests, name) for x, name in ((2, "a"), (-2, "b"))]
    orange = []
    for number, shown in enumerate((people[:1], people)):
        write_plan_view(tmp_path / f"{number}.png", shown, [camera()])
        pixels = drawn(tmp_path / f"{number}.png")[50:-40]
        spread = pixels.max(-1) - pixels.min(-1)
        orange.append(np.argwhere((pixels[..., 0] > pixels[..., 2]) & (spread > 40)))
    assert len(orange[0])  # one person's right foot
    assert len(orange[1]) and orange[1][:, 1].min() > Image.open(tmp_path / "1.png").width / 2  # the second alone
