"""Rasterizes all triangles of a mesh at once in NumPy, without display or GPU.

Each triangle is split into pixel rows, and each row into the run of pixels whose centers it covers; only covered pixels
are computed. One scattered maximum over words of inverse depth (high bits) and triangle number (low bits) selects the
nearest triangle of every pixel. The center of the pixel in row i and column j is (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22  # bounding-box pixels per batch; bounds the memory of meshes that fill the image
_FARTHEST = 1e-30  # inverse depth: rounding on slivers must not turn it negative
_FACE_BITS = np.uint64(32)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Visible:
    """The nearest triangle of every covered pixel.

    Attributes:
        box: left, top, right, bottom of the rasterized part of the image, pixels.
        pixels: (N,) index into the box, row by row.
        faces: (N,) visible triangle.
        inverse_depth: (N,) inverse depth, 1 / meter.
    """

    box: tuple[int, int, int, int]
    pixels: Ints
    faces: Ints
    inverse_depth: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the box."""
        left, top, right, bottom = self.box
        return bottom - top, right - left

    def centers(self) -> tuple[Floats, Floats]:
        """(N,) u and v of the pixel centers in the image."""
        rows, columns = np.divmod(self.pixels, max(self.shape[1], 1))
        return columns + (self.box[0] + 0.5), rows + (self.box[1] + 0.5)


@dataclass(frozen=True)
class _Spans:
    """Upper and lower halves of triangles, split at the middle corner: K halves with a left and a right edge each.

    Attributes:
        faces: (K,) index of the triangle.
        top, num_rows: (K,) pixel rows.
        lines: (K, 4) slope and u at v = 0 of the left edge, then of the right edge.
        plane: (K, 3) inverse depth as a * u + b * v + c.
    """

    faces: Ints
    top: Ints
    num_rows: Ints
    lines: Floats
    plane: Floats


def rasterize(
    points: NDArray[np.floating], faces: NDArray[np.integer], size: tuple[int, int], *, both_sides: bool = False
) -> Visible:
    """Computes the visible face of every pixel.

    Args:
        points: (V, 3) u and v in pixels, depth in meters; depths are positive and all values finite.
        faces: (F, 3) indices of points, counter-clockwise when seen from outside.
        size: (width, height) pixels.
        both_sides: also rasterize back faces.

    Returns:
        The nearest triangle of each covered pixel of the image.
    """
    corners = points.astype(np.float32)[faces]  # (F, 3, 3)
    kept, num_pixels, box = _reaching(corners, size, both_sides)
    left, top, right, bottom = box
    nearest = np.zeros((bottom - top) * (right - left), np.uint64)
    for part in _chunks(kept, num_pixels):
        pixel, face, inverse = _cover(_halves(corners[part].astype(np.float64), part, box), box)
        words = inverse.astype(np.float32).view(np.uint32).astype(np.uint64) << _FACE_BITS | face.astype(np.uint64)
        np.maximum.at(nearest, pixel, words)
    pixels = np.flatnonzero(nearest)
    words = nearest[pixels]
    inverse_depth = (words >> _FACE_BITS).astype(np.uint32).view(np.float32)
    return Visible(box, pixels, (words & np.uint64(0xFFFFFFFF)).astype(np.int64), inverse_depth)


def face_planes(corners: NDArray[np.floating], values: NDArray[np.floating]) -> Floats:
    """(F, 3, C) a, b, c of the linear functions a * u + b * v + c on triangles; 0 for triangles without area.

    Args:
        corners: (F, 3, 2 or more) u and v of the corners.
        values: (F, 3, C) values at the corners; values divided by depth are linear in the image.
    """
    origin = corners[:, 0, :2].astype(np.float64)
    one, two = corners[:, 1, :2] - origin, corners[:, 2, :2] - origin
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    scale = np.divide(1.0, area, out=np.zeros_like(area), where=area != 0)[:, None]
    first = values[:, 0].astype(np.float64)
    d_one, d_two = values[:, 1] - first, values[:, 2] - first
    a = (d_one * two[:, 1:] - d_two * one[:, 1:]) * scale
    b = (d_two * one[:, :1] - d_one * two[:, :1]) * scale
    return np.stack([a, b, first - a * origin[:, :1] - b * origin[:, 1:]], axis=1)


