"""Triangulation against exact points, NumPy's least squares and NumPy's singular vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.geometry.cameras import orbit_camera, rigid, world_to_camera
from hmr4d.geometry.triangulation import triangulate_orthographic, triangulate_perspective

METHODS = {"orthographic": triangulate_orthographic, "perspective": triangulate_perspective}


def cameras(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    angles = torch.rand(*shape, generator=generator, dtype=dtype) * 6.28
    return orbit_camera(
        angles, (torch.rand(shape, generator=generator, dtype=dtype) - 0.5), torch.tensor(4.5).to(dtype)
    )


def see(points: Tensor, T_w2c: Tensor, kind: str) -> Tensor:
    """(..., V, N, 2) image-plane points of (..., N, 3)."""
    seen = world_to_camera(points[..., None, :, :], T_w2c)
    return seen[..., :2] if kind == "orthographic" else seen[..., :2] / seen[..., 2:]


def body_points(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return 0.6 * torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def noise_like(x: Tensor, size: float, seed: int = 2) -> Tensor:
    return x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("num_views", [2, 3, 4, 7])
@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_exact_points_come_back(kind: str, num_views: int, leading: tuple[int, ...]) -> None:
    T, points = cameras(*leading, num_views), body_points(*leading, 5)
    assert torch.allclose(METHODS[kind](see(points, T, kind), T), points, atol=1e-9)


@pytest.mark.parametrize("kind", METHODS)
def test_float32_in_float32_out(kind: str) -> None:
    T, points = cameras(4, dtype=torch.float32), body_points(9, dtype=torch.float32)
    got = METHODS[kind](see(points, T, kind), T)
    assert got.dtype == torch.float32
    assert torch.allclose(got, points, atol=1e-5)


@pytest.mark.parametrize("size", [0.01, 1.0])
def test_orthographic_is_the_least_squares_solution(size: float) -> None:
    T = cameras(4)
    seen = noise_like(see(body_points(6), T, "orthographic"), size)
    A = T[:, :2, :3].reshape(-1, 3).numpy()
    b = (seen - T[:, None, :2, 3]).transpose(1, 2).reshape(-1, 6).numpy()  # rows (view, coordinate), columns points
    expected = np.linalg.lstsq(A, b, rcond=None)[0].T
    assert np.allclose(triangulate_orthographic(seen, T), expected, atol=1e-9)


def smallest_singular_point(seen: np.ndarray, P: np.ndarray) -> np.ndarray:
    """(3,) from one point's images (V, 2) and (V, 3, 4)."""
    A = seen[:, :, None] * P[:, 2:] - P[:, :2]
    v = np.linalg.svd(A.reshape(-1, 4))[2][-1]
    return v[:3] / v[3]


@pytest.mark.parametrize("num_views", [2, 3, 4, 6])
@pytest.mark.parametrize("size", [0.0, 1e-3, 0.1, 0.3, 1.0, 3.0])
def test_perspective_is_the_smallest_singular_vector(num_views: int, size: float) -> None:
    """Also when the views disagree wildly, as in the first steps of sampling."""
    T = cameras(40, num_views)
    seen = noise_like(see(body_points(40, 6), T, "perspective"), size)
    got = triangulate_perspective(seen, T).numpy()
    for b in range(40):
        for n in range(6):
            expected = smallest_singular_point(seen[b, :, n].numpy(), T[b, :, :3].numpy())
            assert np.linalg.norm(got[b, n] - expected) <= 1e-6 * (1 + np.linalg.norm(expected) ** 2)


@pytest.mark.parametrize("kind", METHODS)
def test_equal_weights_change_nothing(kind: str) -> None:
    T = cameras(3, 4)
    seen = noise_like(see(body_points(3, 5), T, kind), 0.05)
    plain = METHODS[kind](seen, T)
    assert torch.allclose(METHODS[kind](seen, T, torch.full((3, 4, 5), 2.5, dtype=seen.dtype)), plain, atol=1e-9)


@pytest.mark.parametrize("kind", METHODS)
def test_a_view_without_weight_does_not_count(kind: str) -> None:
    T, points = cameras(4), body_points(5)
    seen = see(points, T, kind)
    weights = torch.ones(4, 5, dtype=seen.dtype)
    seen[1, 2] += 3.0
    weights[1, 2] = 0.0
    assert torch.allclose(METHODS[kind](seen, T, weights), points, atol=1e-9)


@pytest.mark.parametrize(("kind", "weight"), [("orthographic", 2.0), ("perspective", 2.0**0.5)])
def test_a_weight_of_two_is_a_view_given_twice(kind: str, weight: float) -> None:
    """Orthographic weights scale squared errors, perspective ones the rows."""
    T = cameras(3)
    seen = noise_like(see(body_points(5), T, kind), 0.05)
    weights = torch.ones(3, 5, dtype=seen.dtype)
    weights[0] = weight
    twice = METHODS[kind](torch.cat([seen[:1], seen]), torch.cat([T[:1], T]))
    assert torch.allclose(METHODS[kind](seen, T, weights), twice, atol=1e-9)


@pytest.mark.parametrize("kind", METHODS)
def test_moving_the_world_moves_the_answer(kind: str) -> None:
    """Orthographic: any rigid motion. Perspective with noise: turns only, the algebraic error depends on the origin."""
    T = cameras(4)
    seen = noise_like(see(body_points(5), T, kind), 0.02)
    move = cameras(1, seed=9)[0]
    if kind == "perspective":
        move = rigid(move[:3, :3], torch.zeros(3, dtype=move.dtype))
    got = METHODS[kind](seen, T @ torch.linalg.inv(move))
    assert torch.allclose(got, world_to_camera(METHODS[kind](seen, T), move), atol=1e-8)


@pytest.mark.parametrize("kind", METHODS)
def test_points_and_items_do_not_know_each_other(kind: str) -> None:
    T = cameras(3, 4)
    seen = noise_like(see(body_points(3, 5), T, kind), 0.1)
    batch = METHODS[kind](seen, T)
    for b in range(3):
        for n in range(5):
            assert torch.allclose(batch[b, n : n + 1], METHODS[kind](seen[b, :, n : n + 1], T[b]), atol=1e-9)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("size", [0.0, 0.2])
def test_gradients_are_those_of_finite_differences(kind: str, size: float) -> None:
    T = cameras(4)
    seen = noise_like(see(body_points(2), T, kind), size).requires_grad_()
    method: Callable[..., Tensor] = METHODS[kind]
    assert torch.autograd.gradcheck(lambda p: method(p, T), seen, atol=1e-4)
