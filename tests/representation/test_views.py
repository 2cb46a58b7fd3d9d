"""From 2D in several views to 3D and back; camera embeddings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hmr4d.geometry.cameras import orbit_camera, project_pinhole, square_intrinsics, world_to_camera
from hmr4d.representation.bbox import BOX_UNIT
from hmr4d.representation.views import PATCH, OrthographicViews, PerspectiveViews, embed_views, project_views


def rig(batch: int, num_views: int, elevation: float = 0.1, distance: float = 4.5) -> Tensor:
    start = torch.rand(batch, 1, generator=torch.Generator().manual_seed(0)) * 6.28
    angles = start + torch.arange(num_views) * (2 * math.pi / num_views)
    return orbit_camera(angles, torch.tensor(elevation), torch.tensor(distance))


def local_motion(batch: int, frames: int, scale: float = 0.3) -> Tensor:
    local = scale * torch.randn(batch, frames, 23, 3, generator=torch.Generator().manual_seed(1))
    local[:, :, 0] = 0.0
    return local


@pytest.mark.parametrize("num_views", [3, 4, 6])
def test_orthographic_lift_undoes_reprojection(num_views: int) -> None:
    views, local = OrthographicViews(rig(2, num_views)), local_motion(2, 7)
    seen = views.reproject(local)
    assert seen.shape == (2, num_views, 7, 23, 2)
    assert torch.allclose(views.lift(seen), local, atol=1e-5)


def test_orthographic_reprojection_is_a_projection() -> None:
    """Reproject after lift changes disagreeing views once and never again."""
    views = OrthographicViews(rig(2, 4))
    noisy = torch.randn(2, 4, 5, 23, 2, generator=torch.Generator().manual_seed(2))
    once = views.reproject(views.lift(noisy))
    assert not torch.allclose(once, noisy, atol=1e-2)
    assert torch.allclose(views.reproject(views.lift(once)), once, atol=1e-4)


@pytest.mark.parametrize("num_views", [2, 4])
def test_perspective_lift_undoes_reprojection(num_views: int) -> None:
    K = square_intrinsics(PATCH).expand(2, num_views, 3, 3)
    box_size = torch.tensor([1.0, 0.8])
    views = PerspectiveViews(rig(2, num_views), K, box_size, torch.tensor([7, 7]))
    local = local_motion(2, 7)
    assert torch.allclose(views.lift(views.reproject(local)), local, atol=1e-4)


def test_perspective_reprojection_by_hand() -> None:
    """Root at the patch center; valid frames in box units, frames beyond in patch units."""
    T, K = rig(1, 4), square_intrinsics(PATCH).expand(1, 4, 3, 3)
    local, lengths, size = local_motion(1, 6), torch.tensor([4]), 0.9
    got = PerspectiveViews(T, K, torch.tensor([size]), lengths).reproject(local)
    for view in range(4):
        for frame in range(6):
            pixels = project_pinhole(world_to_camera(local[0, frame], T[0, view]), K[0, view])
            unit = size * BOX_UNIT / 2 if frame < 4 else PATCH / 2
            assert torch.allclose(got[0, view, frame], (pixels - PATCH / 2) / unit, atol=1e-4)


def test_items_do_not_know_each_other() -> None:
    T = rig(3, 4)
    noisy = torch.randn(3, 4, 5, 23, 2, generator=torch.Generator().manual_seed(3))
    batch = OrthographicViews(T).lift(noisy)
    for b in range(3):
        assert torch.allclose(batch[b], OrthographicViews(T[b : b + 1]).lift(noisy[b : b + 1])[0], atol=1e-5)


@pytest.mark.parametrize("is_perspective", [True, False])
def test_project_views_sees_each_point_in_each_view(is_perspective: bool) -> None:
    T, K = rig(1, 4)[0], square_intrinsics(PATCH).expand(4, 3, 3)
    local = local_motion(1, 5)[0]
    got = project_views(local, T, K, is_perspective=is_perspective)
    assert got.shape == (4, 5, 23, 2)
    point = world_to_camera(local[3, 7][None], T[2])[0]
    plane = point[:2] / point[2] if is_perspective else point[:2]
    assert torch.allclose(got[2, 3, 7], plane * K[0, 0, 0] + PATCH / 2, atol=1e-3)


def test_relative_embedding_of_an_even_rig() -> None:
    expected = torch.tensor([[0.0, 0, 1, 0, 1], [0, -1, 0, 0, 1], [0, 0, -1, 0, 1], [0, 1, 0, 0, 1]])
    assert torch.allclose(embed_views(rig(3, 4), 1.0, relative=True), expected.expand(3, 4, 5), atol=2e-6)


def test_relative_embedding_does_not_know_where_the_rig_starts() -> None:
    angles = torch.tensor([0.3, 1.1, 4.0])
    elevation, distance = torch.tensor([0.1, 0.3, -0.2]), torch.tensor([4.0, 5.0, 3.0])
    first = embed_views(orbit_camera(angles, elevation, distance), 0.7, relative=True)
    turned = embed_views(orbit_camera(angles + 2.0, elevation, distance), 0.7, relative=True)
    assert torch.allclose(first, turned, atol=1e-5)


def test_absolute_embedding() -> None:
    azimuth, elevation, distance = torch.tensor([0.4, 2.0]), torch.tensor([0.1, -0.3]), torch.tensor([4.0, 5.0])
    got = embed_views(orbit_camera(azimuth, elevation, distance), torch.tensor([0.5]), relative=False)
    angle = -azimuth - math.pi / 2  # of (-sin, -cos), measured from x towards z
    expected = torch.stack([math.pi / 2 - elevation, angle.sin(), angle.cos(), distance, torch.full((2,), 0.5)], -1)
    assert torch.allclose(got, expected, atol=1e-5)