def _reaching(
    corners: NDArray[np.float32], size: tuple[int, int], both_sides: bool
) -> tuple[Ints, Ints, tuple[int, int, int, int]]:
    """Triangles (K,) that face the viewer and may cover a pixel, upper bounds (K,) of their pixels, and the box
    around all."""
    u, v = corners[..., 0], corners[..., 1]
    area = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (u[:, 2] - u[:, 0]) * (v[:, 1] - v[:, 0])
    kept = np.flatnonzero(area if both_sides else area < 0)
    first_column, last_column = _pixel_range(u[kept], size[0])
    first_row, last_row = _pixel_range(v[kept], size[1])
    reach = (first_column <= last_column) & (first_row <= last_row)
    if not reach.any():
        return kept[:0], kept[:0], (0, 0, 0, 0)
    kept, first_column, last_column, first_row, last_row = (
        x[reach].astype(np.int64) for x in (kept, first_column, last_column, first_row, last_row)
    )
    num_pixels = (last_column - first_column + 1) * (last_row - first_row + 1)
    box = int(first_column.min()), int(first_row.min()), int(last_column.max()) + 1, int(last_row.max()) + 1
    return kept, num_pixels, box


def _pixel_range(x: NDArray[np.float32], end: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """First and last pixel whose center lies within each row of `x` (F, 3), clipped to 0 ... end - 1."""
    low = np.minimum(np.minimum(x[:, 0], x[:, 1]), x[:, 2])
    high = np.maximum(np.maximum(x[:, 0], x[:, 1]), x[:, 2])
    half = np.float32(0.5)
    return np.maximum(np.ceil(low - half), 0), np.minimum(np.floor(high - half), end - 1)


def _chunks(kept: Ints, num_pixels: Ints) -> Iterator[Ints]:
    """Batches of triangles whose bounding boxes have about _CHUNK pixels in total; at least one triangle per batch."""
    total, start = np.cumsum(num_pixels), 0
    while start < len(kept):
        before = int(total[start - 1]) if start else 0
        end = max(int(np.searchsorted(total, before + _CHUNK, side="right")), start + 1)
        yield kept[start:end]
        start = end


def _halves(corners: Floats, faces: Ints, box: tuple[int, int, int, int]) -> _Spans:
    """Triangles (K, 3, 3) split at their middle corners. An edge shared by two triangles gets identical numbers."""
    order = np.argsort(corners[..., 1], axis=1)
    upper, middle, lower = (corners[np.arange(len(corners)), order[:, i]] for i in range(3))
    long, first, second = _line(upper, lower), _line(upper, middle), _line(middle, lower)
    is_left = (long[:, 0] * middle[:, 1] + long[:, 1] <= middle[:, 0])[:, None]  # the long edge
    rows = [np.clip(np.ceil(p[:, 1] - 0.5), box[1], box[3]).astype(np.int64) for p in (upper, middle)]
    end = np.clip(np.floor(lower[:, 1] - 0.5) + 1, box[1], box[3]).astype(np.int64)
    plane = face_planes(corners, 1.0 / corners[..., 2:])[..., 0]
    lines = [
        np.where(is_left, np.concatenate([long, short], 1), np.concatenate([short, long], 1))
        for short in (first, second)
    ]
    return _Spans(
        np.concatenate([faces, faces]),
        np.concatenate(rows),
        np.concatenate([rows[1] - rows[0], end - rows[1]]),
        np.concatenate(lines),
        np.concatenate([plane, plane]),
    )


def _line(start: Floats, end: Floats) -> Floats:
    """(K, 2) slope and u at v = 0 of the edges from upper to lower points (K, 3); horizontal edges are not used."""
    down = end[:, 1] - start[:, 1]
    slope = (end[:, 0] - start[:, 0]) / np.where(down == 0, 1.0, down)
    return np.stack([slope, start[:, 0] - start[:, 1] * slope], axis=1)


def _cover(spans: _Spans, box: tuple[int, int, int, int]) -> tuple[Ints, Ints, Floats]:
    """Pixel index in the box, face and inverse depth for every covered pixel center."""
    left, top, right, _ = box
    owner, step = _spread(spans.num_rows)
    row = spans.top[owner] + step
    v = row + 0.5
    line = spans.lines[owner]
    first = np.ceil(np.maximum(line[:, 0] * v + (line[:, 1] - 0.5), left)).astype(np.int64)
    last = np.floor(np.minimum(line[:, 2] * v + (line[:, 3] - 0.5), right - 1)).astype(np.int64)
    run, step = _spread(np.maximum(last - first + 1, 0))
    plane = spans.plane[owner]
    at_first = plane[:, 0] * (first + 0.5) + plane[:, 1] * v + plane[:, 2]
    pixel = ((row - top) * (right - left) + first - left)[run] + step
    inverse = at_first[run] + plane[:, 0][run] * step
    return pixel, spans.faces[owner][run], np.maximum(inverse, _FARTHEST)


def _spread(counts: Ints) -> tuple[Ints, Ints]:
    """For items with counts (K,): item index and running index 0, 1, ... count - 1, concatenated over the items."""
    owner = np.repeat(np.arange(len(counts)), counts)
    begin = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - begin[owner]
