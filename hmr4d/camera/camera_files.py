"""Camera files: a YAML file with intrinsics and a pose over the floor, and files of more views.

    size: [1920, 1080]                                   # pixels
    K: {fx: 1500, fy: 1500, cx: 960, cy: 540}            # or fov_deg: 65, the horizontal field of view, or vfov_deg
    distortion: [k1, k2, p1, p2, k3]                     # optional, OpenCV's order
    pose: {pitch_deg: 12, roll_deg: 0, height_m: 1.6}    # pitch > 0 looks down; or, from any calibration,
    extrinsic: {R: [[...], [...], [...]], t: [...]}      # x_camera = R x + t, meters, with
    ground: {normal: [0, 1, 0], d: 0}                    # the floor normal . x + d = 0, normal up
    intrinsics: calibration.yml                          # size, K and distortion from a file of `other_cameras`

In all cases the camera is in the world of `geometry.rigs`: above the origin, heading to -z, floor y = 0.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.camera.other_formats import other_camera, with_intrinsics
from hmr4d.geometry.distortion import COEFFICIENT_COUNTS, undistort
from hmr4d.geometry.rigs import Rig, camera_angles, camera_pose, canonicalise
from hmr4d.keypoint_files.image_sizes import size_doubt
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.utils.files import write_text
from hmr4d.utils.yaml_section import Section, load_yaml

logger = logging.getLogger(__name__)

HIGHEST = 100.0  # meters; numbers above are other units
_WIDEST, _NARROWEST = 0.1, 100.0  # focal length by image side; others are millimeters, shares or other units
_FAR_FROM_MIDDLE, _SAME_SHARE = 0.1, 0.03  # of the image; principal points of images of another size
_FARTHEST_FROM_MIDDLE = 0.2  # of the image; principal points of cameras are nearer, unless the image is cropped
_SQUARE = 0.1  # logarithm of fx / fy; pixels of cameras are square
_SHORTEST_FOV, _LONGEST_FOV = math.pi, 175.0  # degrees; smaller numbers are radians
_ROTATION_ROUNDING = 2e-3  # entries of R R^T - 1 of matrices written with three decimals
_RADIANS = math.pi / 2
INTRINSIC_KEYS = ("size", "K", "fov_deg", "vfov_deg", "distortion")
FOCAL_KEYS = ("K", "fov_deg", "vfov_deg")
_POSE_KEYS = ("pitch_deg", "roll_deg", "height_m")
_VIEW_POSE_KEYS = (*_POSE_KEYS, "yaw_deg", "position_m")


@dataclass(frozen=True)
class CameraFile:
    """One calibrated camera over the floor; all tensors float64.

    Attributes:
        size: width and height of the image, pixels.
        K4: (4,) fx, fy, cx, cy in pixels.
        distortion: (D,) OpenCV's coefficients, D = 0: none.
        T_w2c: (4, 4) from the world of this camera: above the origin, heading to -z.
        T_cal2world: (4, 4) from the frame of the file's extrinsics to that world; None if the file has a pose.
    """

    size: tuple[int, int]
    K4: Tensor
    distortion: Tensor
    T_w2c: Tensor
    T_cal2world: Tensor | None = None

    @property
    def angles(self) -> tuple[float, float, float]:
        """Pitch, roll and yaw in radians."""
        pitch, roll, yaw = camera_angles(self.T_w2c[:3, :3])
        return float(pitch), float(roll), float(yaw)

    @property
    def height(self) -> float:
        """Meters of the optical center over the floor."""
        return float(-(self.T_w2c[:3, :3].T @ self.T_w2c[:3, 3])[1])

    @property
    def rig(self) -> Rig:
        """The camera as a rig of one view."""
        return Rig(torch.tensor([self.size], dtype=torch.float64), self.K4[None], self.T_w2c[None])


def read_camera(path: str | Path) -> CameraFile:
    """The camera of a YAML file.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: missing, unknown, contradictory or impossible content;
            the message names it.
    """
    path = Path(path)
    try:
        if (sentence := other_camera(path, "Camera file")) is not None:
            raise ValueError(sentence)
    except ValueError as error:
        raise ValueError(f"{path}: {error} See docs/calibrate.md.") from error
    values = load_yaml(path, "Camera file")
    try:
        values = with_intrinsics(values, path.parent)
        section = Section(values, "", (*INTRINSIC_KEYS, "pose", "extrinsic", "ground"))
        size, K4, distortion = read_intrinsics(section)
        if section.has("pose") and section.has("extrinsic"):
            raise ValueError("it has both pose and extrinsic. Keep one of them.")
        if section.has("pose"):
            if section.has("ground"):
                raise ValueError("it has both ground and pose; a pose is already relative to the floor. Remove ground.")
            camera = CameraFile(size, K4, distortion, _pose(section.section("pose", _POSE_KEYS)))
        elif section.has("extrinsic"):
            camera = CameraFile(size, K4, distortion, *_over_ground(section))
        else:
            raise ValueError("it does not contain the camera position: add pose {pitch_deg, roll_deg, height_m}.")
        _check_sees_floor(camera)
    except ValueError as error:
        raise ValueError(f"{path}: {error} See docs/calibrate.md.") from error
    return camera


def read_rig(path: str | Path, camera: CameraFile) -> Rig:
    """A rig of V views, float64: the camera, then those of a file.

    The file has a list `views` of cameras. `size`, `K` and `distortion` of each default to those of the camera. Each
    has a `pose` with `yaw_deg` (counter-clockwise from above) and `position_m: [x, z]` in the camera's world, or an
    `extrinsic` in the same frame as the camera's.

    Raises:
        FileNotFoundError, ValueError: as `read_camera`.
    """
    path = Path(path)
    values = load_yaml(path, "Rig file")
    try:
        views = Section(values, "", ("views",)).required("views")
        if not isinstance(views, list) or not views:
            raise ValueError(f"views is {views!r}; expected a list of cameras.")
        cameras = [camera, *(_view(view, f"views[{i}].", camera) for i, view in enumerate(views))]
    except ValueError as error:
        raise ValueError(f"{path}: {error} See docs/lift.md.") from error
    rigs = [one.rig for one in cameras]
    return Rig(*(torch.cat([getattr(rig, name) for rig in rigs]) for name in ("size", "K4", "T_w2c")))


def check_camera(camera: CameraFile) -> None:
    """ValueError for a camera that `read_camera` would refuse: on or under the floor, absurdly high, blind to it."""
    _check_height(camera.height, "the height of the camera")
    _check_sees_floor(camera)


def write_camera(path: str | Path, camera: CameraFile, *, note: str = "") -> None:
    """Writes a file that `read_camera` reads, with the camera as a pose; lines of `note` become comments."""
    pitch, roll, _ = camera.angles
    fx, fy, cx, cy = (round(float(v), 4) for v in camera.K4)
    lines = [f"# {line}".rstrip() for line in note.splitlines()]
    lines += [f"size: [{camera.size[0]}, {camera.size[1]}]", f"K: {{fx: {fx}, fy: {fy}, cx: {cx}, cy: {cy}}}"]
    if len(camera.distortion):
        lines.append(f"distortion: [{', '.join(f'{float(k):.8g}' for k in camera.distortion)}]")
    angles = f"pitch_deg: {math.degrees(pitch):.5f}, roll_deg: {math.degrees(roll):.5f}"
    lines.append(f"pose: {{{angles}, height_m: {camera.height:.5f}}}")
    write_text(path, "\n".join(lines) + "\n")


def undistorted(track: KeypointTrack, camera: CameraFile) -> KeypointTrack:
    """The track in a pinhole camera; joints outside the lens model count as missing."""
    if not bool(camera.distortion.any()):
        return track
    L, J = track.kp2d_conf.shape
    pixels = torch.from_numpy(track.kp2d).reshape(-1, 2)
    straight = undistort(pixels, camera.K4, camera.distortion).numpy().reshape(L, J, 2)
    found = (track.kp2d_conf > 0) & np.isfinite(straight).all(-1)
    if lost := int((track.kp2d_conf > 0).sum() - found.sum()):
        logger.warning("%d joints lie outside the valid range of the lens model; they count as missing.", lost)
    kp2d = np.where(found[..., None], straight, 0.0).astype(np.float32)
    return replace(track, kp2d=kp2d, kp2d_conf=np.where(found, track.kp2d_conf, 0.0).astype(np.float32))


def check_keypoints_fit(track: KeypointTrack, camera: CameraFile) -> None:
    """ValueError when the joints of a track cannot be of images of this size; a warning when that is doubtful."""
    if track.image_sizes and camera.size not in track.image_sizes:
        logger.warning(
            "The keypoint file is of images of %d x %d pixels, the camera file of %d x %d. Do they belong together?",
            *track.image_sizes[0],
            *camera.size,
        )
    points = track.kp2d[track.kp2d_conf > 0]
    if not len(points):
        return
    if doubt := size_doubt(points, camera.size, "the camera's image"):
        logger.warning("%s Is the camera file for another size?", doubt)


def read_intrinsics(section: Section) -> tuple[tuple[int, int], Tensor, Tensor]:
    """Size, (4,) intrinsics and (D,) distortion of a section with INTRINSIC_KEYS; ValueError names the error."""
    sides = section.numbers("size", 2)
    if bool((sides < 1).any()) or bool((sides != sides.round()).any()):
        raise ValueError(f"'{section.where}size' is {sides.tolist()}; expected whole pixels [width, height].")
    size = int(sides[0]), int(sides[1])
    K4 = _focal_and_center(section, size)
    fx, fy, cx, cy = K4.tolist()
    if not (fx > 0 and fy > 0 and 0.5 < fx / fy < 2):
        raise ValueError(f"the focal lengths are {fx:g} and {fy:g}; expected two similar positive numbers of pixels.")
    if abs(math.log(fx / fy)) > _SQUARE:
        logger.warning(
            "The focal lengths fx = %g and fy = %g differ by %.0f %%; cameras have equal ones. Check them, unless the "
            "image is stretched.",
            fx,
            fy,
            100 * abs(max(fx, fy) / min(fx, fy) - 1),
        )
    if fx < _WIDEST * max(size):
        raise ValueError(f"the focal length is {fx:g} pixels for an image {size[0]} wide; expected pixels, not mm.")
    if fx > _NARROWEST * max(size):
        raise ValueError(f"the focal length is {fx:g} pixels for an image {size[0]} wide; expected pixels.")
    _check_principal_point(cx, cy, size)
    if not section.has("distortion"):
        return size, K4, torch.zeros(0, dtype=torch.float64)
    distortion = section.numbers("distortion", -1)
    if len(distortion) not in (0, *COEFFICIENT_COUNTS):
        raise ValueError(f"'{section.where}distortion' has {len(distortion)} numbers; expected [k1, k2, p1, p2, k3].")
    return size, K4, distortion


def _check_principal_point(cx: float, cy: float, size: tuple[int, int]) -> None:
    """ValueError for a principal point outside the image, or as it would be at the middle of one of another size."""
    where = f"the principal point ({cx:g}, {cy:g})"
    if not (0 <= cx < size[0] and 0 <= cy < size[1]):
        raise ValueError(
            f"{where} is outside the image of {size[0]} x {size[1]} pixels. Was the camera calibrated at another size?"
        )
    shares = cx / size[0], cy / size[1]
    if abs(shares[0] - shares[1]) < _SAME_SHARE and abs(sum(shares) / 2 - 0.5) > _FAR_FROM_MIDDLE:
        raise ValueError(
            f"{where} is the middle of an image of {2 * cx:.0f} x {2 * cy:.0f} pixels, not of {size[0]} x {size[1]}. "
            "Calibrate at the size of the images, or scale K to it."
        )
    off = [abs(share - 0.5) for share in shares]
    if max(off) > _FARTHEST_FROM_MIDDLE and max(abs(cy / size[0] - 0.5), abs(cx / size[1] - 0.5)) < _FAR_FROM_MIDDLE:
        raise ValueError(
            f"{where} is far from the middle of the image of {size[0]} x {size[1]} pixels; cx and cy, or width and "
            "height, seem to be swapped."
        )
    if max(off) > _FARTHEST_FROM_MIDDLE:
        logger.warning(
            "T%s is far from the middle of the image of %d x %d pixels. Check cx and cy, unless the image is cropped.",
            where[1:],
            *size,
        )


def _focal_and_center(section: Section, size: tuple[int, int]) -> Tensor:
    given = [key for key in FOCAL_KEYS if section.has(key)]
    if len(given) != 1:
        count = f"both {' and '.join(given)}" if given else "neither K nor fov_deg"
        raise ValueError(
            f"it has {count}; expected K {{fx, fy, cx, cy}}, or fov_deg, the horizontal field of view, or vfov_deg, "
            "the vertical one."
        )
    middle = size[0] / 2, size[1] / 2
    if given[0] != "K":
        fov = section.number(given[0])
        if not _SHORTEST_FOV < fov < _LONGEST_FOV:
            raise ValueError(f"{given[0]} is {fov:g}; expected degrees (not radians), at most 175.")
        focal = (size[0] if given[0] == "fov_deg" else size[1]) / 2 / math.tan(math.radians(fov) / 2)
        return torch.tensor([focal, focal, *middle], dtype=torch.float64)
    if isinstance(section.required("K"), list):
        K = section.numbers("K", 3, 3)
        if float(K[0, 1].abs()) > 0.01 * float(K[0, 0].abs()) or K[1, 0] or K[2].tolist() != [0.0, 0.0, 1.0]:
            raise ValueError(f"K is {K.tolist()}; expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]].")
        return torch.stack([K[0, 0], K[1, 1], K[0, 2], K[1, 2]])
    matrix = section.section("K", ("fx", "fy", "cx", "cy"))
    fx = matrix.number("fx")
    rest = [matrix.number("fy", fx), matrix.number("cx", middle[0]), matrix.number("cy", middle[1])]
    return torch.tensor([fx, *rest], dtype=torch.float64)


def _pose(pose: Section) -> Tensor:
    """T_w2c (4, 4) of a pose; yaw and position default to those of V0."""
    pitch, roll = pose.number("pitch_deg"), pose.number("roll_deg", 0.0)
    height, yaw = pose.number("height_m"), pose.number("yaw_deg", 0.0)
    if not -90 <= pitch <= 90:
        raise ValueError(f"'{pose.where}pitch_deg' is {pitch:g}; expected -90 (straight up) to 90 (straight down).")
    if not -180 <= roll <= 180:
        raise ValueError(f"'{pose.where}roll_deg' is {roll:g}; expected degrees from -180 to 180.")
    _check_height(height, f"'{pose.where}height_m'")
    if 0 < abs(pitch) <= _RADIANS and abs(roll) <= _RADIANS:
        logger.warning(
            "%spitch_deg is %g: an almost level camera. If this is in radians, write %.2f.",
            pose.where,
            pitch,
            math.degrees(pitch),
        )
    x, z = pose.numbers("position_m", 2).tolist() if pose.has("position_m") else (0.0, 0.0)
    turns = [torch.tensor(math.radians(angle), dtype=torch.float64) for angle in (pitch, roll, yaw)]
    return camera_pose(turns[0], turns[1], turns[2], torch.tensor([x, height, z], dtype=torch.float64))


def _extrinsic(section: Section) -> Tensor:
    """T_cal2c (4, 4); rounding of the rotation is taken out."""
    given = section.section("extrinsic", ("R", "t"))
    R, t = given.numbers("R", 3, 3), given.numbers("t", 3)
    error = float((R @ R.T - torch.eye(3, dtype=R.dtype)).abs().max())
    if error > _ROTATION_ROUNDING:
        raise ValueError(f"'{given.where}R' is no rotation: its rows are not unit vectors at right angles.")
    if torch.linalg.det(R) < 0:
        raise ValueError(f"'{given.where}R' is a reflection (determinant -1); expected a rotation.")
    U, _, Vh = torch.linalg.svd(R)
    T = torch.eye(4, dtype=R.dtype)
    T[:3, :3], T[:3, 3] = U @ Vh, t
    return T


def _over_ground(section: Section) -> tuple[Tensor, Tensor]:
    """T_w2c (4, 4) in the camera's world and T_cal2world (4, 4)."""
    T_cal2c = _extrinsic(section)
    ground = section.section("ground", ("normal", "d"))
    normal, d = ground.numbers("normal", 3), ground.number("d")
    if abs(float(normal.norm()) - 1) > _ROTATION_ROUNDING:
        raise ValueError(f"'ground.normal' has length {float(normal.norm()):.4g}; expected a unit vector, d in meters.")
    height = float(-(T_cal2c[:3, :3].T @ T_cal2c[:3, 3]) @ normal) + d
    _check_height(abs(height), "the camera's distance from the floor")
    if height < 0:
        logger.warning("ground.normal points away from the camera; it is inverted.")
    T_w2c, T_cal2world = canonicalise(T_cal2c[None], normal, d)
    roll = float(camera_angles(T_w2c[0, :3, :3])[1])
    if abs(roll) > math.pi / 2:
        raise ValueError(
            f"the image would be upside down (roll {math.degrees(roll):.0f} degrees): ground.normal seems to point "
            "down. Negate it, or its d; for a camera that hangs upside down, rotate the video."
        )
    return T_w2c[0], T_cal2world


