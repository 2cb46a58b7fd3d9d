"""Self-intersection of a body mesh: pairs of intersecting triangles.

Body penetration of the MBench benchmark is 100 times their number over that of the triangles, averaged over the frames.
There, the search stopped at eight partners per triangle; here all pairs are counted.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SLACK = 1e-9  # of the barycentric and the edge coordinates: triangles that only touch do not count
_CHUNK = 1 << 19  # pairs tested at once


def body_penetration(meshes: Iterable[NDArray[np.floating]], faces: NDArray[np.integer]) -> float:
    """Mean over frames of 100 * pairs / triangles; NaN without frames.

    Args:
        meshes: vertices (V, 3) of frame after frame.
        faces: (F, 3).
    """
    shares = [100 * len(intersecting_pairs(vertices, faces)) / len(faces) for vertices in meshes]
    return float(np.mean(shares)) if shares else float("nan")


def intersecting_pairs(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> Ints:
    """(P, 2) triangles that cut each other, each pair once; those that share a vertex never count.

    Triangles in one plane count as not cutting.

    Raises:
        ValueError: vertices that are not finite.
    """
    if not np.isfinite(vertices).all():
        raise ValueError("vertices contains NaN or infinity; repair the motion first.")
    corners = vertices.astype(np.float64)[faces]  # (F, 3, 3)
    low, high = corners.min(1), corners.max(1)
    middle, radius = (low + high) / 2, np.linalg.norm(high - low, axis=1) / 2
    found = []
    for pairs in _near_pairs(middle, radius):
        first, second = pairs.T
        meet = ((low[first] <= high[second]) & (low[second] <= high[first])).all(1)
        apart = (faces[first][:, :, None] != faces[second][:, None, :]).all((1, 2))
        kept = pairs[meet & apart]
        for start in range(0, len(kept), _CHUNK):
            part = kept[start : start + _CHUNK]
            one, two = corners[part[:, 0]], corners[part[:, 1]]
            found.append(part[_edges_cut(one, two) | _edges_cut(two, one)])
    return np.concatenate(found) if found else np.empty((0, 2), np.int64)


def _near_pairs(middle: Floats, radius: Floats) -> Iterable[Ints]:
    """Pairs (P, 2) of balls that meet, sorted into few sizes so that one large ball does not widen the whole search."""
    order = np.argsort(radius)
    groups = [group for group in np.array_split(order, 6) if len(group)]
    trees = [KDTree(middle[group]) for group in groups]
    reach = [radius[group].max() for group in groups]
    for i, tree in enumerate(trees):
        for j in range(i, len(trees)):
            distance = reach[i] + reach[j]
            if i == j:
                pairs = tree.query_pairs(distance, output_type="ndarray").astype(np.int64)
                yield np.stack([groups[i][pairs[:, 0]], groups[i][pairs[:, 1]]], 1)
                continue
            near = tree.query_ball_tree(trees[j], distance)
            counts = np.array([len(partners) for partners in near])
            partners = (
                np.concatenate([np.asarray(p, np.int64) for p in near]) if counts.sum() else np.empty(0, np.int64)
            )
            yield np.stack([np.repeat(groups[i], counts), groups[j][partners]], 1)


def _edges_cut(one: Floats, two: Floats) -> NDArray[np.bool_]:
    """(P,) whether an edge of triangles (P, 3, 3) passes through the inside of others (P, 3, 3)."""
    origin, u, v = two[:, 0], two[:, 1] - two[:, 0], two[:, 2] - two[:, 0]
    normal = np.cross(u, v)
    heights = np.einsum("pkc,pc->pk", one - origin[:, None], normal)
    cut = np.zeros(len(one), bool)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        a, b = heights[:, start], heights[:, end]
        crossing = np.flatnonzero(a * b < 0)
        if not len(crossing):
            continue
        share = (a[crossing] / (a[crossing] - b[crossing]))[:, None]
        point = one[crossing, start] + share * (one[crossing, end] - one[crossing, start]) - origin[crossing]
        cut[crossing] |= _is_inside(point, u[crossing], v[crossing])
    return cut


def _is_inside(point: Floats, u: Floats, v: Floats) -> NDArray[np.bool_]:
    """(K,) whether points in the plane of u and v, from their common origin, lie in the triangle of both."""
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    pu, pv = (point * u).sum(1), (point * v).sum(1)
    area = uu * vv - uv * uv
    with np.errstate(divide="ignore", invalid="ignore"):
        s, t = (vv * pu - uv * pv) / area, (uu * pv - uv * pu) / area
    return (area > 0) & (s > _SLACK) & (t > _SLACK) & (s + t < 1 - _SLACK)
