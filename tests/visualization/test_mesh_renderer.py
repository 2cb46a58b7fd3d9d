"""Meshes in pictures against what geometry says: depth, silhouettes, order, sides, alignment."""

import math

import numpy as np
import pytest
import torch

from hmr4d.geometry.cameras import orbit_camera, project_pinhole, world_to_camera
from hmr4d.visualization import rasterizer
from hmr4d.visualization.mesh_renderer import MeshRenderer, clip_near
from hmr4d.visualization.rasterizer import rasterize
from hmr4d.visualization.view_camera import PinholeView
from tests.visualization.meshes import icosphere, square

SIZE = (96, 80)
K = np.array([[110.0, 0, 47.0], [0, 105.0, 41.5], [0, 0, 1]])


def view(T_w2c: np.ndarray | None = None) -> PinholeView:
    return PinholeView.of(K, np.eye(4) if T_w2c is None else T_w2c, SIZE)


def rays() -> np.ndarray:
    """(H, W, 3) through the pixels' centers, z = 1."""
    u, v = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    return np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T


def colored(*colors: tuple[int, int, int]) -> np.ndarray:
    """(4 N, 3) vertex colors of N squares."""
    return np.repeat(np.array(colors, np.float32), 4, axis=0)


@pytest.mark.parametrize("normal", [(0, 0, -1), (0.3, -0.2, -1), (0, -1, -0.02), (0.9, 0.3, -0.1)])
def test_depth_of_a_plane_even_where_it_runs_behind_the_camera(normal) -> None:
    normal = np.array(normal) / np.linalg.norm(normal)
    across = np.cross(normal, [0, 1, 0] if abs(normal[1]) < 0.9 else [1, 0, 0])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 500.0
    other = np.cross(normal, across)
    vertices = -1.5 * normal + corners[:, :1] * across / np.linalg.norm(across) + corners[:, 1:] * other
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    if np.dot(np.cross(vertices[1] - vertices[0], vertices[2] - vertices[0]), normal) < 0:
        faces = faces[:, ::-1]
    with np.errstate(divide="ignore"):
        expected = -1.5 / (rays() @ normal)
    seen = (expected > 0) & (expected < 200)
    depth = MeshRenderer(faces).depth(vertices, view())
    np.testing.assert_allclose(depth[seen], expected[seen], rtol=2e-4)
    assert not np.isfinite(depth[expected < 0]).any()


def test_depth_of_a_sphere_and_the_area_of_its_silhouette() -> None:
    vertices, faces = icosphere(5, 0.5)
    T_w2c = orbit_camera(torch.tensor(0.7), torch.tensor(0.3), torch.tensor(2.0)).numpy()
    straight = PinholeView.of([[400.0, 0, 200], [0, 400, 200], [0, 0, 1]], T_w2c, (400, 400))
    depth = MeshRenderer(faces).depth(vertices, straight)
    u, v = np.meshgrid(np.arange(400) + 0.5, np.arange(400) + 0.5)
    ray = np.stack([(u - 200) / 400, (v - 200) / 400, np.ones_like(u)], -1)
    square_length = (ray**2).sum(-1)
    inside = 4.0 - square_length * (4.0 - 0.25)
    expected = (2.0 - np.sqrt(np.maximum(inside, 0))) / square_length
    middle = inside > 0.2
    np.testing.assert_allclose(depth[middle], expected[middle], atol=1e-3)
    radius = 400 * 0.5 / math.sqrt(4.0 - 0.25)
    assert np.isfinite(depth).sum() == pytest.approx(math.pi * radius**2, rel=3e-3)
    assert depth.dtype == np.float32


