"""Top view of the floor: paths, footprints, and visible areas of the cameras."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmr4d.motion.motion import Motion
from hmr4d.utils.files import atomic_path
from hmr4d.visualization.figure_style import SIDE_COLORS
from hmr4d.visualization.pixels import FLOOR, INK, PAPER, QUIET_INK, Color, drawable, load_font

log = logging.getLogger(__name__)

_SIZE = 900  # pixels; longer side of the plan
_MARGIN = 46
_NARROWEST = 0.5  # smallest width relative to the longer side; the legend needs space
_OVER = 2  # supersampling factor
_PERSON_COLORS: tuple[Color, ...] = ((43, 122, 214), (240, 128, 42), (46, 160, 104), (170, 82, 196), (205, 62, 84))
_WEDGE = (214, 226, 240)
_REAL = (60, 70, 90)
_FARTHEST = 30.0  # meters; visible areas are drawn up to this distance


@dataclass(frozen=True)
class PlanCamera:
    """A camera on the plan.

    Attributes:
        T_w2c: (4, 4) world to camera.
        K4: (4,) fx, fy, cx, cy in pixels.
        size: width and height of its image, pixels.
        name: label.
        is_real: whether it is a real camera, drawn filled with its visible area of the floor.
    """

    T_w2c: NDArray[np.float64]
    K4: NDArray[np.float64]
    size: tuple[float, float]
    name: str = ""
    is_real: bool = True


@dataclass(frozen=True)
class PlanPath:
    """A person on the plan.

    Attributes:
        motion: motion of the person.
        contacts: (L, C) bool of the skeleton's contact joints, or None.
        name: label at the start of the path.
    """

    motion: Motion
    contacts: NDArray[np.bool_] | None = None
    name: str = ""


def write_plan_view(
    path: str | os.PathLike[str], people: Sequence[PlanPath], cameras: Sequence[PlanCamera], *, title: str = ""
) -> None:
    """Writes a PNG top view of the floor with a grid of meters; the camera looks upward (-z up, x right).

    Root paths become darker with time and have a dot every second. Footprints mark resting contact joints, in the
    colors of the sides for one person and in the color of each person for several.

    Args:
        path: file to write.
        people: at least one person.
        cameras: cameras; the first is the observing one.
        title: title of the image.

    Raises:
        ValueError: there is no person.
    """
    if not people:
        raise ValueError("people is empty; pass at least one path.")
    plan = _Plan(people, cameras)
    for camera in cameras:
        if camera.is_real:
            plan.wedge(camera)
    plan.grid()
    for number, person in enumerate(people):
        plan.person(person, _PERSON_COLORS[number % len(_PERSON_COLORS)], has_side_colors=len(people) == 1)
    for camera in cameras:
        plan.camera(camera)
    picture = plan.finish(title, ", left blue, right orange" if len(people) == 1 else "")
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
    log.info("Plan view written to %s", path)


class _Plan:
    """The supersampled image during drawing."""

    def __init__(self, people: Sequence[PlanPath], cameras: Sequence[PlanCamera]) -> None:
        roots = [_root(p) for p in people]
        ground = np.concatenate([*roots, *(_center(c)[None, [0, 2]] for c in cameras)])
        low, high = np.floor(ground.min(0) - 0.7), np.ceil(ground.max(0) + 0.7)
        lacking = np.ceil((_NARROWEST * (high - low).max() - (high - low)).clip(min=0) / 2)
        low, high = low - lacking, high + lacking
        self.low, self.high = low, high
        self.scale = _OVER * (_SIZE - 2 * _MARGIN) / max(float((high - low).max()), 1.0)
        width, height = (high - low) * self.scale + 2 * _OVER * _MARGIN
        self.picture = Image.new("RGB", (round(width), round(height)), PAPER)
        self.draw = ImageDraw.Draw(self.picture)
        self.font = load_font(13 * _OVER)

    def place(self, xz: NDArray[np.floating]) -> list[tuple[float, float]]:
        """Pixels of floor points (N, 2: x, z)."""
        pixels = (np.asarray(xz, np.float64) - self.low) * self.scale + _OVER * _MARGIN
        return [(float(u), float(v)) for u, v in pixels]

    def grid(self) -> None:
        for axis in range(2):
            for value in np.arange(self.low[axis], self.high[axis] + 0.5):
                ends = np.array([self.low, self.high])
                ends[:, axis] = value
                line = self.place(ends)
                is_axis = value == 0
                self.draw.line(line, fill=QUIET_INK if is_axis else FLOOR, width=_OVER)
                anchor, shift = ("ma", (0, 5 * _OVER)) if axis == 0 else ("rm", (-6 * _OVER, 0))
                spot = line[1] if axis == 0 else line[0]
                label = f"{value:g} m" if is_axis else f"{value:g}"
                self.draw.text(
                    (spot[0] + shift[0], spot[1] + shift[1]), label, font=self.font, fill=QUIET_INK, anchor=anchor
                )

    def wedge(self, camera: PlanCamera) -> None:
        """Draws the visible floor of the camera, up to the horizon or the edge of the plan."""
        outline = _seen_floor(camera)
        if len(outline) > 2:
            self.draw.polygon(self.place(outline), fill=_WEDGE)
            frame = [*self.place(np.array([self.low]))[0], *self.place(np.array([self.high]))[0]]
            outside = Image.new("L", self.picture.size, 255)
            ImageDraw.Draw(outside).rectangle(frame, fill=0)
            self.picture.paste(PAPER, mask=outside)

    def camera(self, camera: PlanCamera) -> None:
        forward = camera.T_w2c[2, [0, 2]]
        (u, v), length = self.place(_center(camera)[None, [0, 2]])[0], 16 * _OVER
        heading = math.atan2(forward[1], forward[0])
        points = [(u, v)]
        for turn in (-0.45, 0.45):
            points.append((u + length * math.cos(heading + turn), v + length * math.sin(heading + turn)))
        self.draw.polygon(points, fill=_REAL if camera.is_real else None, outline=_REAL, width=_OVER)
        if camera.name:
            below = forward[1] <= 0
            spot = (u, v + (8 if below else -8) * _OVER)
            self.draw.text(spot, drawable(camera.name), font=self.font, fill=INK, anchor="ma" if below else "mb")

    def person(self, person: PlanPath, color: Color, *, has_side_colors: bool) -> None:
        root, joints3d, skeleton = _root(person), person.motion.array(), person.motion.skeleton
        if person.contacts is not None:
            for column, joint in enumerate(skeleton.contact_joints):
                side = skeleton.joint_names[joint].split("_")[0]
                print_color = SIDE_COLORS.get(side, INK) if has_side_colors else color
                for u, v in self.place(joints3d[person.contacts[:, column], joint][:, [0, 2]]):
                    self._dot(u, v, 2.2, _faded(print_color, 0.45))
        spots = self.place(root)
        for frame in range(len(spots) - 1):
            strength = 0.35 + 0.65 * frame / max(len(spots) - 2, 1)
            self.draw.line([spots[frame], spots[frame + 1]], fill=_faded(color, strength), width=3 * _OVER)
        for frame in range(0, len(spots), max(round(person.motion.fps), 1)):
            self._dot(*spots[frame], 4.0, color)
        self._dot(*spots[0], 7.0, PAPER, color)
        self._dot(*spots[-1], 7.0, color)
        if person.name:
            u, v = spots[0]
            self.draw.text(
                (u + 10 * _OVER, v - 10 * _OVER), drawable(person.name), font=self.font, fill=color, anchor="lm"
            )

    def _dot(self, u: float, v: float, radius: float, fill: Color, outline: Color | None = None) -> None:
        r = radius * _OVER
        self.draw.ellipse((u - r, v - r, u + r, v + r), fill=fill, outline=outline, width=2 * _OVER)

    def finish(self, title: str, about_feet: str) -> Image.Image:
        if title:
            self.draw.text((_OVER * _MARGIN, 12 * _OVER), drawable(title), font=load_font(16 * _OVER), fill=INK)
        legend = "ring: start   disc: end   dots: seconds   small dots: feet on the floor" + about_feet
        self.draw.text(
            (_OVER * _MARGIN, self.picture.height - 6 * _OVER),
            legend,
            font=load_font(12 * _OVER),
            fill=QUIET_INK,
            anchor="lb",
        )
        return self.picture.reduce(_OVER)


def _root(person: PlanPath) -> NDArray[np.floating]:
    return person.motion.array()[:, list(person.motion.skeleton.root_joints)].mean(1)[:, [0, 2]]


def _center(camera: PlanCamera) -> NDArray[np.float64]:
    return -camera.T_w2c[:3, :3].T @ camera.T_w2c[:3, 3]


def _seen_floor(camera: PlanCamera) -> NDArray[np.float64]:
    """Outline (N, 2) of the visible floor: intersections of rays through the image border with the floor, up to
    _FARTHEST."""
    width, height = camera.size
    steps = np.linspace(0, 1, 60)
    border = np.concatenate(
        [
            np.stack([steps * width, np.full(60, height)], -1),
            np.stack([np.full(60, width), (1 - steps) * height], -1),
            np.stack([(1 - steps) * width, np.zeros(60)], -1),
            np.stack([np.zeros(60), steps * height], -1),
        ]
    )
    rays = np.concatenate([(border - camera.K4[2:]) / camera.K4[:2], np.ones((240, 1))], 1) @ camera.T_w2c[:3, :3]
    center = _center(camera)
    flat = np.linalg.norm(rays[:, [0, 2]], axis=1)
    fall = np.maximum(-rays[:, 1], center[1] * flat / _FARTHEST)
    falls = -rays[:, 1] > 0
    return (center + (center[1] / np.maximum(fall, 1e-9))[:, None] * rays)[falls][:, [0, 2]]


def _faded(color: Color, strength: float) -> Color:
    mixed = [round(strength * c + (1 - strength) * p) for c, p in zip(color, PAPER, strict=True)]
    return mixed[0], mixed[1], mixed[2]
