"""Floors found under feet: tilted ones, ones with a bench, and feet that say little."""

from __future__ import annotations

import numpy as np
import pytest

from hmr4d.evaluation.captures.ground_plane import body_up, fit_ground_plane

UP = np.array([0.0, 1.0, 0.0])
REST, MAX_TILT = 0.09, np.radians(20)


def feet(num: int = 4000, span: float = 4.0, seed: int = 0) -> np.ndarray:
    """(N, 3) over the floor y = 0: half of them rest, half swing."""
    rng = np.random.default_rng(seed)
    flat = rng.uniform(-span / 2, span / 2, (num, 2))
    height = REST + np.where(rng.random(num) < 0.5, np.abs(rng.normal(0, 0.006, num)), 0.4 * rng.random(num))
    return np.stack([flat[:, 0], height, flat[:, 1]], -1)


def tilted(points: np.ndarray, degrees: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    a = np.radians(degrees)
    R = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return points @ R.T + [0, shift, 0], R[:, 1]


@pytest.mark.parametrize("degrees", [0.0, 2.0, -7.0, 15.0])
def test_a_tilted_floor_is_found(degrees: float) -> None:
    seen, normal = tilted(feet(), degrees, 0.07)
    plane = fit_ground_plane(seen, UP, rest_height=REST, max_tilt=MAX_TILT)
    floor, _ = tilted(feet() * [1, 0, 1], degrees, 0.07)
    assert np.abs(plane.height(floor)).max() < 0.01
    assert np.degrees(np.arccos(np.clip(plane.normal @ normal, -1, 1))) < 0.3 and plane.residual < 0.01
    assert plane.tilt(UP) == pytest.approx(abs(np.radians(degrees)), abs=np.radians(0.3))


def test_a_bench_is_an_outlier_and_missing_feet_are_ignored() -> None:
    seen = feet()
    bench = (seen[:, 0] > 1) & (seen[:, 2] > 1)
    seen[bench, 1] += 0.45
    seen[::17] = np.nan
    plane = fit_ground_plane(seen, UP, rest_height=REST, max_tilt=MAX_TILT)
    assert plane.tilt(UP) < np.radians(0.3) and abs(plane.d) < 0.01


@pytest.mark.parametrize("shape", ["spot", "line"])
def test_feet_on_a_spot_or_a_line_keep_the_given_up_direction(shape: str) -> None:
    seen = feet() * ([0.01, 1, 0.01] if shape == "spot" else [1, 1, 0.01])
    plane = fit_ground_plane(seen, UP, rest_height=REST, max_tilt=MAX_TILT)
    assert plane.tilt(UP) < np.radians(0.3) and abs(plane.d) < 0.01


def test_the_floor_is_not_steeper_than_bodies_allow() -> None:
    seen, _ = tilted(feet(), 40.0, 0.0)
    assert fit_ground_plane(seen, UP, rest_height=REST, max_tilt=MAX_TILT).tilt(UP) <= MAX_TILT + 1e-9


def test_too_few_foot_points_are_refused() -> None:
    with pytest.raises(ValueError, match="2 foot points are not enough"):
        fit_ground_plane(feet(2), UP, rest_height=REST, max_tilt=MAX_TILT)
    with pytest.raises(ValueError, match="up direction of the body"):
        body_up(np.full((3, 3), np.nan), np.zeros((3, 3)))
