"""Calibration recovers synthetic cameras, says how sure it is, and refuses what cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hmr4d.camera.calibration import (
    Calibration,
    KnownLength,
    checkerboard_floor,
    from_floor_points,
    from_gravity,
    from_lines,
    from_people,
)
from hmr4d.camera.calibration_report import sensitivity
from hmr4d.geometry.rigs import Rig, camera_pose, project

Array = NDArray[np.float64]
SIZE = (1920, 1080)
K4 = np.array([1450.0, 1450.0, 950.0, 530.0])
GUESS = np.array([np.nan, np.nan, 950.0, 530.0])  # a principal point, and no focal length
CAMERAS = [(5.0, 0.0, 1.4), (14.0, -3.0, 1.7), (32.0, 4.0, 3.1), (55.0, 1.0, 2.6)]  # degrees, degrees, meters
TILTED = CAMERAS[1:3]


def seen(camera: tuple[float, float, float], world: Array) -> Array:
    """(N, 2) pixels of points (N, 3) in the camera's world."""
    pitch, roll, yaw = torch.tensor([math.radians(camera[0]), math.radians(camera[1]), 0.0], dtype=torch.float64)
    T = camera_pose(pitch, roll, yaw, torch.tensor([0.0, camera[2], 0.0], dtype=torch.float64))
    rig = Rig(torch.tensor([SIZE]).double(), torch.from_numpy(K4)[None], T[None])
    pixels, depth = project(rig, torch.from_numpy(np.asarray(world, np.float64))[None])
    assert (depth > 0).all()
    return pixels[0, 0].numpy()


def middle(camera: tuple[float, float, float]) -> float:
    """Distance ahead at which the floor is near the middle of the picture, meters."""
    return float(np.clip(camera[2] / math.tan(math.radians(max(camera[0], 12))), 1.5, 8))


def scattered(camera: tuple[float, float, float], count: int, seed: int = 0) -> Array:
    """(N, 3) floor points around the middle of the picture."""
    rng = np.random.default_rng(seed)
    z = middle(camera)
    return np.stack([rng.uniform(-0.4, 0.4, count) * z, np.zeros(count), -rng.uniform(0.8, 1.5, count) * z], -1)


def noisy(pixels: Array, sigma: float, seed: int = 0) -> Array:
    return pixels + np.random.default_rng(seed).normal(0, sigma, pixels.shape)


def assert_is(found: Calibration, camera: tuple[float, float, float], tolerance: float = 1e-5) -> None:
    """Pitch and roll to `tolerance` radians, height and focal length to that share."""
    assert abs(found.pitch - math.radians(camera[0])) < tolerance
    assert abs(found.roll - math.radians(camera[1])) < tolerance
    assert abs(found.height / camera[2] - 1) < tolerance
    assert abs(found.K4[0] / K4[0] - 1) < tolerance


@pytest.mark.parametrize("fit_focal", [False, True])
@pytest.mark.parametrize("camera", CAMERAS)
def test_floor_points_in_any_axes(camera: tuple[float, float, float], fit_focal: bool) -> None:
    points = scattered(camera, 9)
    pixels = seen(camera, points)
    turn = np.array([[math.cos(2.0), -math.sin(2.0)], [math.sin(2.0), math.cos(2.0)]])
    for mirror in (1, -1):
        floor = points[:, [0, 2]] * (1, mirror) @ turn.T + (3.0, -7.0)
        found = from_floor_points(pixels, floor, SIZE, GUESS if fit_focal else K4, fit_focal=fit_focal)
        assert_is(found, camera)
        assert found.rms < 1e-4


@pytest.mark.parametrize("camera", CAMERAS)
def test_four_corners_and_a_board(camera: tuple[float, float, float]) -> None:
    z = middle(camera)
    board = checkerboard_floor(5, 8, 0.06)
    assert board.shape == (40, 2) and board[8].tolist() == [0, 0.06]
    world = np.stack([board[:, 0], np.zeros(40), board[:, 1] - z], -1)
    assert_is(from_floor_points(seen(camera, world), board, SIZE, K4), camera, 1e-4)
    corners = world[[0, 7, 32, 39]] * (8, 1, 1)
    assert_is(from_floor_points(seen(camera, corners), corners[:, [0, 2]], SIZE, K4), camera)


@pytest.mark.parametrize("fit_focal", [False, True])
@pytest.mark.parametrize("camera", CAMERAS)
def test_people_of_known_height(camera: tuple[float, float, float], fit_focal: bool) -> None:
    feet = scattered(camera, 8) * (1, 1, 1.3)
    heights = np.stack([np.full(8, 0.08), np.linspace(1.5, 1.9, 8)], -1)
    low, high = (seen(camera, feet + heights[:, i : i + 1] * (0, 1, 0)) for i in range(2))
    found = from_people(low, high, heights, SIZE, GUESS if fit_focal else K4, fit_focal=fit_focal)
    assert_is(found, camera)


