"""Measurement files: YAML files with measurements in an image, and the camera computed from them.

The file has `size`, usually `K` or `fov_deg` (without either, the focal length is fitted too), maybe `distortion`, and
one of floor_points, checkerboard, people, lines and phone; docs/calibrate.md shows each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.camera.calibration import (
    Calibration,
    KnownLength,
    checkerboard_floor,
    from_floor_points,
    from_gravity,
    from_lines,
    from_people,
)
from hmr4d.camera.camera_files import FOCAL_KEYS, HIGHEST, INTRINSIC_KEYS, CameraFile, read_intrinsics
from hmr4d.camera.other_formats import with_intrinsics
from hmr4d.geometry.distortion import undistort
from hmr4d.geometry.rigs import camera_pose
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.utils.yaml_section import Section, load_yaml

Array = NDArray[np.float64]

# Heights as shares of the stature: body segment lengths of Drillis and Contini (1966).
EYE_SHARE, ANKLE_SHARE = 0.936, 0.039
PHONE_TILT_ERROR = math.radians(1.0)  # typical error of phone accelerometers
TAPE_ERROR = 0.01  # meters
_SHORTEST_LINE = 2.0  # pixels; shorter ones have no direction
_SURE = 0.5  # minimum confidence of joints used for measurements
_MOST_ROWS, _LARGEST_SQUARE = 1000, 100.0  # of a checkerboard; meters
_MOST_PAIRS = 300  # of a track
# Axes of the image (right, down, forward) in those of a phone (right, up, out of the screen), by its orientation.
_HOLDS = {
    "portrait": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "landscape_left": ((0, -1, 0), (-1, 0, 0), (0, 0, -1)),
    "landscape_right": ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
    "upside_down": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
}
_SENSORS = {"android": -1.0, "ios": 1.0}  # at rest, Android's accelerometer shows up, Core Motion's gravity shows down


@dataclass(frozen=True)
class Measurements:
    """Input of the methods.

    Attributes:
        size, K4, distortion: as in a camera file.
        fit_focal: the focal length is unknown. section: the whole file. folder: folder of the file; paths are relative
            to it.
    """

    size: tuple[int, int]
    K4: Tensor
    distortion: Tensor
    fit_focal: bool
    section: Section
    folder: Path

    @property
    def start(self) -> Array:
        return self.K4.numpy()

    def straight(self, pixels: Tensor | Array) -> Array:
        """Pixels (..., 2) of a pinhole camera."""
        points = torch.as_tensor(pixels, dtype=torch.float64)
        if self.distortion.any():
            points = undistort(points.reshape(-1, 2), self.K4, self.distortion).reshape(points.shape)
        if not bool(points.isfinite().all()):
            raise ValueError(
                "a measured point lies outside the valid range of the distortion. Measure nearer to the center."
            )
        return points.numpy()


def read_measurements(path: str | Path) -> tuple[CameraFile, Calibration, str]:
    """The fitted camera with its residual, and the method.

    Raises:
        FileNotFoundError: the file, or one it names, does not exist.
        ValueError: missing, unknown or contradictory content, or an undetermined camera.
    """
    path = Path(path)
    values = load_yaml(path, "Measurements")
    try:
        values = with_intrinsics(values, path.parent)
        section = Section(values, "", (*INTRINSIC_KEYS, *METHODS))
        methods = [name for name in METHODS if section.has(name)]
        if len(methods) != 1:
            raise ValueError(
                f"it has {' and '.join(methods) or 'no measurements'}; expected one of {', '.join(METHODS)}."
            )
        measured = _with_intrinsics(section, path.parent)
        fit = METHODS[methods[0]](measured)
        if not fit.height <= HIGHEST:
            raise ValueError(
                f"the camera would be {fit.height:.3g} m above the floor; expected at most {HIGHEST:g} m. Give all "
                "lengths in meters (not cm or mm)."
            )
    except ValueError as error:
        raise ValueError(f"{path}: {error} See docs/calibrate.md.") from error
    angles = [torch.tensor(angle, dtype=torch.float64) for angle in (fit.pitch, fit.roll, 0.0)]
    center = torch.tensor([0.0, fit.height, 0.0], dtype=torch.float64)
    T_w2c = camera_pose(angles[0], angles[1], angles[2], center)
    return CameraFile(measured.size, torch.from_numpy(fit.K4), measured.distortion, T_w2c), fit, methods[0]


def upright_pairs(track: KeypointTrack, stature: float) -> tuple[Array, Array, Array, Array]:
    """Ankles and eyes of a walking person: low (N, 2), high (N, 2), heights (N, 2) in meters and frames (N,).

    A pair is the midpoint of the ankles and the midpoint of the eyes, or of the ears if no eye is visible.

    Raises:
        ValueError: the joint set has no eyes, or too few frames show them and both ankles.
    """
    names = track.skeleton.joint_names
    sets = [("left_eye", "right_eye"), ("left_ear", "right_ear")]
    if not all(name in names for pair in sets for name in pair):
        raise ValueError(f"keypoints of '{track.skeleton.name}' have no eyes and ears. Measure people by hand.")
    low, low_seen = _middle(track, ("left_ankle", "right_ankle"), needs_both=True)
    eyes, eyes_seen = _middle(track, sets[0], needs_both=False)
    ears, ears_seen = _middle(track, sets[1], needs_both=False)
    high = np.where(eyes_seen[:, None], eyes, ears)
    frames = np.flatnonzero(low_seen & (eyes_seen | ears_seen))
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _MOST_PAIRS)).astype(int))]
    if len(frames) < 3:
        raise ValueError(
            f"only {len(frames)} frames show both ankles and a face with sufficient confidence; expected a walking "
            "person."
        )
    heights = np.tile(np.array([ANKLE_SHARE, EYE_SHARE]) * stature, (len(frames), 1))
    return low[frames], high[frames], heights, track.frame_ids[frames].astype(np.float64)


def _middle(track: KeypointTrack, names: tuple[str, str], *, needs_both: bool) -> tuple[Array, NDArray[np.bool_]]:
    joints = list(track.skeleton.indices(*names))
    sure = track.kp2d_conf[:, joints] >= _SURE
    weight = sure / np.maximum(sure.sum(1, keepdims=True), 1)
    seen = np.asarray(sure.sum(1) >= (len(joints) if needs_both else 1))
    return (track.kp2d[:, joints].astype(np.float64) * weight[..., None]).sum(1), seen


def _with_intrinsics(section: Section, folder: Path) -> Measurements:
    known = {key: section.values[key] for key in INTRINSIC_KEYS if section.has(key)}
    fit_focal = not any(key in known for key in FOCAL_KEYS)
    if fit_focal:
        if "distortion" in known:
            raise ValueError("it has distortion without K; lens coefficients belong to a calibrated K.")
        known["fov_deg"] = 60  # only its principal point is used
    size, K4, distortion = read_intrinsics(Section(known, "", INTRINSIC_KEYS))
    return Measurements(size, K4, distortion, fit_focal, section, folder)


def _floor_points(given: Measurements) -> Calibration:
    rows = given.section.numbers("floor_points", -1, 4)
    pixels = given.straight(rows[:, :2])
    return from_floor_points(pixels, rows[:, 2:].numpy(), given.size, given.start, fit_focal=given.fit_focal)


def _checkerboard(given: Measurements) -> Calibration:
    board = given.section.section("checkerboard", ("rows", "columns", "square_m", "corners"))
    rows, columns = (int(board.number(name)) for name in ("rows", "columns"))
    corners, square = board.numbers("corners", -1, 2), board.number("square_m")
    if not (min(rows, columns) >= 2 and max(rows, columns) <= _MOST_ROWS) or not 0 < square <= _LARGEST_SQUARE:
        raise ValueError(
            f"checkerboard needs rows and columns of inner corners, 2 to {_MOST_ROWS}, and square_m above 0, at most "
            f"{_LARGEST_SQUARE:g} meters."
        )
    floor = checkerboard_floor(rows, columns, square)
    outer = [0, columns - 1, (rows - 1) * columns, rows * columns - 1]
    if len(corners) not in (4, len(floor)):
        raise ValueError(
            f"checkerboard.corners are {len(corners)}; expected all {len(floor)} row by row, or the outer 4."
        )
    floor = floor if len(corners) == len(floor) else floor[outer]
    return from_floor_points(given.straight(corners), floor, given.size, given.start, fit_focal=given.fit_focal)


def _people(given: Measurements) -> Calibration:
    people = given.section.section("people", ("height_m", "places", "keypoints", "skeleton", "person"))
    stature = people.number("height_m")
    if not 0.3 < stature < 3:
        raise ValueError(f"people.height_m is {stature:g}; expected meters.")
    if people.has("places") == people.has("keypoints"):
        raise ValueError("people needs either places or keypoints.")
    if people.has("places"):
        rows = people.numbers("places", -1, 4)
        low, high = rows[:, :2], rows[:, 2:]
        heights, walk = np.tile(np.array([0.0, stature]), (len(rows), 1)), None
    else:
        low, high, heights, walk = upright_pairs(_track(people, given), stature)
    return from_people(
        given.straight(low),
        given.straight(high),
        heights,
        given.size,
        given.start,
        fit_focal=given.fit_focal,
        walk=walk,
    )


def _track(people: Section, given: Measurements) -> KeypointTrack:
    skeleton = str(people.required("skeleton")) if people.has("skeleton") else None
    person = str(people.values.get("person", "longest"))
    path = given.folder / str(people.required("keypoints"))
    track = read_keypoints(path, person=person, skeleton=skeleton, size=given.size)
    if isinstance(track, list):
        raise ValueError("people.person is 'all'; the height is that of one person, so name one.")
    return track


def _lines(given: Measurements) -> Calibration:
    lines = given.section.section("lines", ("vertical", "level", "lengths"))
    vertical = _ends(lines, "vertical", given) if lines.has("vertical") else np.zeros((0, 2, 2))
    groups = lines.values.get("level") or []
    if not isinstance(groups, list):
        raise ValueError("lines.level must be a list of groups, each a list of [u1, v1, u2, v2].")
    named = [Section({"lines": group}, f"lines.level[{i}].", ("lines",)) for i, group in enumerate(groups)]
    lengths = lines.values.get("lengths") or []
    if not isinstance(lengths, list):
        raise ValueError("lines.lengths must be a list of {from, to, metres, upright}.")
    known = [_length(values, f"lines.lengths[{i}].", given) for i, values in enumerate(lengths)]
    level = [_ends(group, "lines", given) for group in named]
    return from_lines(vertical, level, known, given.size, given.start, fit_focal=given.fit_focal)


def _ends(section: Section, key: str, given: Measurements) -> Array:
    ends = section.numbers(key, -1, 4).reshape(-1, 2, 2)
    lengths = (ends[:, 1] - ends[:, 0]).norm(dim=-1)
    if bool((lengths < _SHORTEST_LINE).any()):
        row = int(lengths.argmin())
        long = float(lengths[row])
        raise ValueError(f"line {row + 1} of {section.where}{key} is {long:.1f} pixels long; click both ends.")
    return given.straight(ends)


def _length(values: Any, where: str, given: Measurements) -> KnownLength:
    one = Section(values, where, ("from", "to", "metres", "upright"))
    upright, meters = one.required("upright"), one.number("metres")
    if not isinstance(upright, bool) or not meters > 0:
        raise ValueError(f"'{where[:-1]}' needs meters above 0, and upright: true for heights, false on the floor.")
    return KnownLength(given.straight(one.numbers("from", 2)), given.straight(one.numbers("to", 2)), meters, upright)


def _phone(given: Measurements) -> Calibration:
    phone = given.section.section("phone", ("accelerometer", "hold", "sensor", "height_m"))
    if given.fit_focal:
        raise ValueError("a phone's sensor does not determine the focal length; set K or fov_deg.")
    hold, sensor = str(phone.required("hold")), str(phone.required("sensor"))
    if hold not in _HOLDS or sensor not in _SENSORS:
        raise ValueError(f"phone.hold is one of {', '.join(_HOLDS)}, and phone.sensor of {', '.join(_SENSORS)}.")
    down = _SENSORS[sensor] * np.array(_HOLDS[hold]) @ phone.numbers("accelerometer", 3).numpy()
    if down[1] <= 0:
        raise ValueError("the image would be upside down. Check phone.hold and phone.sensor.")
    return from_gravity(
        down, phone.number("height_m"), given.start, tilt_error=PHONE_TILT_ERROR, height_error=TAPE_ERROR
    )


METHODS: dict[str, Callable[[Measurements], Calibration]] = {
    "floor_points": _floor_points,
    "checkerboard": _checkerboard,
    "people": _people,
    "lines": _lines,
    "phone": _phone,
}
