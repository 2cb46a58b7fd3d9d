"""Cameras and lenses undo what they do, whatever their place, direction and focal length."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hmr4d.geometry.cameras import (
    apply_intrinsics,
    invert_rigid,
    project_pinhole,
    remove_intrinsics,
    rigid,
    world_to_camera,
)
from hmr4d.geometry.distortion import distort, undistort
from hmr4d.geometry.rigs import (
    Rig,
    camera_angles,
    camera_condition,
    camera_pose,
    canonicalise,
    first_camera,
    intrinsics,
    mirror_rig,
    normalize,
    project,
)
from hmr4d.utils import lazy_roma as roma
from tests.strategies import rotation_vectors, tensors

EXACT = 1e-9


@st.composite
def rigs(draw: st.DrawFn, views: int = 1, *, pitch: float = 1.4) -> Rig:
    """V cameras above the floor."""

    def each(low: float, high: float) -> Tensor:
        return draw(tensors(views, low=low, high=high))

    size = torch.stack([each(320, 4000).round(), each(240, 4000).round()], -1)
    focal = size.amax(-1, keepdim=True) * torch.stack([each(0.4, 3.0), each(0.4, 3.0)], -1)
    middle = size * torch.stack([each(0.3, 0.7), each(0.3, 0.7)], -1)
    center = torch.stack([each(-8, 8), each(0.3, 6), each(-8, 8)], -1)
    T_w2c = camera_pose(each(-pitch, pitch), each(-3, 3), each(-3, 3), center)
    return Rig(size, torch.cat([focal, middle], -1), T_w2c)


def assert_near(got: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)


def point_at(rig: Rig, pixels: Tensor, depth: Tensor) -> Tensor:
    """(N, 3) world points that the first camera sees at pixels (N, 2), at depths (N,)."""
    rays = remove_intrinsics(pixels, rig.K[0])
    points_c = torch.cat([rays, torch.ones_like(rays[:, :1])], -1) * depth[:, None]
    return world_to_camera(points_c, invert_rigid(rig.T_w2c[0]))


@given(rotation_vectors(), tensors(3), tensors(5, 3))
def test_world_to_camera_and_back(rotvec: Tensor, t: Tensor, points: Tensor) -> None:
    T = rigid(roma.rotvec_to_rotmat(rotvec), t)
    assert_near(world_to_camera(world_to_camera(points, T), invert_rigid(T)), points)
    assert_near(invert_rigid(invert_rigid(T)), T)
    assert_near(T @ invert_rigid(T), torch.eye(4, dtype=torch.float64))


@given(rigs(), tensors(6, 2, low=-500, high=4500), tensors(6, low=0.2, high=50))
def test_unprojected_pixels_project_to_themselves(rig: Rig, pixels: Tensor, depth: Tensor) -> None:
    points = point_at(rig, pixels, depth)
    seen, depths = project(rig, points[None])
    assert_near(seen[0, 0], pixels, 1e-8)
    assert_near(depths[0, 0], depth)
    assert_near(seen[0, 0], project_pinhole(world_to_camera(points, rig.T_w2c[0]), rig.K[0]))
    assert_near(apply_intrinsics(normalize(rig, seen)[0, 0], rig.K[0]), pixels, 1e-8)


@given(rigs(3))
def test_angles_and_place_give_the_camera_back(rig: Rig) -> None:
    pitch, roll, yaw = camera_angles(rig.T_w2c[:, :3, :3])
    assert_near(camera_pose(pitch, roll, yaw, rig.centers), rig.T_w2c)
    assert (pitch.abs() <= math.pi / 2).all()


@given(rigs())
def test_condition_of_the_first_camera_gives_it_back(rig: Rig) -> None:
    own, _ = canonicalise(rig.T_w2c, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), 0.0)
    canonical = Rig(rig.size, rig.K4, own)
    again = first_camera(camera_condition(canonical)[0], rig.size[0])
    assert_near(again.K4, rig.K4)
    assert_near(again.T_w2c, own)


@given(rigs(3), tensors(4, 3, low=-3, high=3))
def test_canonical_rig_sees_the_moved_points_where_the_given_one_did(rig: Rig, points: Tensor) -> None:
    own, T_cal2world = canonicalise(rig.T_w2c, torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64), 0.0)
    moved = world_to_camera(points, T_cal2world)
    assert_near(world_to_camera(moved, own), world_to_camera(points, rig.T_w2c))
    assert_near(moved[:, 1], points[:, 1], 1e-9)
    center = invert_rigid(own)[0, :3, 3]
    assert_near(center[[0, 2]], torch.zeros(2, dtype=torch.float64))


@given(rigs(2), tensors(6, 2, low=-500, high=4500), tensors(6, low=0.2, high=50))
def test_mirrored_rig_sees_the_mirrored_points_mirrored(rig: Rig, pixels: Tensor, depth: Tensor) -> None:
    points = point_at(rig, pixels, depth)
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    seen, _ = project(mirror_rig(rig), mirrored[None])
    assert_near(seen[0, 0, :, 0], rig.size[0, 0] - 1 - pixels[:, 0], 1e-8)
    assert_near(seen[0, 0, :, 1], pixels[:, 1], 1e-8)
    twice = mirror_rig(mirror_rig(rig))
    assert_near(twice.K4, rig.K4)
    assert_near(twice.T_w2c, rig.T_w2c)


@st.composite
def mild_lenses(draw: st.DrawFn) -> Tensor:
    """(4 | 5 | 8,) coefficients that keep the order of points out to a radius of 1 at unit depth."""
    bounds = [0.1, 0.03, 0.01, 0.01, 0.01, 0.05, 0.02, 0.005][: draw(st.sampled_from([4, 5, 8]))]
    return draw(tensors(len(bounds), low=-1.0, high=1.0)) * torch.tensor(bounds, dtype=torch.float64)


@given(rigs(), mild_lenses(), tensors(8, 2, low=-0.7, high=0.7))
def test_undistorting_gives_the_pixels_before_the_lens(rig: Rig, lens: Tensor, rays: Tensor) -> None:
    pixels = apply_intrinsics(rays, rig.K[0])
    assert_near(undistort(distort(pixels, rig.K4[0], lens), rig.K4[0], lens), pixels, 1e-7)


@given(rigs(), tensors(5, low=-0.6, high=0.6), tensors(8, 2, low=-2, high=2))
def test_what_any_lens_undistorts_it_distorts_back(rig: Rig, lens: Tensor, rays: Tensor) -> None:
    """Strong lenses reach no ray for some pixels, which come out as NaN."""
    pixels = apply_intrinsics(rays, rig.K[0])
    flat = undistort(pixels, rig.K4[0], lens)
    found = flat.isfinite().all(-1)
    tolerance = 1e-6 * float(rig.K4[0, :2].max())  # pixels, of a millionth at unit depth
    error = (distort(flat, rig.K4[0], lens) - pixels)[found].norm(dim=-1)
    assert (error <= tolerance).all()


@given(tensors(4, low=1.0, high=4000.0))
def test_lens_without_coefficients_changes_nothing(K4: Tensor) -> None:
    pixels = torch.tensor([[0.0, 0.0], [1919.0, 3.0]], dtype=torch.float64)
    none = torch.zeros(5, dtype=torch.float64)
    assert_near(distort(pixels, K4, none), pixels)
    assert_near(undistort(pixels, K4, none), pixels)
    assert_near(intrinsics(K4)[[0, 1, 0, 1], [0, 1, 2, 2]], K4)
