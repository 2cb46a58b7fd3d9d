"""Cameras: what an orbit looks at, inverses, projection and its inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.geometry.cameras import (
    MIN_DEPTH,
    apply_intrinsics,
    camera_position_spherical,
    invert_rigid,
    orbit_camera,
    project_orthographic,
    project_pinhole,
    remove_intrinsics,
    rigid,
    square_intrinsics,
    world_to_camera,
)


def random_orbit(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(3, *shape, generator=generator, dtype=dtype)
    return draw[0] * 2 * math.pi, (draw[1] - 0.5) * 2.8, 2.0 + 4.0 * draw[2]


def test_orbit_is_a_rotation_that_looks_at_the_origin() -> None:
    azimuth, elevation, distance = random_orbit(7, 3, dtype=torch.float64)
    T = orbit_camera(azimuth, elevation, distance)
    R = T[..., :3, :3]
    assert torch.allclose(R @ R.mT, torch.eye(3, dtype=R.dtype).expand_as(R), atol=1e-12)
    assert torch.allclose(torch.linalg.det(R), torch.ones(7, 3, dtype=R.dtype), atol=1e-12)
    origin = world_to_camera(torch.zeros(1, 3, dtype=R.dtype), T)[..., 0, :]
    ahead = torch.stack([torch.zeros_like(distance), torch.zeros_like(distance), distance], -1)
    assert torch.allclose(origin, ahead, atol=1e-12)


def test_orbit_keeps_the_world_upright_in_the_image() -> None:
    azimuth, elevation, distance = random_orbit(50)
    T = orbit_camera(azimuth, elevation, distance)
    up = world_to_camera(torch.tensor([[0.0, 0.1, 0.0]]), T)[..., 0, :]
    assert (up[:, 1] < 0).all(), "camera y points down, so a point above the origin has negative y"
    assert up[:, 0].abs().max() < 1e-6, "the horizon is level"


@pytest.mark.parametrize(
    ("degrees", "position"), [(0, (0, 0, -2)), (90, (-2, 0, 0)), (180, (0, 0, 2)), (270, (2, 0, 0))]
)
def test_quarter_turns(degrees: float, position: tuple[float, ...]) -> None:
    T = orbit_camera(torch.tensor(math.radians(degrees)), torch.tensor(0.0), torch.tensor(2.0))
    assert torch.allclose(invert_rigid(T)[:3, 3], torch.tensor(position, dtype=torch.float32), atol=1e-6)


def test_elevation_lifts_the_camera() -> None:
    T = orbit_camera(torch.tensor(1.0), torch.tensor(math.radians(30)), torch.tensor(4.0))
    assert math.isclose(float(invert_rigid(T)[1, 3]), 2.0, abs_tol=1e-6)


def test_spherical_position_gives_the_parameters_of_the_orbit() -> None:
    azimuth, elevation, distance = random_orbit(40, dtype=torch.float64)
    polar, angle, radius = camera_position_spherical(orbit_camera(azimuth, elevation, distance))
    assert torch.allclose(polar, math.pi / 2 - elevation)
    assert torch.allclose(radius, distance)
    turn = torch.remainder(angle + azimuth + math.pi / 2, 2 * math.pi)  # atan2(-cos, -sin) = -azimuth - pi / 2
    assert torch.minimum(turn, 2 * math.pi - turn).max() < 1e-9


def test_inverse_of_a_rigid_transform() -> None:
    T = orbit_camera(*random_orbit(5, 2, dtype=torch.float64))
    identity = torch.eye(4, dtype=T.dtype).expand_as(T)
    assert torch.allclose(invert_rigid(T) @ T, identity, atol=1e-12)
    assert torch.allclose(invert_rigid(T), torch.linalg.inv(T), atol=1e-12)
    assert torch.allclose(invert_rigid(invert_rigid(T)), T, atol=1e-12)


def test_world_to_camera_is_the_matrix_product() -> None:
    T = orbit_camera(*random_orbit(4))
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    homogeneous = np.concatenate([points.numpy(), np.ones((6, 1))], -1)
    expected = np.einsum("vij,nj->vni", T.numpy(), homogeneous)[..., :3]
    assert np.allclose(world_to_camera(points, T), expected, atol=1e-5)


def test_transforms_compose() -> None:
    first, second = orbit_camera(*random_orbit(2, dtype=torch.float64))
    points = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(
        world_to_camera(world_to_camera(points, first), second), world_to_camera(points, second @ first), atol=1e-12
    )


def test_projections_are_those_of_the_textbook() -> None:
    K = square_intrinsics(224)
    points = torch.tensor([[0.3, -0.2, 2.0], [0.0, 0.0, 5.0]])
    focal = math.sqrt(2) * 224
    assert torch.allclose(project_pinhole(points, K)[0], torch.tensor([focal * 0.15 + 112, -focal * 0.1 + 112]))
    assert torch.allclose(project_orthographic(points, K)[0], torch.tensor([focal * 0.3 + 112, -focal * 0.2 + 112]))
    assert torch.equal(project_pinhole(points, K)[1], torch.tensor([112.0, 112.0]))


def test_pinhole_scales_with_depth_and_orthographic_does_not() -> None:
    K = square_intrinsics(224)
    points = torch.randn(9, 3, generator=torch.Generator().manual_seed(3)) + torch.tensor([0.0, 0.0, 4.0])
    assert torch.allclose(project_pinhole(points * 3.0, K), project_pinhole(points, K), atol=1e-3)
    moved = points + torch.tensor([0.0, 0.0, 7.0])
    assert torch.equal(project_orthographic(moved, K), project_orthographic(points, K))


def test_a_point_in_the_camera_plane_stays_finite() -> None:
    points = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, -1e-9], [1.0, 1.0, MIN_DEPTH / 2]], requires_grad=True)
    pixels = project_pinhole(points, square_intrinsics(224))
    assert torch.isfinite(pixels).all()
    pixels.sum().backward()
    assert torch.isfinite(points.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_intrinsics_can_be_removed(dtype: torch.dtype) -> None:
    K = square_intrinsics(224, like=torch.empty(0, dtype=dtype)).expand(2, 3, 3, 3)
    points = torch.randn(2, 3, 8, 2, dtype=dtype, generator=torch.Generator().manual_seed(4))
    pixels = apply_intrinsics(points, K)
    assert pixels.dtype == dtype
    assert torch.allclose(remove_intrinsics(pixels, K), points, atol=1e-5)


def test_one_item_of_a_batch_does_not_know_the_others() -> None:
    azimuth, elevation, distance = random_orbit(6)
    points = torch.randn(6, 11, 3, generator=torch.Generator().manual_seed(5))
    K = square_intrinsics(224)
    T = orbit_camera(azimuth, elevation, distance)
    batch = project_pinhole(world_to_camera(points, T), K)
    for i in range(6):
        alone = orbit_camera(azimuth[i], elevation[i], distance[i])
        assert torch.allclose(batch[i], project_pinhole(world_to_camera(points[i], alone), K), atol=1e-3)


def test_orbit_broadcasts_its_arguments() -> None:
    T = orbit_camera(torch.zeros(4, 1), torch.zeros(5), torch.tensor(3.0))
    assert T.shape == (4, 5, 4, 4)


def test_gradients_are_finite_at_the_poles() -> None:
    elevation = torch.tensor([math.pi / 2, -math.pi / 2, 0.0], requires_grad=True)
    T = orbit_camera(torch.zeros(3), elevation, torch.tensor(4.0))
    world_to_camera(torch.ones(1, 3), T).sum().backward()
    assert torch.isfinite(elevation.grad).all()


def test_rigid_puts_the_parts_in_place() -> None:
    R, t = torch.eye(3).expand(2, 3, 3), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    T = rigid(R, t)
    assert torch.equal(T[:, :3, 3], t)
    assert torch.equal(T[:, 3], torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(2, 4))


def test_intrinsics_of_a_square_patch() -> None:
    focal = 224 * math.sqrt(2)
    wanted = torch.tensor([[focal, 0.0, 112.0], [0.0, focal, 112.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(square_intrinsics(224), wanted)


def test_intrinsics_act_as_their_matrix_on_image_plane_points() -> None:
    K = torch.tensor([[2.0, 0.5, 10.0], [0.0, 3.0, 20.0], [0.0, 0.0, 1.0]])
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
    expected = torch.tensor([[10.0, 20.0], [12.0, 20.0], [10.5, 23.0], [13.5, 17.0]])
    assert torch.allclose(apply_intrinsics(points, K), expected)