def room(camera: tuple[float, float, float]) -> tuple[Array, list[Array]]:
    """Vertical lines (4, 2, 2), and two groups (3, 2, 2) of lines at 25 and 115 degrees on the floor."""
    z = middle(camera)
    posts = scattered(camera, 4)
    vertical = np.stack([seen(camera, posts), seen(camera, posts + (0, 1.2, 0))], 1)
    groups = []
    for degrees in (25, 115):
        along = np.array([math.cos(math.radians(degrees)), 0, -math.sin(math.radians(degrees))]) * 0.3 * z
        start = scattered(camera, 3, seed=degrees)
        groups.append(np.stack([seen(camera, start), seen(camera, start + along)], 1))
    return vertical, groups


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("camera", TILTED)
def test_lines_and_one_length(camera: tuple[float, float, float], upright: bool) -> None:
    vertical, groups = room(camera)
    ends = scattered(camera, 2, seed=5)
    if upright:
        ends[1] = ends[0] + (0, 1.1, 0)
    start, end = seen(camera, ends)
    length = KnownLength(start, end, float(np.linalg.norm(ends[1] - ends[0])), upright)
    assert_is(from_lines(vertical, groups, [length], SIZE, GUESS, fit_focal=True), camera)
    assert_is(from_lines(vertical, groups[:1], [length], SIZE, GUESS, fit_focal=True), camera)
    assert_is(from_lines(vertical, [], [length], SIZE, K4), camera)
    assert_is(from_lines(vertical[:0], groups, [length], SIZE, K4), camera)


def test_level_camera_by_lines_needs_its_focal_length() -> None:
    camera = (0.0, 0.0, 1.5)  # vertical lines are parallel in the picture: their vanishing point is at infinity
    vertical, groups = room(camera)
    pole = seen(camera, np.array([[0.3, 0, -5], [0.3, 1.1, -5]]))
    length = KnownLength(*pole, 1.1, True)
    assert_is(from_lines(vertical, groups, [length], SIZE, K4), camera)
    with pytest.raises(ValueError, match=r"focal length|do not determine"):
        from_lines(vertical, groups[:1], [length], SIZE, GUESS, fit_focal=True)


@pytest.mark.parametrize("camera", CAMERAS)
def test_gravity_and_tape(camera: tuple[float, float, float]) -> None:
    foot, origin = seen(camera, np.array([[0, 0, -3.0], [0, 0.4, -3.0]]))
    assert foot[1] > origin[1]
    alpha, beta = math.radians(camera[0]), math.radians(camera[1])
    down = 9.81 * np.array([-math.sin(beta) * math.cos(alpha), math.cos(beta) * math.cos(alpha), math.sin(alpha)])
    assert_is(from_gravity(down, camera[2], K4, tilt_error=0.01, height_error=0.01), camera, 1e-12)
    with pytest.raises(ValueError, match="expected a direction"):
        from_gravity(np.zeros(3), 1.5, K4, tilt_error=0.01, height_error=0.01)


@pytest.mark.parametrize("method", ["floor", "people"])
def test_errors_grow_with_noise_as_the_deviations_say(method: str) -> None:
    camera = CAMERAS[1]
    feet = scattered(camera, 12)
    heights = np.tile((0.0, 1.75), (12, 1))
    low, high = (seen(camera, feet + heights[:, i : i + 1] * (0, 1, 0)) for i in range(2))
    scores: list[list[float]] = []
    sizes = []
    for sigma in (1.0, 4.0):
        for seed in range(6):
            if method == "floor":
                found = from_floor_points(noisy(low, sigma, seed), feet[:, [0, 2]], SIZE, K4)
            else:
                found = from_people(noisy(low, sigma, seed), noisy(high, sigma, seed + 99), heights, SIZE, K4)
            errors = {
                "pitch": found.pitch - math.radians(camera[0]),
                "roll": found.roll - math.radians(camera[1]),
                "height": found.height - camera[2],
            }
            scores.append([errors[name] / found.deviations[name] for name in errors])
            sizes.append(abs(errors["pitch"]))
            assert 0.3 * sigma < found.rms < 2.5 * sigma
    spread = np.sqrt((np.array(scores) ** 2).mean(0))
    assert ((spread > 0.4) & (spread < 2.0)).all(), spread  # 1 for errors that are what the deviations say
    assert np.mean(sizes[6:]) > 2 * np.mean(sizes[:6])


