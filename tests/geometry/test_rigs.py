"""Cameras over a floor: angles, the canonical world, projection and reflection."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hmr4d.geometry.cameras import invert_rigid, rigid, world_to_camera
from hmr4d.geometry.rigs import (
    Rig,
    camera_angles,
    camera_condition,
    camera_pose,
    camera_rotation,
    canonicalise,
    mirror_rig,
    normalize,
    project,
)


def uniform(low: float, high: float, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def some_rig(*shape: int, seed: int = 0) -> Rig:
    """Cameras (*shape) at 1 to 4 m that look down a little, one of them V0."""
    yaw = uniform(-3, 3, *shape, seed=seed)
    center = uniform(-3, 3, *shape, 3, seed=seed + 1)
    center[..., 1] = uniform(1, 4, *shape, seed=seed + 2)
    T = camera_pose(uniform(0.0, 0.5, *shape, seed=seed + 3), uniform(-0.1, 0.1, *shape, seed=seed + 4), yaw, center)
    size = torch.tensor([640.0, 480.0], dtype=torch.float64).expand(*shape, 2)
    K4 = torch.tensor([500.0, 520.0, 330.0, 228.0], dtype=torch.float64).expand(*shape, 4)
    return Rig(size, K4, T)


def body(*shape: int, seed: int = 9) -> Tensor:
    return uniform(-1, 1, *shape, 3, seed=seed) + torch.tensor([0.0, 1.0, -5.0])


def test_level_camera_looks_along_minus_z_with_x_to_the_right() -> None:
    zero = torch.zeros((), dtype=torch.float64)
    T = camera_pose(zero, zero, zero, torch.tensor([0.0, 1.5, 0.0], dtype=torch.float64))
    ahead, right, above = world_to_camera(torch.tensor([[0, 1.5, -4], [1, 1.5, -4], [0, 2.5, -4.0]]).double(), T)
    assert torch.allclose(ahead, torch.tensor([0.0, 0.0, 4.0]).double())
    assert torch.allclose(right, torch.tensor([1.0, 0.0, 4.0]).double())
    assert torch.allclose(above, torch.tensor([0.0, -1.0, 4.0]).double())  # up is -y in the image


def test_signs_of_the_angles() -> None:
    zero, angle = torch.zeros((), dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    down = camera_rotation(angle, zero, zero)[2]  # the optical axis in the world
    assert down[1] == pytest.approx(-math.sin(0.2))
    left = camera_rotation(zero, zero, angle)[2]
    assert left[0] == pytest.approx(-math.sin(0.2))  # counter-clockwise from -z as seen from above is -x
    up = camera_rotation(zero, angle, zero)[:, 1]
    assert up[0] > 0 > up[1]  # content turned clockwise: up points to the upper right


def test_angles_and_rotations_are_inverses() -> None:
    angles = uniform(-1.5, 1.5, 200), uniform(-3, 3, 200, seed=1), uniform(-3, 3, 200, seed=2)
    R = camera_rotation(*angles)
    assert torch.allclose(R @ R.mT, torch.eye(3).double().expand_as(R), atol=1e-12)
    assert torch.allclose(torch.linalg.det(R), torch.ones(200).double())
    for got, expected in zip(camera_angles(R), angles, strict=True):
        assert torch.allclose(got, expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pitch", [math.pi / 2, -math.pi / 2])
def test_vertical_cameras_have_angles_that_give_them_back(pitch: float, dtype: torch.dtype) -> None:
    R = camera_rotation(
        torch.tensor(pitch, dtype=dtype), torch.tensor(0.3, dtype=dtype), torch.tensor(1.1, dtype=dtype)
    )
    assert torch.allclose(camera_rotation(*camera_angles(R)), R, atol=3e-6 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("flipped", [False, True])
def test_any_calibration_comes_to_the_canonical_world(flipped: bool) -> None:
    """A canonical rig is moved to an arbitrary frame and found again; a flipped plane is turned over."""
    rig = some_rig(4)
    center0 = torch.tensor([0.0, 1.7, 0.0], dtype=torch.float64)
    T0 = camera_pose(*(torch.tensor(a, dtype=torch.float64) for a in (0.2, -0.03, 0.0)), center0)
    T_w2c = torch.cat([T0[None], rig.T_w2c[1:]])
    R = camera_rotation(*(torch.tensor(a, dtype=torch.float64) for a in (0.7, 0.4, 2.0)))
    T_world2cal = rigid(R, torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64))
    normal = R @ torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    d = -(normal @ T_world2cal[:3, 3])
    sign = -2.5 if flipped else 1.0
    got, T_cal2world = canonicalise(T_w2c @ invert_rigid(T_world2cal), sign * normal, sign * d)
    assert torch.allclose(got, T_w2c, atol=1e-9)
    assert torch.allclose(T_cal2world, invert_rigid(T_world2cal), atol=1e-9)
    assert torch.linalg.det(T_cal2world[:3, :3]) == pytest.approx(1.0)


def test_the_canonical_world_of_a_camera_that_looks_straight_down() -> None:
    T = camera_pose(*(torch.tensor(a, dtype=torch.float64) for a in (math.pi / 2, 0.0, 0.8)), torch.ones(3).double())
    got, _ = canonicalise(T[None], torch.tensor([0.0, 1.0, 0.0]), 0.0)
    assert torch.allclose(invert_rigid(got)[0, :3, 3], torch.tensor([0.0, 1.0, 0.0]).double(), atol=1e-9)
    assert torch.allclose(-got[0, 1, :3], torch.tensor([0.0, 0.0, -1.0]).double(), atol=1e-9)  # image up


@pytest.mark.parametrize(
    ("T", "normal", "d", "message"),
    [
        (torch.eye(4), [0.0, 1.0, 0.0], 0.0, "Camera 0 is 0 m from the floor"),
        (torch.eye(4), [0.0, 0.0, 0.0], 1.0, "normal is"),
        (2 * torch.eye(4), [0.0, 1.0, 0.0], 1.0, r"cameras \[0\] are invalid"),
        (torch.diag(torch.tensor([-1.0, 1, 1, 1])), [0.0, 1.0, 0.0], 1.0, "a reflection"),
        (torch.full((4, 4), torch.nan), [0.0, 1.0, 0.0], 1.0, "are invalid"),
    ],
)
def test_wrong_calibrations(T: Tensor, normal: list[float], d: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canonicalise(T[None], torch.tensor(normal), d)


def test_projection_by_hand() -> None:
    """A point 4 m ahead and 1 m right of a level camera lies fx / 4 pixels right of the principal point."""
    zero = torch.zeros(1, dtype=torch.float64)
    T = camera_pose(zero, zero, zero, torch.tensor([[0.0, 1.5, 0.0]], dtype=torch.float64))
    rig = Rig(torch.tensor([[640.0, 480.0]]).double(), torch.tensor([[500.0, 520.0, 330.0, 228.0]]).double(), T)
    points = torch.tensor([[[1.0, 1.5, -4.0], [0.0, 0.5, -4.0], [0.0, 1.5, 2.0]]], dtype=torch.float64)
    pixels, depth = project(rig, points)
    assert pixels.shape == (1, 1, 3, 2)
    assert torch.allclose(pixels[0, 0, :2], torch.tensor([[330 + 125.0, 228], [330, 228 + 130.0]]).double())
    assert torch.allclose(depth[0, 0], torch.tensor([4.0, 4.0, -2.0]).double())


def test_batches_and_unit_depth() -> None:
    rig, joints = some_rig(3, 4), body(3, 7, 5)
    pixels, depth = project(rig, joints)
    assert pixels.shape == (3, 4, 7, 5, 2)
    rays = torch.cat([normalize(rig, pixels), torch.ones_like(depth)[..., None]], -1) * depth[..., None]
    T_c2w = invert_rigid(rig.T_w2c)
    back = rays.flatten(2, 3) @ T_c2w[..., :3, :3].mT + T_c2w[..., None, :3, 3]
    assert torch.allclose(back.unflatten(2, (7, 5)), joints[:, None].expand(-1, 4, -1, -1, -1), atol=1e-9)
    one, _ = project(rig.select([2]), joints)
    assert torch.allclose(one[:, 0], pixels[:, 2])


def test_mirrored_cameras_see_mirrored_motion_in_mirrored_images() -> None:
    rig, joints = some_rig(2, 4), body(2, 7, 5)
    pixels, depth = project(rig, joints)
    seen, same_depth = project(mirror_rig(rig), joints * torch.tensor([-1.0, 1.0, 1.0]))
    expected = torch.stack([rig.size[..., None, None, 0] - 1 - pixels[..., 0], pixels[..., 1]], -1)
    assert torch.allclose(seen, expected, atol=1e-9)
    assert torch.allclose(depth, same_depth)
    angles, turned = (camera_angles(r.T_w2c[..., :3, :3]) for r in (rig, mirror_rig(rig)))
    for a, b, sign in zip(angles, turned, (1.0, -1.0, -1.0), strict=True):
        assert torch.allclose(sign * a, b, atol=1e-12)
    again = mirror_rig(mirror_rig(rig))
    assert torch.allclose(again.T_w2c, rig.T_w2c)
    assert torch.allclose(again.K4, rig.K4)


def test_condition_numbers() -> None:
    rig = some_rig(3, 4)
    pitch, roll, yaw = camera_angles(rig.T_w2c[..., :3, :3])
    full = camera_condition(rig, "full")
    assert full.shape == (3, 4, 11)
    assert torch.equal(full[..., :7], camera_condition(rig, "paper"))
    expected = torch.tensor([2 * 500 / 640, 2 * 520 / 480, 2 * 330 / 640 - 1, 2 * 228 / 480 - 1]).double()
    assert torch.allclose(full[..., :4], expected.expand(3, 4, 4))
    told = torch.stack([pitch, roll, rig.centers[..., 1], yaw.sin(), yaw.cos()], -1)
    assert torch.allclose(full[..., 4:9], told)
    assert torch.allclose(full[..., 9:], rig.centers[..., [0, 2]] / 10)
    with pytest.raises(ValueError, match="Unknown camera condition 'rich'; known: .'full', 'paper'."):
        camera_condition(rig, "rich")


def test_projection_stays_exact_under_autocast() -> None:
    rig, joints = some_rig(4).to(torch.float32), body(7, 5).float()
    exact, _ = project(rig, joints)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(project(rig, joints)[0], exact)


def test_selected_views_keep_all_that_they_have() -> None:
    rig = some_rig(3)
    chosen = rig.select([2, 0])
    for name in ("size", "K4", "T_w2c"):
        assert torch.equal(getattr(chosen, name), torch.stack([getattr(rig, name)[2], getattr(rig, name)[0]]))
    assert rig.to(torch.float32).size.dtype == torch.float32
