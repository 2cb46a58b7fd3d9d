"""Floor of recorded motion, fitted to the lowest positions of the feet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELL = 0.5  # meters; side of the squares into which the floor is divided
MIN_IN_CELL = 5  # fewest foot points of a usable square
LOWEST = 0.02  # fraction of a square's foot points that rest on the floor
INLIER = 0.02  # meters; largest distance of an inlier from the plane
TRIALS = 300
ROUNDS = 3
MIN_SPAN = 0.3  # meters; the tilt along a direction is determined only if the floor points span at least this


@dataclass(frozen=True)
class GroundPlane:
    """The floor normal . X + d = 0.

    Attributes:
        normal: (3,) unit vector that points up.
        d: offset, meters.
        residual: median distance of the resting feet from the plane, meters; NaN if feet were not used.
        source: origin of the plane, such as "feet" or the name of a file.
    """

    normal: Floats
    d: float
    residual: float = float("nan")
    source: str = "feet"

    def height(self, points: Floats) -> Floats:
        """Height (...) of points (..., 3) above the floor, meters."""
        return points @ self.normal + self.d

    def tilt(self, up: Floats) -> float:
        """Angle between the normal and another up direction (3,), radians."""
        return float(np.arccos(np.clip(self.normal @ (up / np.linalg.norm(up)), -1, 1)))


def body_up(upper: Floats, lower: Floats) -> Floats:
    """(3,) mean direction from the lower joints (N, 3) to the upper joints (N, 3); rows with NaN are excluded."""
    direction = upper - lower
    direction = direction[np.isfinite(direction).all(-1)]
    mean = direction.mean(0) if len(direction) else np.zeros(3)
    if not np.linalg.norm(mean) > 0:
        raise ValueError("No frame determines the up direction of the body; give the plane of the floor.")
    return mean / np.linalg.norm(mean)


def fit_ground_plane(feet: Floats, up: Floats, *, rest_height: float, max_tilt: float, seed: int = 0) -> GroundPlane:
    """Fits the plane on which the feet rest.

    The floor is divided into squares. The lowest foot points of each square give one floor point, whatever the tilt.
    Of the planes through random triples, at most `max_tilt` from `up`, the one with the most squares within 2 cm is
    chosen.
    It is then refined three times by a fit to its inliers. Squares on other objects (a bench, a fence) are outliers and
    drop out. If all squares lie on a line or in a spot, the tilt is undetermined and stays close to `up`.

    Args:
        feet: (N, 3) meters, foot joints of all frames; rows with NaN are excluded.
        up: (3,) approximate up direction.
        rest_height: height of the joints above the floor when the foot rests on it, meters.
        max_tilt: largest angle between the normal and `up`, radians.
        seed: seed of the random triples.

    Raises:
        ValueError: there are too few finite foot points.
    """
    feet = feet[np.isfinite(feet).all(-1)]
    if len(feet) < MIN_IN_CELL:
        raise ValueError(f"{len(feet)} foot points are not enough for a floor; expected at least {MIN_IN_CELL}.")
    up = up / np.linalg.norm(up)
    sideways = np.linalg.svd(up[None])[2][1:]  # (2, 3) orthonormal, perpendicular to up
    flat, height = feet @ sideways.T, feet @ up
    middle = flat.mean(0)
    flat = flat - middle
    slope = np.zeros(2)  # of the floor relative to the plane perpendicular to `up`
    offset = float(np.quantile(height, LOWEST))
    rng = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        places, low = _lowest_per_cell(flat, height - flat @ slope, slope)
        slope, offset = _robust_plane(places, low, max_tilt, rng)
    residual = np.abs(low - places @ slope - offset)
    residual = float(np.median(residual[residual <= max(INLIER, float(np.median(residual)))]))
    normal = up - slope @ sideways
    length = float(np.linalg.norm(normal))
    d = rest_height - (offset - float(middle @ slope)) / length
    return GroundPlane(normal / length, d, residual)


def _lowest_per_cell(flat: Floats, level: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """Position (C, 2) and height (C,) of the low quantile of each square, after subtraction of the slope."""
    cells = np.floor(flat / CELL).astype(np.int64)
    _, index, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    index = index.reshape(-1)
    places, low = [], []
    for cell in range(len(counts)):
        members = index == cell
        if counts[cell] < MIN_IN_CELL:
            continue
        lowest = members & (level <= np.quantile(level[members], LOWEST) + 1e-9)
        places.append(flat[lowest].mean(0))
        low.append(float((level[lowest] + flat[lowest] @ slope).mean()))
    if not places:
        lowest = level <= np.quantile(level, LOWEST) + 1e-9
        return flat[lowest].mean(0)[None], np.array([(level[lowest] + flat[lowest] @ slope).mean()])
    return np.array(places), np.array(low)


def _robust_plane(places: Floats, low: Floats, max_tilt: float, rng: np.random.Generator) -> tuple[Floats, float]:
    """Slope (2,) and offset of the plane low = slope . places + offset with the most inliers."""
    best, best_count = np.abs(low - np.median(low)) <= INLIER, -1
    candidates = [best]
    if len(low) >= 3:
        picks = (rng.choice(len(low), 3, replace=False) for _ in range(TRIALS))
        candidates += [c for c in (_agreeing(places, low, pick, max_tilt) for pick in picks) if c is not None]
    for agreeing in candidates:
        if agreeing.sum() > best_count:
            best, best_count = agreeing, int(agreeing.sum())
    if best_count == 0:
        best = np.ones(len(low), bool)
    slope, offset = _plane_through(places[best], low[best])
    steep = float(np.hypot(*slope)) / np.tan(max_tilt)
    if steep > 1:  # limit the slope, keep the height at the center
        middle = places[best].mean(0)
        offset, slope = offset + middle @ slope * (1 - 1 / steep), slope / steep
    return slope, offset


def _agreeing(places: Floats, low: Floats, pick: NDArray[np.int64], max_tilt: float) -> NDArray[np.bool_] | None:
    """Inliers of the plane through three points; None if the plane is too steep or degenerate."""
    A = np.c_[places[pick], np.ones(3)]
    if abs(np.linalg.det(A)) < MIN_SPAN**2:
        return None
    solution = np.linalg.solve(A, low[pick])
    if np.hypot(*solution[:2]) > np.tan(max_tilt):
        return None
    return np.abs(low - places @ solution[:2] - solution[2]) <= INLIER


def _plane_through(places: Floats, low: Floats) -> tuple[Floats, float]:
    """Least-squares slope and offset; the slope is zero along directions in which the points hardly vary."""
    middle, level = places.mean(0), float(low.mean())
    x = places - middle
    spread, axes = np.linalg.eigh(x.T @ x / len(x))
    slope = np.zeros(2)
    for variance, axis in zip(spread, axes.T, strict=True):
        along = x @ axis
        if np.ptp(along) >= MIN_SPAN:
            slope = slope + axis * float(along @ (low - level)) / (len(x) * variance)
    return slope, level - float(middle @ slope)
