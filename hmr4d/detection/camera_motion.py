"""Detection of camera motion in a video from shifts of the background, which is everything except the people.

Small gray images are compared a few times per second. The background motion between two of them is a similarity (four
parameters), estimated by Gauss-Newton steps on brightness (Lucas and Kanade, 1981) with weights that exclude other
motion. Shifts are accumulated, so a slow pan counts as much as a fast one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.float64]

EVERY = 0.2  # seconds between compared images
MOVES = 0.025  # fraction of the longer image side: larger corner shifts mean a moving camera
SHAKES = 0.008  # the same, above which there is a warning
_LONGER_SIDE = 160  # pixels of what is compared
_BLUR, _STEPS, _RIM = 1.5, 12, 4
_ROOM = 0.12  # margin around the box of a person's joints, relative to its diagonal
_USUAL_ERROR = 4.0  # gray values; errors beyond count less
_LEAST_SHARE = 0.15  # fraction of the image that must be background
_LEAST_DETAIL = 0.5  # gray values per pixel, mean over the background: less detail is not usable


@dataclass(frozen=True)
class CameraMotion:
    """Shift of the image corners relative to the first image.

    Attributes:
        times: (N,) seconds.
        wandered: (N,) maximum corner shift relative to the longer side; empty if nothing could be compared.
    """

    times: Array
    wandered: Array

    @property
    def farthest(self) -> float:
        """Maximum shift relative to the longer side of the image."""
        return float(self.wandered.max()) if len(self.wandered) else 0.0

    @property
    def moves(self) -> bool:
        """Whether the camera moves too much for a result."""
        return self.farthest > MOVES

    @property
    def remark(self) -> str | None:
        """A message for a moving or shaking camera, None for a still one."""
        if self.farthest <= SHAKES:
            return None
        when = float(self.times[int(self.wandered.argmax())])
        offset = f"the background shifts by {self.farthest:.1%} of the image by second {when:.1f}"
        if self.moves:
            return (
                f"The camera moves: {offset}. Lifting needs a still camera. Use a tripod, cut out a part with a still "
                "camera, or stabilize the video first."
            )
        return f"The camera shakes slightly: {offset}. Expect position errors of this size."


class CameraMotionMeter:
    """Collects images of a video and estimates the camera motion."""

    def __init__(self) -> None:
        self._before: tuple[Array, Array] | None = None
        self._total = np.eye(3)
        self._at = -math.inf
        self._times: list[float] = []
        self._wandered: list[float] = []

    def add(self, picture: Image.Image, time: float, people: Sequence[Array]) -> None:
        """Processes an image if it is due.

        Args:
            picture: image of the video. time: its time in seconds, increasing. people: (J, 2) joints of all people in
                pixels; they and a margin are excluded.
        """
        if time - self._at < EVERY - 1e-6:
            return
        self._at = time
        scale = _LONGER_SIDE / max(picture.size)
        size = max(round(picture.width * scale), 8), max(round(picture.height * scale), 8)
        gray = np.asarray(picture.resize(size, Image.Resampling.BOX).convert("L"), np.float64)
        gray = gaussian_filter(gray, _BLUR)
        is_background = _background(gray.shape, people, scale)
        if self._before is not None:
            step = _shift(self._before[0], gray, self._before[1] * is_background)
            if step is not None:
                self._total = step @ self._total
        self._before = gray, is_background
        width, height = size
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
        off = np.linalg.norm((corners @ self._total.T - corners)[:, :2], axis=1)
        self._times.append(time)
        self._wandered.append(float(off.max()) / max(size))

    def result(self) -> CameraMotion:
        """The motion so far."""
        return CameraMotion(np.array(self._times), np.array(self._wandered))


def _background(shape: tuple[int, ...], people: Sequence[Array], scale: float) -> Array:
    weights = np.zeros(shape)
    weights[_RIM:-_RIM, _RIM:-_RIM] = 1
    for joints in people:
        low, high = joints.min(0), joints.max(0)
        room = _ROOM * float(np.linalg.norm(high - low))
        left, top, right, bottom = (max(round(float(v) * scale), 0) for v in (*(low - room), *(high + room)))
        weights[top:bottom, left:right] = 0
    return weights


def _shift(before: Array, now: Array, weights: Array) -> Array | None:
    """(3, 3) transform from previous to current positions; None if too little background or detail is visible."""
    if weights.mean() < _LEAST_SHARE:
        return None
    rows, columns = np.nonzero(weights)
    slope_v, slope_u = (np.gradient(before, axis=axis)[rows, columns] for axis in (0, 1))
    if np.hypot(slope_u, slope_v).mean() < _LEAST_DETAIL:
        return None
    middle = np.array(before.shape[::-1]) / 2
    u, v = columns + 0.5 - middle[0], rows + 0.5 - middle[1]
    reach = max(before.shape) / 2  # so that all four numbers are of pixels
    jacobian = np.stack(
        [slope_u, slope_v, (slope_u * u + slope_v * v) / reach, (slope_v * u - slope_u * v) / reach], -1
    )
    motion = np.zeros(4)
    for _ in range(_STEPS):
        growth, turn = motion[2] / reach, motion[3] / reach
        places = [rows + motion[1] + growth * v + turn * u, columns + motion[0] + growth * u - turn * v]
        error = map_coordinates(now, places, order=1, mode="nearest") - before[rows, columns]
        error -= np.median(error)  # light may change
        trust = 1 / (1 + (error / _USUAL_ERROR) ** 2)
        normal = jacobian.T @ (jacobian * trust[:, None]) + 1e-6 * len(error) * np.eye(4)
        step = np.linalg.solve(normal, jacobian.T @ (trust * error))
        motion -= step
        if np.abs(step).max() < 1e-3:
            break
    growth, turn = motion[2] / reach, motion[3] / reach
    linear = np.array([[1 + growth, -turn], [turn, 1 + growth]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, motion[:2] + middle - linear @ middle
    return matrix
