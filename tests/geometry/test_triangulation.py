"""Triangulation against exact points, NumPy's least squares and NumPy's singular vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.geometry.cameras import orbit_camera, rigid, world_to_camera
from hmr4d.geometry.triangulation import (
    _eigenvalue_range,
    fill_in_time,
    triangulate_orthographic,
    triangulate_perspective,
    triangulate_robust,
)

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
def test_exact_points_are_restored(kind: str, num_views: int, leading: tuple[int, ...]) -> None:
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


def robust_scene(num_points: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Four cameras, points and their images (4, N, 2) at unit depth."""
    T, points = cameras(4, seed=5), body_points(num_points)
    return T, points, see(points, T, "perspective")


def ones(images: Tensor) -> Tensor:
    return torch.ones_like(images[..., 0])


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_robust_points_of_exact_images(leading: tuple[int, ...]) -> None:
    T, points = cameras(*leading, 4), body_points(*leading, 5)
    got = triangulate_robust(see(points, T, "perspective"), T, torch.ones(*leading, 4, 5))
    assert torch.allclose(got.points, points, atol=1e-9)
    assert got.ok.all()
    assert got.determined.all()
    assert got.used.all()
    assert got.residual.max() < 1e-9


def test_robust_points_do_not_depend_on_what_else_is_solved() -> None:
    T, _, images = robust_scene()
    images, weights, scale = noise_like(images, 0.01), ones(images), torch.full((4, 1), 0.3)
    together = triangulate_robust(images, T, weights, scale=scale).points
    for i in range(0, 40, 13):
        alone = triangulate_robust(images[:, i : i + 1], T, weights[:, i : i + 1], scale=scale).points
        assert torch.allclose(alone[0], together[i], atol=1e-12)


def test_a_wild_view_is_voted_down() -> None:
    """One image in four is off by half a box: without reweighting the point follows it, with it hardly."""
    T, points, images = robust_scene()
    images = noise_like(images, 0.0005)
    images[2] += torch.tensor([0.15, -0.1])
    scale = torch.full((4, 1), 0.3, dtype=torch.float64)
    plain = (triangulate_robust(images, T, ones(images), rounds=0).points - points).norm(dim=-1)
    robust = (triangulate_robust(images, T, ones(images), scale=scale, rounds=5).points - points).norm(dim=-1)
    assert plain.median() > 0.1
    assert robust.median() < 0.01


def test_reweighting_by_depth_minimises_the_error_in_the_images() -> None:
    """Reprojection errors are no larger than those of nearby points."""
    T, _, images = robust_scene(10)
    images = noise_like(images, 0.02)
    best = triangulate_robust(images, T, ones(images), rounds=8).points

    def squared(X: Tensor) -> Tensor:
        return (see(X, T, "perspective") - images).square().sum((0, 2))

    for seed in range(20):
        assert (squared(noise_like(best, 0.02, seed)) > squared(best) - 1e-6).all()


@pytest.mark.parametrize("has_prior", [False, True])
def test_exactly_parallel_rays(has_prior: bool) -> None:
    """Two level cameras side by side that look the same way see a point at infinity: only a prior has a depth."""
    R = torch.eye(3, dtype=torch.float64)
    T = rigid(R.expand(2, 3, 3), torch.tensor([[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]], dtype=torch.float64))
    images = torch.tensor([[[0.1, 0.2]], [[0.1, 0.2]]], dtype=torch.float64)
    prior = torch.tensor([[0.3, 0.6, 3.0]], dtype=torch.float64)
    got = triangulate_robust(images, T, ones(images), prior=prior if has_prior else None)
    assert got.points.isfinite().all()
    assert not got.determined.any()
    assert got.ok.item() is has_prior
    if has_prior:
        assert (got.points - prior).norm() < 0.1
    else:
        assert (got.points == 0).all()


def test_one_view_and_a_prior_give_a_point_on_the_ray_at_the_depth_of_the_prior() -> None:
    T, points, images = robust_scene()
    weights = torch.zeros_like(images[..., 0])
    weights[1] = 5.0
    got = triangulate_robust(images, T, weights, prior=noise_like(points, 0.2), scale=torch.full((4, 1), 0.3))
    assert got.ok.all()
    assert not got.determined.any()
    seen, depth = see(got.points, T, "perspective")[1], world_to_camera(got.points, T[1])[:, 2]
    assert (seen - images[1]).norm(dim=-1).max() < 0.005
    assert (depth - world_to_camera(points, T[1])[:, 2]).abs().max() < 0.7
    assert got.used.tolist() == [[v == 1] * 40 for v in range(4)]


def test_a_view_that_the_point_is_behind_is_dropped() -> None:
    """The line of sight of a fourth camera is prolonged backwards through the point."""
    _, points, _ = robust_scene()
    T = orbit_camera(torch.tensor([0.0, 1.5, 3.0]).double(), torch.tensor(0.1).double(), torch.tensor(4.5).double())
    turned = rigid(torch.eye(3).double(), torch.tensor([0.0, 0.0, -3.0]).double())  # looks along z from 3 m ahead
    T = torch.cat([T, turned[None]])
    images = noise_like(see(points, T, "perspective"), 0.002)
    images[3] += 0.3  # what a detector reports there is nonsense anyway
    got = triangulate_robust(images, T, ones(images), scale=torch.full((4, 1), 0.3))
    without = triangulate_robust(images[:3], T[:3], ones(images)[:3], scale=torch.full((3, 1), 0.3))
    assert not got.used[3].any()
    assert got.used[:3].all()
    assert torch.allclose(got.points, without.points, atol=1e-4)  # four rounds have not wholly settled


