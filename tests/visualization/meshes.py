"""Simple meshes whose pictures can be worked out by hand."""

import numpy as np


def icosphere(subdivisions: int, radius: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) on a sphere and faces (F, 3) whose corners go round against the clock seen from outside."""
    g = (1 + 5**0.5) / 2
    vertices = np.array([(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g),
                         (0, 1, -g), (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)])  # fmt: skip
    faces = np.array([(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2),
                      (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5),
                      (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)])  # fmt: skip
    for _ in range(subdivisions):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, middle = np.unique(edges, axis=0, return_inverse=True)
        a, b, c = len(vertices) + middle.reshape(3, -1)
        vertices = np.concatenate([vertices, vertices[unique].mean(axis=1)])
        i, j, k = faces.T
        faces = np.concatenate([np.stack(f, axis=1) for f in ((i, a, c), (j, b, a), (k, c, b), (a, b, c))])
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    return radius * vertices / np.linalg.norm(vertices, axis=1, keepdims=True), faces


def square(center: tuple[float, float, float], half: float) -> tuple[np.ndarray, np.ndarray]:
    """A square that faces a camera looking along +z with y down; vertices (4, 3) and faces (2, 3)."""
    offsets = half * np.array([(-1, -1, 0), (-1, 1, 0), (1, 1, 0), (1, -1, 0)])
    return np.asarray(center) + offsets, np.array([(0, 1, 2), (0, 2, 3)])
