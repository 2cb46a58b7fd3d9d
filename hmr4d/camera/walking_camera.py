"""Estimation of an unmeasured camera: tilt, height and focal length from a walking person.

A person has a constant height. Ankles and ears at several positions therefore determine the vertical direction, the
camera height and the focal length, with the same residual as `calibration.from_people`. A prior of usual cameras
(hand-held or on a tripod, level, with the lens of a phone) determines the rest if the person hardly moves. The result
is the most probable camera with standard deviations; a wrong body height scales everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hmr4d.camera.camera_files import CameraFile
from hmr4d.geometry.rigs import camera_pose
from hmr4d.keypoint_files.reading import KeypointTrack

Array = NDArray[np.float64]

STATURE, STATURE_ERROR = 1.70, 0.09  # meters, of grown-ups
SHORTEST, TALLEST = 0.5, 2.6  # meters, of anybody
USUAL_FOCAL, FOCAL_SPREAD = 0.8, 0.25  # of the longer side, and standard deviation of its logarithm: phones and webcams
TOLD_SPREAD = 0.05  # standard deviation of the logarithm of a focal length from the file: videos are cut and steadied
_HEIGHT, _HEIGHT_SPREAD = 1.4, 0.45  # meters, and standard deviation of the logarithm
_ROLL = math.radians(3)
_PITCH, _PITCH_SPREAD = math.radians(8), math.radians(15)
# Heights as fractions of the body height: the midpoint of the ankles of a walking person, and of the ears.
_ANKLE, _EAR = 0.051, 0.932
_POSTURE = 0.035  # relative error of the distance between ankles and ears from step to step
_STEP = 0.5  # seconds for which this error is correlated
_SURE = 0.5
_BENT = 0.12  # distance of shoulders, hips or knees from the line ankles to ears in a bent pose, per body length
_HIPS = (0.43, 0.64)  # range of the hips as a fraction of the vector from ankles to ears
_FEWEST = 5
_MOST_TURNED = 60  # degrees; people rotated further are not upright
_STARTS = tuple(math.radians(angle) for angle in (0, 10, 25, 45))


@dataclass(frozen=True)
class GuessedCamera:
    """An estimated camera and its uncertainty.

    Attributes:
        camera: camera over the floor. deviations: standard deviations of "pitch" and "roll" (radians), "height" (share)
            and "focal" (share), for a person of known stature.
        stature, stature_error: assumed body height in meters, and its error; all positions scale with it. focal_source:
            text: source of the focal length. residual: median reprojection error of ankles and ears as a fraction of
            the body length.
    """

    camera: CameraFile
    deviations: dict[str, float]
    stature: float
    stature_error: float
    focal_source: str
    residual: float

    @property
    def description(self) -> str:
        """One paragraph for the user."""
        pitch, roll, _ = (math.degrees(angle) for angle in self.camera.angles)
        off = {name: math.degrees(self.deviations[name]) for name in ("pitch", "roll")}
        focal = float(self.camera.K4[0])
        scale = self.stature_error / self.stature
        return (
            f"The camera is a guess: pitch {pitch:.1f} +- {off['pitch']:.1f} degrees, roll {roll:.1f} +- "
            f"{off['roll']:.1f} degrees, height {self.camera.height:.2f} +- "
            f"{self.camera.height * math.hypot(self.deviations['height'], scale):.2f} m, focal length {focal:.0f} +- "
            f"{focal * self.deviations['focal']:.0f} pixels ({self.focal_source}), for a person of {self.stature:.2f} "
            f"+- {self.stature_error:.2f} m. Distances may be off by {self.distance_error:.0%}."
        )

    @property
    def distance_error(self) -> float:
        """Relative standard deviation of distances from the camera, from body height and focal length."""
        return math.hypot(self.stature_error / self.stature, self.deviations["focal"])


def guess_camera(
    track: KeypointTrack,
    size: tuple[int, int],
    *,
    fps: float,
    stature: float | None = None,
    focal: float | None = None,
) -> GuessedCamera:
    """The most probable camera of a track.

    Args:
        track: track of one person, upright in at least some frames. size: width and height of the image. fps: frames
            per second. stature: body height in meters, if known. focal: pixels, if the file contains it.

    Raises:
        ValueError: too few frames show an upright person from ankles to ears, the video is rotated, or the body height
            is impossible.
    """
    stature = None if stature is None else checked_stature(stature)
    low, high, frames = _upright(track)
    _check_turned(high - low, track.person)
    tall = stature or STATURE
    heights = np.array([_ANKLE, _EAR]) * tall
    length = np.linalg.norm(high - low, axis=1)
    middle = np.array([size[0] / 2, size[1] / 2])
    usual = math.log(focal or USUAL_FOCAL * max(size))
    spread = TOLD_SPREAD if focal else FOCAL_SPREAD
    steps = max(len(np.unique(np.floor(frames / (fps * _STEP)))), 1)
    trust = math.sqrt(min(steps / len(frames), 1.0)) / _POSTURE  # successive frames are correlated

    def errors(x: Array) -> Array:
        """(N, 2) pixels by which the ears are missed, over the length of the body."""
        pitch, roll, height, f = x[0], x[1], math.exp(x[2]), math.exp(x[3])
        up = np.array([math.sin(roll) * math.cos(pitch), -math.cos(roll) * math.cos(pitch), -math.sin(pitch)])
        rays = np.concatenate([(low - middle) / f, np.ones((len(low), 1))], 1)
        fall = -(rays @ up)
        depth = (height - heights[0]) / np.where(fall > 1e-4, fall, np.nan)
        ears = rays * depth[:, None] + (heights[1] - heights[0]) * up
        ahead = np.where(ears[:, 2:] > 0.05, ears[:, 2:], np.nan)
        return (ears[:, :2] / ahead * f + middle - high) / length[:, None]

    def residuals(x: Array) -> Array:
        data = np.nan_to_num(errors(x), nan=10.0)
        prior = [
            (x[0] - _PITCH) / _PITCH_SPREAD,
            x[1] / _ROLL,
            (x[2] - math.log(_HEIGHT)) / _HEIGHT_SPREAD,
            (x[3] - usual) / spread,
        ]
        return np.concatenate([np.clip(data, -10, 10).ravel() * trust, prior])

    fits = [_fitted(residuals, np.array([pitch, 0.0, math.log(_HEIGHT), usual])) for pitch in _STARTS]
    best, covariance = min(fits, key=lambda fit: float((residuals(fit[0]) ** 2).sum()))
    pitch, roll, height = best[0], best[1], math.exp(best[2])
    f = math.exp(best[3])
    angles = [torch.tensor(angle, dtype=torch.float64) for angle in (pitch, roll, 0.0)]
    T_w2c = camera_pose(angles[0], angles[1], angles[2], torch.tensor([0.0, height, 0.0], dtype=torch.float64))
    K4 = torch.tensor([f, f, *middle], dtype=torch.float64)
    deviation = np.sqrt(np.diag(covariance))
    focal_source = "from the file" if focal else _source(float(deviation[3]))
    return GuessedCamera(
        CameraFile(size, K4, torch.zeros(0, dtype=torch.float64), T_w2c),
        dict(zip(("pitch", "roll", "height", "focal"), map(float, deviation), strict=True)),
        tall,
        0.01 if stature else STATURE_ERROR,
        focal_source,
        float(np.median(np.linalg.norm(np.nan_to_num(errors(best), nan=10.0), axis=1))),
    )


def checked_stature(stature: float) -> float:
    """A body height in meters; ValueError for an impossible one."""
    if not SHORTEST <= stature <= TALLEST:
        raise ValueError(f"the stature is {stature:g} m; expected meters, from {SHORTEST:g} to {TALLEST:g}.")
    return stature


def _check_turned(bodies: Array, person: str) -> None:
    """ValueError if bodies from ankles to ears (N, 2), v downward, lie across the image or are upside down."""
    angles = np.degrees(np.arctan2(bodies[:, 0], -bodies[:, 1]))  # clockwise from upright
    if np.median(np.abs(angles)) > _MOST_TURNED:
        how = "upside down" if np.median(np.abs(angles)) > 180 - _MOST_TURNED else "across the image"
        raise ValueError(
            f"person {person} is {how} in nearly all frames, so the video seems to be rotated. Rotate it, for example "
            "with "
            "ffmpeg -i video.mp4 -vf transpose=1 upright.mp4 (2 for the other way). If the person lies on the floor, "
            "pass a camera file: docs/calibrate.md."
        )


def _source(deviation: float) -> str:
    if deviation > 0.7 * FOCAL_SPREAD:
        return "that of common phones; the path does not determine it"
    return "from how the person grows and shrinks"


def _fitted(residuals: Callable[[Array], Array], start: Array) -> tuple[Array, Array]:
    """The fit from a start, with its covariance."""
    fit = least_squares(residuals, start, x_scale=[0.1, 0.05, 0.3, 0.2], loss="soft_l1", f_scale=3.0, max_nfev=100)
    return fit.x, np.linalg.inv(fit.jac.T @ fit.jac + 1e-9 * np.eye(len(start)))


def _upright(track: KeypointTrack) -> tuple[Array, Array, Array]:
    """Midpoints of ankles and of ears (N, 2) in the frames with an upright person, and their numbers (N,)."""
    rows = {
        name: [track.skeleton.index(f"{side}_{name}") for side in ("left", "right")]
        for name in ("ankle", "ear", "shoulder", "hip", "knee")
    }
    seen = np.stack(
        [(track.kp2d_conf[:, row] >= _SURE).all(1) for row in (rows["ankle"], rows["shoulder"], rows["hip"])]
    )
    is_ear = (track.kp2d_conf[:, rows["ear"]] >= 0.1).all(1)
    middles = {name: track.kp2d[:, row].astype(np.float64).mean(1) for name, row in rows.items()}
    body = middles["ear"] - middles["ankle"]
    length = np.maximum(np.linalg.norm(body, axis=1), 1e-9)
    bend = np.zeros(len(length))
    for name in ("shoulder", "hip", "knee"):
        off = middles[name] - middles["ankle"]
        bend = np.maximum(bend, np.abs(off[:, 0] * body[:, 1] - off[:, 1] * body[:, 0]) / length**2)
    # When squatting, the hips are too low relative to the head.
    hips = ((middles["hip"] - middles["ankle"]) * body).sum(1) / length**2
    usable = seen.all(0) & is_ear & (bend < _BENT) & (hips > _HIPS[0]) & (hips < _HIPS[1])
    frames = np.flatnonzero(usable)
    if len(frames) < _FEWEST:
        raise ValueError(
            f"only {len(frames)} frames show person {track.person} upright from the ankles to the ears, too few to "
            "estimate the camera. Pass a camera file: docs/calibrate.md."
        )
    return middles["ankle"][frames], middles["ear"][frames], frames.astype(np.float64)