def test_the_nearer_face_hides_the_farther_one_whatever_their_order() -> None:
    near, far = square((0.1, 0, 2.0), 0.3), square((-0.1, 0, 3.0), 0.6)
    red, green = (220, 30, 30), (30, 220, 30)
    for first, second, colors in ((near, far, (red, green)), (far, near, (green, red))):
        vertices = np.concatenate([first[0], second[0]])
        faces = np.concatenate([first[1], second[1] + 4])
        picture = MeshRenderer(faces, colored(*colors)).overlay(
            np.full((*SIZE[::-1], 3), 255, np.uint8), vertices, view(), opacity=1.0
        )
        u, v = project_pinhole(torch.tensor([[0.1, 0, 2.0], [-0.5, 0, 3.0]]).double(), torch.from_numpy(K)).int().T
        assert picture[v[0], u[0]].argmax() == 0 and picture[v[1], u[1]].argmax() == 1


def test_intersecting_faces_are_correct_in_every_pixel() -> None:
    one, two = np.array([0.1, 0.0, -1.0]), np.array([-0.5, 0.1, -1.0])
    corners = np.array([(-4, -4), (-4, 4), (4, 4), (4, -4)], float)
    depths = [(2.0 - corners @ -n[:2]) for n in (one, two)]
    vertices = np.concatenate([np.column_stack([corners, z]) for z in depths])
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    depth = MeshRenderer(np.concatenate([faces, faces + 4])).depth(vertices, view())
    # z = 2 + n_x x + n_y y, and x, y are z times the ray
    expected = np.minimum(*(2.0 / (1 - rays()[..., :2] @ n[:2]) for n in (one, two)))
    np.testing.assert_allclose(depth, expected, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_neighboring_faces_leave_no_holes_and_small_faces_are_drawn(seed) -> None:
    generator = np.random.default_rng(seed)
    n = 60
    grid = np.stack(np.meshgrid(np.arange(n + 1), np.arange(n + 1)), -1) * 1.0
    grid[1:-1, 1:-1] += generator.uniform(-0.3, 0.3, grid[1:-1, 1:-1].shape)
    grid[1:-1, 1:-1] = np.round(grid[1:-1, 1:-1] * 4) / 4 if seed % 2 else grid[1:-1, 1:-1]
    points = np.concatenate([grid.reshape(-1, 2) * [SIZE[0] / n, SIZE[1] / n], np.ones(((n + 1) ** 2, 1))], axis=1)
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    faces = np.concatenate([np.stack([a, a + n + 1, a + 1], 1), np.stack([a + 1, a + n + 1, a + n + 2], 1)])
    seen = rasterize(points, faces, SIZE)
    assert seen.box == (0, 0, *SIZE)
    assert len(seen.pixels) == SIZE[0] * SIZE[1]
    np.testing.assert_allclose(seen.inverse_depth, 1.0, rtol=1e-6)
    assert len(rasterize(points, faces[:, ::-1], SIZE).pixels) == 0
    assert len(rasterize(points, faces[:, ::-1], SIZE, both_sides=True).pixels) == SIZE[0] * SIZE[1]


def test_rendering_in_batches_gives_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = icosphere(3)
    renderer, camera = MeshRenderer(faces), view(orbit_camera(*torch.tensor([0.2, 0.1, 3.0])).numpy())
    whole = renderer.depth(vertices, camera)
    monkeypatch.setattr(rasterizer, "_CHUNK", 50)
    np.testing.assert_array_equal(renderer.depth(vertices, camera), whole)


@pytest.mark.parametrize("center", [(0, 0, -3), (9, 0, 3), (0, -9, 3), (0, 0, 0.005)])
def test_an_invisible_mesh_does_not_change_the_image(center) -> None:
    vertices, faces = square(center, 0.5)
    picture = np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)
    renderer = MeshRenderer(faces)
    np.testing.assert_array_equal(renderer.overlay(picture, vertices, view()), picture)
    assert np.isinf(renderer.depth(vertices, view())).all()
    assert np.isinf(MeshRenderer(np.zeros((0, 3))).depth(vertices, view())).all()
    assert np.isinf(MeshRenderer([[0, 0, 1], [2, 2, 2]]).depth(vertices, view())).all()


