"""What pixels see of the floor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hmr4d.geometry.ground_pointmap import POINTMAP_UNIT, ground_pointmap, meet_floor
from hmr4d.geometry.rigs import Rig, camera_pose, mirror_rig, project
from tests.geometry.test_rigs import some_rig


def floor_points(rig: Rig, grid: int | tuple[int, int] = 64) -> tuple[Tensor, Tensor]:
    """Points (..., V, Hp, Wp, 3) in meters, however far, and whether they are seen."""
    pointmap = ground_pointmap(rig, grid, max_range=math.inf)
    return POINTMAP_UNIT * pointmap[..., :3, :, :].movedim(-3, -1), pointmap[..., 3, :, :] == 1


def cell_centers(size: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., Hp, Wp, 2) pixels; the image reaches from -1/2 to its width - 1/2."""
    rows, columns = (torch.arange(n).double() for n in grid)
    u = (columns + 0.5) / grid[1] * size[..., None, :1] - 0.5
    v = (rows[:, None] + 0.5) / grid[0] * size[..., None, 1:] - 0.5
    return torch.stack(torch.broadcast_tensors(u, v), -1)


def test_points_project_to_their_pixels_and_lie_on_the_floor() -> None:
    rig = some_rig(2, 4)
    points, valid = floor_points(rig, (24, 32))
    assert valid.any()
    assert not valid.all()
    assert (points[..., 1] == 0).all()
    pixels = cell_centers(rig.size, (24, 32))
    for b in range(2):
        for v in range(4):
            seen, depth = project(
                Rig(rig.size[b, v : v + 1], rig.K4[b, v : v + 1], rig.T_w2c[b, v : v + 1]), points[b, v]
            )
            near = valid[b, v] & (depth[0] < 1000)
            assert (depth[0][valid[b, v]] > 0).all()
            assert torch.allclose(seen[0][near], pixels[b, v][near], atol=1e-6)


def test_plane_homography_gives_the_same_points() -> None:
    """(x, z, 1) is proportional to H^-1 (u, v, 1) with H = K [r1 r3 t]."""
    rig = some_rig(3)
    points, valid = floor_points(rig, 16)
    H = rig.K @ torch.stack([rig.T_w2c[..., :3, 0], rig.T_w2c[..., :3, 2], rig.T_w2c[..., :3, 3]], -1)
    pixels = cell_centers(rig.size, (16, 16))
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
    xz = torch.einsum("vij,vhwj->vhwi", torch.linalg.inv(H), homogeneous)
    xz = xz[..., :2] / xz[..., 2:]
    near = valid & (points.norm(dim=-1) < 100)
    assert torch.allclose(points[..., [0, 2]][near], xz[near], rtol=1e-9, atol=1e-9)


def test_level_camera_sees_the_floor_below_its_horizon() -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    T = camera_pose(zero, zero, zero, torch.tensor([[0.0, 2.0, 0.0]], dtype=torch.float64))
    rig = Rig(torch.tensor([[64.0, 64.0]]).double(), torch.tensor([[32.0, 32.0, 31.5, 31.5]]).double(), T)
    pointmap = ground_pointmap(rig, grid=64)
    assert pointmap.shape == (1, 4, 64, 64)
    x, y, z, valid = pointmap[0]
    assert (valid[:32] == 0).all()
    assert (valid[32:] == 1).all()
    assert (pointmap[0, :, :32] == 0).all()
    assert (y == 0).all()
    assert (z[32:] < 0).all()  # ahead is -z
    assert (x[32:, 32:] > 0).all()  # right in the image is right on the floor
    # The last row falls 31.5 / 32 m a metre: the floor, 2 m below, is met at depth 64 / 31.5.
    assert torch.allclose(z[63], torch.full((64,), -64 / 31.5 / 10).double())


def test_far_points_are_drawn_in_towards_their_camera() -> None:
    rig = some_rig(3, 4)
    points, valid = floor_points(rig)
    pointmap = ground_pointmap(rig, max_range=8.0)
    near_points = pointmap[:, :, :3].movedim(2, -1) * 10
    foot = rig.centers[..., None, None, :] * torch.tensor([1.0, 0.0, 1.0])
    away, away_clipped = points - foot, near_points - foot
    far = valid & (away.norm(dim=-1) > 8)
    assert far.any()
    assert torch.allclose(away_clipped[far].norm(dim=-1), torch.full((int(far.sum()),), 8.0).double())
    direction = torch.nn.functional.cosine_similarity(away[far], away_clipped[far], dim=-1)
    assert torch.allclose(direction, torch.ones_like(direction))
    assert torch.allclose(near_points[valid & ~far], points[valid & ~far])
    assert torch.equal(pointmap[:, :, 3] == 1, valid)


def test_cameras_below_the_floor_or_turned_away_see_none() -> None:
    def view(pitch: float, height: float) -> Tensor:
        angles = (torch.tensor(a, dtype=torch.float64) for a in (pitch, 0.0, 0.0))
        T = camera_pose(*angles, torch.tensor([0.0, height, 0.0], dtype=torch.float64))
        rig = some_rig(1)
        return floor_points(Rig(rig.size, rig.K4, T[None]))[1]

    assert not view(-1.2, 2.0).any()
    assert not view(0.3, -1.0).any()
    assert view(math.pi / 2, 2.0).all()


def test_mirrored_maps() -> None:
    rig = some_rig(4)
    pointmap, mirrored = ground_pointmap(rig), ground_pointmap(mirror_rig(rig))
    expected = pointmap.flip(-1) * torch.tensor([-1.0, 1.0, 1.0, 1.0])[:, None, None]
    assert torch.allclose(mirrored, expected, atol=1e-9)


def test_float32_is_enough() -> None:
    rig = some_rig(4, 4)
    exact, rounded = ground_pointmap(rig), ground_pointmap(rig.to(torch.float32))
    assert (exact - rounded.double()).abs().max() < 1e-4


def test_a_camera_below_a_meter_sees_the_floor() -> None:
    angles = (torch.tensor(a, dtype=torch.float64) for a in (math.pi / 2, 0.0, 0.0))
    T = camera_pose(*angles, torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))
    rig = some_rig(1)
    assert floor_points(Rig(rig.size, rig.K4, T[None]))[1].all()


def test_rays_of_seen_points_meet_the_planes_that_these_lie_in() -> None:
    rig = some_rig(2, 4)
    low, high = torch.tensor([[-2.0, 0.0, -2.0], [2.0, 0.4, 2.0]], dtype=torch.float64)
    joints3d = low + (high - low) * torch.rand(2, 3, 5, 3, generator=torch.manual_seed(0), dtype=torch.float64)
    pixels, depth = project(rig, joints3d)
    points, valid = meet_floor(rig, pixels, joints3d[:, None, ..., 1])
    seen = depth > 0.1
    assert seen.any() and valid[seen].all()
    torch.testing.assert_close(points[seen], joints3d[:, None].expand_as(points)[seen], atol=1e-9, rtol=0.0)
    points, valid = meet_floor(rig, pixels - torch.tensor([0.0, 1e6]), 0.1)  # rays that rise
    assert not valid.any()
    assert torch.equal(points, rig.centers[:, :, None, None].expand_as(points))