def _view(values: Any, where: str, camera: CameraFile) -> CameraFile:
    section = Section(values, where, (*INTRINSIC_KEYS, "pose", "extrinsic"))
    if any(section.has(key) for key in INTRINSIC_KEYS):
        size, K4, distortion = read_intrinsics(section)
    else:
        size, K4, distortion = camera.size, camera.K4, camera.distortion
    if section.has("pose") == section.has("extrinsic"):
        raise ValueError(f"'{where[:-1]}' needs one of pose and extrinsic.")
    if section.has("pose"):
        T_w2c = _pose(section.section("pose", _VIEW_POSE_KEYS))
    elif camera.T_cal2world is None:
        raise ValueError(f"'{where}extrinsic' has no common frame with the camera, which has a pose. Give a pose here.")
    else:
        T_w2c = _extrinsic(section) @ torch.linalg.inv(camera.T_cal2world)
    view = CameraFile(size, K4, distortion, T_w2c)
    _check_height(view.height, f"the height of '{where[:-1]}'")
    _check_sees_floor(view)
    return view


def _check_height(height: float, what: str) -> None:
    if not height > 0:
        raise ValueError(f"{what} is {height:g}; expected meters above the floor, more than 0.")
    if height > HIGHEST:
        raise ValueError(f"{what} is {height:g}; expected meters (not cm or mm), at most {HIGHEST:g}.")


def _check_sees_floor(camera: CameraFile) -> None:
    """ValueError when even the lowest corner of the image is on or above the horizon."""
    width, height = camera.size
    corners = torch.tensor([[0, 0], [width, 0], [0, height], [width, height]], dtype=torch.float64)
    rays = (corners - camera.K4[2:]) / camera.K4[:2]
    up = camera.T_w2c[:3, 1]
    if not bool((rays @ up[:2] + up[2] < 0).any()):
        pitch = math.degrees(camera.angles[0])
        raise ValueError(
            f"the camera only looks above the horizon (pitch {pitch:.1f} degrees), so it sees no floor. "
            "Positive pitch looks down."
        )
