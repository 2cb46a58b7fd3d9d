"""Pictures of made-up people, the same on every machine: no library draws them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# A standing body in shares of its height: u to the right, v down from the head.
STANDING: dict[str, tuple[float, float]] = {
    "head": (0.0, 0.07),
    "neck": (0.0, 0.17),
    "left_shoulder": (0.11, 0.19),
    "right_shoulder": (-0.11, 0.19),
    "left_elbow": (0.17, 0.36),
    "right_elbow": (-0.17, 0.36),
    "left_wrist": (0.19, 0.5),
    "right_wrist": (-0.19, 0.5),
    "left_hip": (0.07, 0.5),
    "right_hip": (-0.07, 0.5),
    "left_knee": (0.08, 0.72),
    "right_knee": (-0.08, 0.72),
    "left_ankle": (0.08, 0.94),
    "right_ankle": (-0.08, 0.94),
    "left_toe": (0.12, 0.98),
    "right_toe": (-0.12, 0.98),
}
_SKIN, _SHIRT, _TROUSERS, _SHOE, _HAIR = (
    (214, 164, 132),
    (176, 58, 52),
    (44, 56, 92),
    (30, 28, 26),
    (58, 40, 30),
)
_LIMBS = (
    ("left_hip", "left_knee", 0.055, _TROUSERS),
    ("right_hip", "right_knee", 0.055, _TROUSERS),
    ("left_knee", "left_ankle", 0.042, _TROUSERS),
    ("right_knee", "right_ankle", 0.042, _TROUSERS),
    ("left_ankle", "left_toe", 0.028, _SHOE),
    ("right_ankle", "right_toe", 0.028, _SHOE),
    ("left_shoulder", "right_hip", 0.085, _SHIRT),
    ("right_shoulder", "left_hip", 0.085, _SHIRT),
    ("left_shoulder", "right_shoulder", 0.06, _SHIRT),
    ("left_hip", "right_hip", 0.06, _TROUSERS),
    ("neck", "head", 0.03, _SKIN),
    ("left_shoulder", "left_elbow", 0.038, _SHIRT),
    ("right_shoulder", "right_elbow", 0.038, _SHIRT),
    ("left_elbow", "left_wrist", 0.027, _SKIN),
    ("right_elbow", "right_wrist", 0.027, _SKIN),
)


def room(size: tuple[int, int], seed: int = 0) -> NDArray[np.float64]:
    """(H, W, 3) a wall, a floor and slow shades, as values from 0 to 255."""
    width, height = size
    u, v = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    phases = np.random.default_rng(seed).random((4, 3)) * 2 * np.pi
    shades = np.stack(
        [6 * np.sin(5 * u + phases[0, c]) + 5 * np.sin(7 * v + phases[1, c] + 3 * u) for c in range(3)], -1
    )
    wall, floor = np.array([196.0, 200.0, 190.0]), np.array([128.0, 112.0, 96.0])
    return np.where((v > 0.72)[..., None], floor, wall) + shades


def draw_person(
    picture: NDArray[np.float64],
    top: tuple[float, float],
    height: float,
    pose: Mapping[str, tuple[float, float]] = STANDING,
) -> None:
    """Draws a body into a picture (H, W, 3).

    Args:
        picture: changed in place.
        top: pixels of the top of the head.
        height: of the body, pixels.
        pose: as STANDING.
    """
    places = {name: np.array(top) + height * np.array(place) for name, place in pose.items()}
    for start, end, radius, color in _LIMBS:
        _capsule(picture, places[start], places[end], radius * height, color)
    _capsule(picture, places["head"], places["head"] - (0, 0.01 * height), 0.062 * height, _HAIR)
    _capsule(picture, places["head"] + (0, 0.025 * height), places["head"] + (0, 0.035 * height), 0.05 * height, _SKIN)
    for side in (-1, 1):
        eye = places["head"] + (0.02 * side * height, 0.02 * height)
        _capsule(picture, eye, eye, 0.008 * height, (20, 20, 20))
    for name in ("left_wrist", "right_wrist"):
        _capsule(picture, places[name], places[name] + (0, 0.04 * height), 0.025 * height, _SKIN)


def _capsule(
    picture: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
    color: tuple[int, int, int],
) -> None:
    """All points nearer to a segment than its radius, darker towards the rim, with soft edges."""
    low = np.maximum(np.floor(np.minimum(start, end) - radius - 1), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + radius + 2), picture.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    u, v = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    along = end - start
    share = np.clip(((u - start[0]) * along[0] + (v - start[1]) * along[1]) / max(float(along @ along), 1e-9), 0, 1)
    distance = np.hypot(u - start[0] - share * along[0], v - start[1] - share * along[1])
    cover = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    shade = 1 - 0.35 * np.clip(distance / radius, 0, 1)[..., None] ** 2
    part = picture[low[1] : high[1], low[0] : high[0]]
    part[:] = (1 - cover) * part + cover * shade * np.array(color, np.float64)


def to_picture(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))


def one_person(
    size: tuple[int, int] = (480, 360),
    *,
    top: tuple[float, float] = (240.0, 40.0),
    height: float = 280.0,
    seed: int = 0,
) -> Image.Image:
    """A standing person in a room."""
    values = room(size, seed)
    draw_person(values, top, height)
    return to_picture(values)