def test_rays_that_meet_behind_all_cameras_are_no_point() -> None:
    """Two cameras side by side whose rays spread: the lines meet behind them."""
    R = torch.eye(3, dtype=torch.float64)
    T = rigid(R.expand(2, 3, 3), torch.tensor([[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]], dtype=torch.float64))
    images = torch.tensor([[[-0.3, 0.0]], [[0.3, 0.0]]], dtype=torch.float64)
    got = triangulate_robust(images, T, ones(images))
    assert not got.ok.any()
    assert (got.points == 0).all()
    prior = torch.tensor([[0.0, 0.0, 4.0]], dtype=torch.float64)
    assert triangulate_robust(images, T, ones(images), prior=prior, rounds=5).points.isfinite().all()


def test_joints_that_no_view_sees() -> None:
    T, points, images = robust_scene()
    weights = ones(images)
    weights[:, ::3] = 0.0
    got = triangulate_robust(images, T, weights)
    assert (~got.ok[::3]).all()
    assert got.ok[1::3].all()
    assert (got.points[::3] == 0).all()
    assert (got.residual[::3] == 0).all()
    with_prior = triangulate_robust(images, T, weights, prior=points + 1.0)
    assert torch.allclose(with_prior.points[::3], points[::3] + 1.0)
    assert not with_prior.ok[::3].any()


def test_a_prior_that_is_no_number_is_none() -> None:
    T, points, images = robust_scene()
    weights = ones(images)
    weights[1:, ::2] = 0.0  # one ray
    prior = points + 0.1
    prior[::4] = torch.nan
    got, without = (triangulate_robust(images, T, weights, prior=p) for p in (prior, None))
    assert not got.ok[::4].any() and got.ok[2::4].all() and got.ok[1::2].all()
    assert not without.ok[::2].any()
    torch.testing.assert_close(got.points[::4], without.points[::4])


def test_numbers_that_are_none_count_as_unseen() -> None:
    T, points, images = robust_scene()
    broken, weights = images.clone(), ones(images)
    broken[0, :7] = torch.nan
    broken[1, :5, 0] = torch.inf
    weights[2, 3] = torch.nan
    broken[3, 0] = torch.nan
    prior = torch.full_like(points, torch.nan)
    got = triangulate_robust(broken, T, weights, prior=prior)
    assert got.points.isfinite().all()
    assert got.residual.isfinite().all()
    assert torch.allclose(got.points[[1, 2, *range(5, 40)]], points[[1, 2, *range(5, 40)]], atol=1e-9)
    assert not got.determined[[0, 3]].any()


def test_robust_points_in_float32_are_solved_in_double() -> None:
    T, points, images = robust_scene()
    got = triangulate_robust(images.float(), T.float(), ones(images).float(), prior=points.float())
    assert got.points.dtype == got.residual.dtype == torch.float32
    assert (got.points - points).abs().max() < 1e-5


def test_gaps_in_time_are_filled_per_joint() -> None:
    joints = torch.arange(5.0)[:, None, None] * torch.ones(3, 3)
    ok = torch.ones(5, 3, dtype=torch.bool)
    ok[1:4, 1] = False
    ok[:, 2] = False
    broken = torch.where(ok[..., None], joints, 99.0)
    filled = fill_in_time(broken, ok)
    assert torch.equal(filled[:, :2], joints[:, :2])
    assert (filled[:, 2] == 99).all()  # never seen


def test_gaps_of_several_items_are_filled_as_those_of_one() -> None:
    joints, ok = body_points(2, 6, 4), torch.rand(2, 6, 4, generator=torch.Generator().manual_seed(3)) > 0.4
    ok[0, :, 1] = False  # never good in one item alone
    alone = torch.stack([fill_in_time(x, good) for x, good in zip(joints, ok, strict=True)])
    assert torch.equal(fill_in_time(joints, ok), alone)


def test_residual_is_the_root_mean_square_over_the_views_used() -> None:
    T, points, images = robust_scene()
    images = noise_like(images, 0.01)
    weights = ones(images)
    weights[0, :5] = 0.0
    got = triangulate_robust(images, T, weights)
    error = (see(got.points, T, "perspective") - images).norm(dim=-1)
    wanted = torch.stack([error[used, n].square().mean().sqrt() for n, used in enumerate(weights.T > 0)])
    assert torch.allclose(got.residual, wanted)


def test_a_point_half_a_meter_before_its_cameras_is_one() -> None:
    T = torch.stack([rigid(torch.eye(3), torch.tensor([x, 0.0, 0.0])) for x in (-0.1, 0.1)]).double()
    point = torch.tensor([[0.05, 0.02, 0.5]], dtype=torch.float64)
    got = triangulate_robust(see(point, T, "perspective"), T, torch.ones(2, 1))
    assert got.ok.all() and got.used.all()
    assert torch.allclose(got.points, point, atol=1e-9)


def test_eigenvalues_are_those_of_numpy() -> None:
    A = body_points(50, 3)
    near = torch.eye(3, dtype=torch.float64) + 1e-9 * A[:5]
    thin = A[:5, :1].mT @ A[:5, :1]
    M = torch.cat([A @ A.mT, near @ near.mT, thin])
    wanted = np.linalg.eigvalsh(M.numpy())
    low, high = _eigenvalue_range(M)
    size = np.abs(wanted).max(-1)
    assert np.abs(low.numpy() - wanted[:, 0]).max() < 1e-6 * size.max()
    assert np.abs(high.numpy() - wanted[:, 2]).max() < 1e-6 * size.max()