def test_clipping_keeps_the_part_in_front_of_the_camera() -> None:
    points = np.array([(0, 0, 1), (1, 0, -1), (0, 1, -1), (1, 1, 3)], np.float32)
    faces = np.array([(0, 1, 2), (0, 1, 3), (1, 0, 2)])
    values = points[:, 2:].copy()
    moved, cut, carried = clip_near(points, faces, values, 0.5)
    assert (moved[cut][..., 2] >= 0.5 - 1e-6).all()
    np.testing.assert_allclose(carried[cut][..., 0], moved[cut][..., 2], atol=1e-6)
    normal = np.cross(moved[cut[:, 1]] - moved[cut[:, 0]], moved[cut[:, 2]] - moved[cut[:, 0]])
    assert len(cut) == 4 and (normal @ np.cross(points[1] - points[0], points[2] - points[0]))[0] > 0


def test_overlay_agrees_with_the_camera_projection() -> None:
    generator = torch.Generator().manual_seed(0)
    centers = (torch.rand(12, 3, generator=generator) - 0.5) * torch.tensor([1.2, 1.0, 1.0])
    T_w2c = orbit_camera(torch.tensor(2.1), torch.tensor(-0.2), torch.tensor(3.0))
    intrinsics = torch.tensor([[300.0, 1.5, 131.0], [0, 310.0, 120.5], [0, 0, 1]])
    camera = PinholeView.of(intrinsics, T_w2c, (256, 240))
    expected = project_pinhole(world_to_camera(centers, T_w2c), intrinsics)
    ball, faces = icosphere(2, 0.03)
    for center, place in zip(centers, expected, strict=True):
        black = np.zeros((240, 256, 3), np.uint8)
        light = MeshRenderer(faces, (255, 255, 255)).overlay(black, ball + center.numpy(), camera, opacity=1.0).max(-1)
        rows, columns = np.nonzero(light > 100)
        assert abs(columns.mean() + 0.5 - float(place[0])) < 0.5 and abs(rows.mean() + 0.5 - float(place[1])) < 0.5


def test_edges_are_smooth_and_opacity_lets_the_image_through() -> None:
    vertices, faces = icosphere(3, 0.5)
    camera = view(orbit_camera(*torch.tensor([0.0, 0.0, 2.5])).numpy())
    white = np.full((*SIZE[::-1], 3), 255, np.uint8)
    solid, half = (MeshRenderer(faces, (0, 0, 0)).overlay(white, vertices, camera, opacity=o) for o in (1.0, 0.5))
    assert len(np.unique(solid[:, 47, 0])) > 4
    difference = half.astype(int) - (solid.astype(int) + 255) / 2
    assert np.abs(difference).max() <= 3


def test_bad_input_is_refused() -> None:
    vertices, faces = square((0, 0, 2), 0.5)
    renderer = MeshRenderer(faces)
    broken = vertices.copy()
    broken[2, 1] = np.nan
    with pytest.raises(ValueError, match="Vertex 2"):
        renderer.depth(broken, view())
    with pytest.raises(ValueError, match="at least"):
        renderer.depth(vertices[:3], view())
    with pytest.raises(ValueError, match="uint8"):
        renderer.overlay(np.zeros((80, 96, 3)), vertices, view())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs"):
        renderer.draw(np.zeros((10, 10), np.uint32), vertices, view())
    with pytest.raises(ValueError, match="faces"):
        MeshRenderer(np.zeros((4, 4)))
    for intrinsics, T_w2c, size in (
        (np.eye(4), np.eye(4), SIZE),
        (K * np.nan, np.eye(4), SIZE),
        (K, np.eye(4), (0, 5)),
    ):
        with pytest.raises(ValueError, match=r"K must|size"):
            PinholeView.of(intrinsics, T_w2c, size)