def test_pairs_that_nobody_looked_at_need_robustness() -> None:
    camera = CAMERAS[1]
    feet = scattered(camera, 30)
    heights = np.tile((0.0, 1.75), (30, 1))
    low, high = (noisy(seen(camera, feet + heights[:, i : i + 1] * (0, 1, 0)), 2.0) for i in range(2))
    high[:5, 1] += 150  # five crouch
    plain = from_people(low, high, heights, SIZE, K4)
    robust = from_people(low, high, heights, SIZE, K4, walk=np.arange(30.0))
    truth = math.radians(camera[0])
    assert abs(robust.pitch - truth) < math.radians(0.7) < abs(plain.pitch - truth)
    assert abs(robust.height - camera[2]) < 0.06


@pytest.mark.parametrize("straight", [True, False])
def test_walkers_lead_with_their_heads(straight: bool) -> None:
    """Eyes 15 cm ahead of the ankles would tilt the camera by degrees, had nobody thought of it."""
    camera = CAMERAS[1]
    time = np.linspace(0, 1, 90)
    path = np.stack([1.2 - 1.5 * time, 0 * time, -3.5 - 5 * time], -1)
    if not straight:
        path = np.stack([1.5 * np.sin(9 * time), 0 * time, -5.5 + 2 * np.cos(9 * time)], -1)
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    heights = np.tile((0.08, 1.6), (90, 1))
    low = noisy(seen(camera, path + (0, 0.08, 0)), 2.0)
    high = noisy(seen(camera, path + 0.15 * ahead + (0, 1.6, 0)), 2.0, 1)
    found = from_people(low, high, heights, SIZE, K4, walk=np.arange(90.0))
    naive = from_people(low, high, heights, SIZE, K4)
    error, without = (abs(fit.pitch - math.radians(camera[0])) for fit in (found, naive))
    assert error < math.radians(0.5) and error < 4 * found.deviations["pitch"]
    assert error < without / 2 or not straight  # to and fro, the errors cancel


def test_sensitivity_is_what_wrong_cameras_do() -> None:
    camera = (14.0, 0.0, 1.6)
    (row,) = sensitivity(math.radians(camera[0]), camera[2], [6.0])
    assert row.by_pitch == pytest.approx(0.42, abs=0.01)  # 1.6 m high, 6 m away: one degree is 42 cm
    v = seen(camera, np.array([[0, 0, -6.0]]))[0, 1]

    def distance(pitch: float, height: float, focal: float) -> float:
        return height / math.tan(pitch + math.atan((v - K4[3]) / focal))

    alpha = math.radians(camera[0])
    step = 1e-5
    slope = (distance(alpha + step, 1.6, 1450) - distance(alpha - step, 1.6, 1450)) / (2 * step)
    assert abs(slope) * math.radians(1) == pytest.approx(row.by_pitch, rel=1e-6)
    assert distance(alpha, 1.61, 1450) - 6 == pytest.approx(row.by_height, rel=1e-6)
    by_focal = (distance(alpha, 1.6, 1450 * 1.0001) - distance(alpha, 1.6, 1450 * 0.9999)) / 0.02
    assert abs(by_focal) == pytest.approx(row.by_focal, rel=1e-3)


def test_what_cannot_be_told_is_refused() -> None:
    camera = CAMERAS[1]
    points = scattered(camera, 4)
    pixels = seen(camera, points)
    with pytest.raises(ValueError, match="four or more"):
        from_floor_points(pixels[:3], points[:3, [0, 2]], SIZE, K4)
    line = np.stack([np.linspace(0, 1, 5), np.linspace(0, 2, 5)], -1)
    with pytest.raises(ValueError, match="on one line"):
        from_floor_points(np.zeros((5, 2)), line, SIZE, K4)
    heights = np.tile((0.0, 1.7), (4, 1))
    high = seen(camera, points + (0, 1.7, 0))
    with pytest.raises(ValueError, match="three positions"):
        from_people(pixels[:2], high[:2], heights[:2], SIZE, K4)
    with pytest.raises(ValueError, match=r"swapped"):
        from_people(high, pixels, heights, SIZE, K4)
    same = np.repeat(pixels[:1], 4, 0), np.repeat(high[:1], 4, 0)
    with pytest.raises(ValueError, match=r"do not determine|focal length"):
        from_people(*same, heights, SIZE, GUESS, fit_focal=True)
    vertical, groups = room(camera)
    with pytest.raises(ValueError, match="one known height or distance"):
        from_lines(vertical, groups, [], SIZE, K4)
    with pytest.raises(ValueError, match="too few"):
        from_lines(vertical[:1], [], [KnownLength(pixels[0], high[0], 1.7, True)], SIZE, K4)
    tiles = np.array([[-0.5, 0, -0.5], [0.5, 0, -0.5], [0.5, 0, 0.5], [-0.5, 0, 0.5]])
    below = seen((90.0, 0.0, 2.5), tiles)
    with pytest.raises(ValueError, match=r"do not determine|focal length"):
        from_floor_points(below, tiles[:, [0, 2]], SIZE, GUESS, fit_focal=True)
