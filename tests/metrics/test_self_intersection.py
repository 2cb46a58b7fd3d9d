"""Triangles of a mesh that cut each other."""

from __future__ import annotations

import numpy as np
import pytest

from hmr4d.metrics.self_intersection import body_penetration, intersecting_pairs

SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [0, 1.5, 0]], float)


def pairs_of(*triangles: np.ndarray) -> np.ndarray:
    return intersecting_pairs(np.concatenate(triangles), np.arange(3 * len(triangles)).reshape(-1, 3))


def test_a_triangle_that_stabs_another_is_one_pair() -> None:
    stab = np.array([[0, 0, -1], [0.1, 0, 1], [0, 0.2, 1]], float)
    assert pairs_of(SQUARE, stab).tolist() in ([[0, 1]], [[1, 0]])
    assert len(pairs_of(SQUARE, stab + [3, 0, 0])) == 0
    assert len(pairs_of(SQUARE, stab + [0, 0, 1.5])) == 0


def test_touching_and_neighboring_triangles_do_not_count() -> None:
    assert len(pairs_of(SQUARE, SQUARE + [0, 0, 0.001])) == 0
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, -1], [0.2, 0.2, 1]], float)
    assert len(intersecting_pairs(vertices, np.array([[0, 1, 2], [0, 3, 4]]))) == 0  # they share vertex 0


def sphere(center: list[float], radius: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a sphere of 16 x 32 patches."""
    theta, phi = np.meshgrid(np.linspace(0.01, np.pi - 0.01, 17), np.linspace(0, 2 * np.pi, 33)[:-1], indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], -1)
    rows, columns = np.meshgrid(np.arange(16), np.arange(32), indexing="ij")
    a, b = rows * 32 + columns, rows * 32 + (columns + 1) % 32
    faces = np.concatenate([np.stack([a, b, a + 32], -1), np.stack([b, b + 32, a + 32], -1)]).reshape(-1, 3)
    return points.reshape(-1, 3) * radius + center, faces


def test_spheres_cut_each_other_only_where_they_overlap() -> None:
    first, faces = sphere([0, 0, 0])
    both = np.concatenate([faces, faces + len(first)])
    assert len(intersecting_pairs(first, faces)) == 0
    far, near = (np.concatenate([first, sphere([d, 0, 0])[0]]) for d in (2.1, 1.5))
    inside = np.concatenate([first, sphere([0, 0, 0], 0.5)[0]])
    assert len(intersecting_pairs(far, both)) == len(intersecting_pairs(inside, both)) == 0
    pairs = intersecting_pairs(near, both)
    assert len(pairs) > 20 and ((pairs < len(faces)).sum(1) == 1).all()  # never two of one sphere
    assert len(np.unique(np.sort(pairs, 1), axis=0)) == len(pairs)
    assert body_penetration([far, near], both) == pytest.approx(50 * len(pairs) / len(both))


def test_vertices_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        pairs_of(SQUARE, SQUARE * np.nan)


def test_random_triangles_cut_each_other_where_an_edge_passes_through_one() -> None:
    """Against the 3x3 equations of every edge and triangle."""
    rng = np.random.default_rng(0)
    triangles = rng.uniform(-1, 1, (60, 1, 3)) + rng.normal(0, 1, (60, 3, 3)) * rng.uniform(0.05, 0.8, (60, 1, 1))
    origin, u, v = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    start, way = triangles, np.roll(triangles, -1, 1) - triangles
    shape = (60, 60, 3, 3)  # triangle, triangle of the edge, edge, coordinate
    columns = [np.broadcast_to(x, shape) for x in (u[:, None, None], v[:, None, None], -way[None])]
    matrices, right = np.stack(columns, -1), start[None] - origin[:, None, None]
    matrices[range(60), range(60)] = np.eye(3)  # a triangle and its own edges
    s, t, share = np.moveaxis(np.linalg.solve(matrices, right[..., None])[..., 0], -1, 0)
    cut = ((s > 0) & (t > 0) & (s + t < 1) & (share > 0) & (share < 1)).any(-1)
    expected = {(i, j) for i, j in np.argwhere(cut | cut.T).tolist() if i < j}
    assert len(expected) > 30
    assert {(min(pair), max(pair)) for pair in pairs_of(*triangles).tolist()} == expected
