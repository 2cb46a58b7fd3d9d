"""Tilt, height and focal length of a fixed camera over a flat floor, from measurements in an image.

Every method is a least-squares fit of (pitch, roll, height[, focal length]) of `rigs.camera_pose` to image points, with
the reprojection error as its residual and its covariance as the uncertainty. Up in the camera is
u = (sin roll cos pitch, -cos roll cos pitch, -sin pitch); a floor point seen along the ray r lies at -h r / (u.r).
Pixels are those of a pinhole camera: undistort them first. All arrays are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares

from hmr4d.camera.floor_geometry import (
    angles_of_up,
    at_height,
    bearing,
    height_of_uprights,
    level_direction,
    off_line_pixels,
    pixels_of,
    planes_of,
    points_above,
    pose_of_homography,
    rays_of,
    up_in_camera,
)
from hmr4d.geometry.rigs import Rig, camera_pose, project

Array = NDArray[np.float64]

CLICK = 0.5  # pixels; assumed accuracy of measurements by hand
FOCALS = (0.5, 0.8, 1.2, 2.0, 3.5)  # relative to the longer image side; initial values of the focal length
PITCHES = (2.0, 15.0, 35.0, 60.0)  # degrees; initial values of the tilt
_UNKNOWN_FOCAL = 0.3  # standard deviation of log f above which f is not determined
_FEW = 1e-12  # reciprocal condition of the normal matrix below which parameters are not determined
_LEAD = 0.2  # meters; standard deviation of the distance of the eyes in front of the ankles
_PATH_SMOOTHING = 6.0  # pairs, standard deviation


@dataclass(frozen=True)
class Calibration:
    """A fitted camera.

    Attributes:
        K4: (4,) fx, fy, cx, cy in pixels.
        pitch, roll: radians.
        height: meters.
        residuals: (N,) distances in pixels between measurements and their reprojection.
        deviations: standard deviations of "pitch", "roll" (radians), "height" (meters), and "focal" (pixels) if fitted.
    """

    K4: Array
    pitch: float
    roll: float
    height: float
    residuals: Array
    deviations: dict[str, float]

    @property
    def rms(self) -> float:
        """Root of the mean squared residual, pixels."""
        return float(np.sqrt((self.residuals**2).mean())) if len(self.residuals) else 0.0


def from_floor_points(
    pixels: Array, floor: Array, size: tuple[int, int], K4: Array, *, fit_focal: bool = False
) -> Calibration:
    """The camera fitted to pixels of known floor points.

    Starts from the homography H = K [r1 r3 t] between floor and image.

    Args:
        pixels: (N, 2), N >= 4, not all on a line.
        floor: (N, 2) meters along two perpendicular axes on the floor, with any origin and orientation.
        size: width and height of the image.
        K4: (4,); with `fit_focal` only the principal point counts.
        fit_focal: also fit fx = fy.

    Raises:
        ValueError: too few points, points on a line, or an undetermined focal length.
    """
    if len(pixels) < 4 or len(pixels) != len(floor):
        raise ValueError(f"Got {len(pixels)} pixels and {len(floor)} floor points; expected four or more of both.")
    spread = np.linalg.svd(floor - floor.mean(0), compute_uv=False)
    if spread[1] < 1e-3 * spread[0]:
        raise ValueError("The floor points lie on one line; expected points that span an area.")
    starts, mirrored = [], False
    for K in _start_intrinsics(K4, size, fit_focal):
        start, mirrored = pose_of_homography(pixels, floor, K)
        starts.append(_with_focal(start, K, fit_focal))
    layout = floor * (1, -1) if mirrored else floor
    world = torch.from_numpy(np.stack([layout[:, 0], np.zeros(len(layout)), -layout[:, 1]], -1))

    def residuals(x: Array) -> Array:
        K, (yaw, east, south) = _intrinsics(x, K4, fit_focal), x[-3:]
        pitch, roll, turn, *center = torch.tensor([x[0], x[1], yaw, east, x[2], south], dtype=torch.float64)
        T = camera_pose(pitch, roll, turn, torch.stack(center))
        rig = Rig(torch.zeros(1, 2, dtype=torch.float64), torch.from_numpy(K)[None], T[None])
        return (project(rig, world[None])[0][0, 0].numpy() - pixels).ravel()

    return _fit(residuals, starts, K4, fit_focal, lambda r: np.linalg.norm(r.reshape(-1, 2), axis=1))


def checkerboard_floor(rows: int, columns: int, square: float) -> Array:
    """(rows * columns, 2) floor coordinates of the inner corners of a board that lies on the floor, row by row."""
    return square * np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2).astype(np.float64)


def from_people(
    low: Array,
    high: Array,
    heights: Array,
    size: tuple[int, int],
    K4: Array,
    *,
    fit_focal: bool = False,
    walk: Array | None = None,
) -> Calibration:
    """The camera fitted to upright objects of known height on the floor: people, doors, poles.

    The residual is the distance of the upper point from its expected position above the lower one. The eyes of walking
    people are in front of their ankles; this distance is fitted along the direction of their path.

    Args:
        low, high: (N, 2) pixels, N >= 3, at different distances.
        heights: (N, 2) meters over the floor of the lower and the upper point.
        size: width and height of the image.
        K4: (4,); with `fit_focal` only the principal point counts.
        fit_focal: also fit fx = fy.
        walk: (N,) increasing frame numbers, for automatic pairs of one walking person: pairs with a poor fit get a low
            weight, and errors are correlated between frames.

    Raises:
        ValueError: too few pairs, or the tilt or focal length is not determined.
    """
    if len(low) < 3 or len(low) != len(high):
        raise ValueError(
            f"Got {len(low)} lower and {len(high)} upper points; expected pairs at three positions or more."
        )
    starts = []
    for K in _start_intrinsics(K4, size, fit_focal):
        for pitch in np.radians(PITCHES):
            guess = height_of_uprights(rays_of(low, K), rays_of(high, K), heights, up_in_camera(pitch, 0.0))
            if guess > 0:
                start = _with_focal(np.array([pitch, 0.0, guess]), K, fit_focal)
                starts.append(start if walk is None else np.append(start, 0.0))

    def residuals(x: Array) -> Array:
        K, up = _intrinsics(x, K4, fit_focal), up_in_camera(x[0], x[1])
        rays = rays_of(low, K)
        above = points_above(rays, up, x[2], heights)
        if walk is None:
            return (pixels_of(above, K) - high).ravel()
        ahead = _walking_direction(at_height(rays, up, x[2] - heights[:, 0]), walk)
        return np.append((pixels_of(above + x[-1] * ahead, K) - high).ravel(), x[-1] / _LEAD)

    if not starts:
        raise ValueError("No camera above the floor shows these pairs. Are lower and upper points swapped?")

    def distances(r: Array) -> Array:
        return np.linalg.norm(r[: 2 * len(low)].reshape(-1, 2), axis=1)

    return _fit(residuals, starts, K4, fit_focal, distances, in_time=walk is not None)


@dataclass(frozen=True)
class KnownLength:
    """An object of known length in the image, which determines the height of the camera.

    Attributes:
        start, end: (2,) pixels: foot and top of an upright object, or two points of the floor.
        metres: its length.
        upright: whether it is an upright object.
    """

    start: Array
    end: Array
    meters: float
    upright: bool


def from_lines(
    vertical: Array,
    level: Sequence[Array],
    lengths: Sequence[KnownLength],
    size: tuple[int, int],
    K4: Array,
    *,
    fit_focal: bool = False,
) -> Calibration:
    """The camera from vanishing points: edges of walls and doors, lines on the floor, and one known length.

    The residual of a line is the distance of its ends from the line through its midpoint and its vanishing point.

    Args:
        vertical: (N, 2, 2) pixels of the ends of lines that are vertical in the world.
        level: groups (M, 2, 2) of lines that are parallel to each other and to the floor.
        lengths: one or more.
        size: width and height of the image.
        K4: (4,); with `fit_focal` only the principal point counts.
        fit_focal: also fit fx = fy.

    Raises:
        ValueError: too few lines, or the tilt or focal length is not determined.
    """
    if not lengths:
        raise ValueError("Lines do not determine the height of the camera; add one known height or distance.")
    count = len(vertical) + sum(map(len, level)) + sum(2 if one.upright else 1 for one in lengths)
    wanted = 3 + fit_focal + len(level)
    if count < wanted or len(vertical) + sum(map(len, level)) < 2 + len(level) + fit_focal:
        raise ValueError(
            f"Got {len(vertical)} vertical lines and {len(level)} groups of level ones, which are too few."
        )
    starts = []
    for K in _start_intrinsics(K4, size, fit_focal):
        for pitch, roll in _tilts_of_lines(vertical, K):
            up = up_in_camera(pitch, roll)
            guesses = [g for one in lengths if (g := _height_of_length(one, up, K)) > 0]
            if guesses:
                start = _with_focal(np.array([pitch, roll, float(np.median(guesses))]), K, fit_focal)
                starts.append(np.concatenate([start, [bearing(lines, up, K) for lines in level]]))
    if not starts:
        raise ValueError("No camera above the floor shows these lines and lengths. Are feet and tops swapped?")

    def residuals(x: Array) -> Array:
        K, up = _intrinsics(x, K4, fit_focal), up_in_camera(x[0], x[1])
        parts = [off_line_pixels(vertical, up, K)]
        for lines, direction in zip(level, x[3 + fit_focal :], strict=True):
            parts.append(off_line_pixels(lines, level_direction(up, direction), K))
        parts += [_length_error(one, up, x[2], K) for one in lengths]
        return np.concatenate(parts)

    return _fit(residuals, starts, K4, fit_focal, np.abs)


def from_gravity(down: Array, height: float, K4: Array, *, tilt_error: float, height_error: float) -> Calibration:
    """The camera from a gravity sensor and a tape measure.

    Args:
        down: (3,) direction of gravity in the camera (x right, y down, z forward), of any length.
        height: meters.
        K4: (4,) intrinsics; they are taken over.
        tilt_error: radians, standard deviation of the sensor.
        height_error: meters, of the tape.

    Raises:
        ValueError: no direction, or a height that is not positive.
    """
    length = float(np.linalg.norm(down))
    if not length > 0 or not height > 0:
        raise ValueError(f"Got gravity {down.tolist()} and height {height:g} m; expected a direction and more than 0.")
    pitch, roll = angles_of_up(-down / length)
    deviations = {"pitch": tilt_error, "roll": tilt_error, "height": height_error}
    return Calibration(K4.copy(), pitch, roll, height, np.zeros(0), deviations)


def _fit(
    residuals: Callable[[Array], Array],
    starts: Sequence[Array],
    K4: Array,
    fit_focal: bool,
    distances: Callable[[Array], Array],
    *,
    in_time: bool = False,
) -> Calibration:
    """Best of the least-squares fits from several starts.

    Parameters: pitch, roll, height, [log f], then those of no interest. Pairs of residuals `in_time` are weighted
    robustly, and depend on each other.
    """
    loss = "soft_l1" if in_time else "linear"

    def safe(x: Array) -> Array:
        values = residuals(x)
        return np.where(np.isfinite(values), np.clip(values, -1e6, 1e6), 1e6)

    ranked = sorted(starts, key=lambda x: float((safe(x) ** 2).sum()))[:4]
    fits = [least_squares(safe, x, x_scale="jac", loss=loss, f_scale=3.0, max_nfev=60) for x in ranked]
    fits = [fit for fit in fits if fit.x[2] > 0]  # lengths on the floor look the same from below
    if not fits:
        raise ValueError(
            "The best fit has the camera below the floor. Are points swapped, or numbers in another order?"
        )
    best = min(fits, key=lambda fit: float(fit.cost))
    x, J, errors = best.x, best.jac, safe(best.x)
    normal = J.T @ J
    scale = np.sqrt(np.diag(normal))
    if not (scale > 0).all() or 1 / np.linalg.cond(normal / np.outer(scale, scale)) < _FEW:
        raise ValueError(
            "The measurements do not determine the camera. Add more in other parts of the image, or set K."
        )
    spare = len(errors) - len(x)
    sigma = max(CLICK, math.sqrt(float((errors**2).sum()) / spare) if spare > 0 else CLICK)
    repeats = _repeats(errors[: 2 * (len(errors) // 2)].reshape(-1, 2)) if in_time else 1.0
    deviation = sigma * np.sqrt(repeats * np.diag(np.linalg.inv(normal)))
    K = _intrinsics(x, K4, fit_focal)
    deviations = {"pitch": float(deviation[0]), "roll": float(deviation[1]), "height": float(deviation[2])}
    if fit_focal:
        if deviation[3] > _UNKNOWN_FOCAL:
            raise ValueError("The measurements do not determine the focal length; set K or fov_deg.")
        deviations["focal"] = float(deviation[3] * K[0])
    pitch, roll = angles_of_up(up_in_camera(x[0], x[1]))
    return Calibration(K, pitch, roll, float(x[2]), distances(errors), deviations)


def _walking_direction(places: Array, frames: Array) -> Array:
    """(N, 3) horizontal directions along a path of positions (N, 3), shorter than 1 if the person hardly moves."""
    order = np.arange(len(places))
    known = np.isfinite(places).all(1)
    if known.sum() < 2:
        return np.zeros_like(places)
    filled = np.stack([np.interp(order, order[known], axis[known]) for axis in places.T], -1)
    velocity = np.gradient(gaussian_filter1d(filled, _PATH_SMOOTHING, axis=0), frames, axis=0)
    speed = np.linalg.norm(velocity, axis=1, keepdims=True)
    return velocity / np.maximum(np.hypot(speed, 0.3 * np.median(speed)), 1e-9)


def _repeats(errors: Array) -> float:
    """Correlation length of successive errors (N, 2): 1 + 2 sum of their autocorrelation while it is positive."""
    centered = errors - errors.mean(0)
    power = float((centered**2).sum())
    total = 1.0
    for lag in range(1, len(errors) // 2):
        shared = float((centered[lag:] * centered[:-lag]).sum()) / max(power, 1e-12)
        if shared <= 0:
            break
        total += 2 * shared
    return total


def _start_intrinsics(K4: Array, size: tuple[int, int], fit_focal: bool) -> list[Array]:
    if not fit_focal:
        return [K4]
    return [np.array([f * max(size), f * max(size), K4[2], K4[3]]) for f in FOCALS]


def _with_focal(start: Array, K4: Array, fit_focal: bool) -> Array:
    return np.insert(start, 3, math.log(K4[0])) if fit_focal else start


def _intrinsics(x: Array, K4: Array, fit_focal: bool) -> Array:
    return np.array([*np.exp([x[3], x[3]]), K4[2], K4[3]]) if fit_focal else K4


def _height_of_length(one: KnownLength, up: Array, K4: Array) -> float:
    if one.upright:
        rays = rays_of(np.stack([one.start, one.end]), K4)
        return height_of_uprights(rays[:1], rays[1:], np.array([[0.0, one.meters]]), up)
    ends = at_height(rays_of(np.stack([one.start, one.end]), K4), up, 1.0)
    return one.meters / float(np.linalg.norm(ends[0] - ends[1]))


def _length_error(one: KnownLength, up: Array, height: float, K4: Array) -> Array:
    """Pixels by which a known length is missed: (2,) at the top of something upright, (1,) along the floor."""
    rays = rays_of(np.stack([one.start, one.end]), K4)
    if one.upright:
        return pixels_of(points_above(rays[:1], up, height, np.array([[0.0, one.meters]])), K4)[0] - one.end
    ends = at_height(rays, up, height)
    shown = float(np.linalg.norm(one.end - one.start))
    return np.array([(np.linalg.norm(ends[0] - ends[1]) / one.meters - 1) * shown])


def _tilts_of_lines(vertical: Array, K4: Array) -> list[tuple[float, float]]:
    """Pitch and roll from vertical lines, and guesses for when there are fewer than two."""
    guesses = [(pitch, 0.0) for pitch in np.radians(PITCHES)]
    if len(vertical) < 2:
        return guesses
    up = np.linalg.svd(planes_of(vertical, K4))[2][-1]
    return [angles_of_up(-up if up[1] > 0 else up), *guesses]
