"""RICH: people indoors and outdoors, recorded by six to eight calibrated cameras, with fitted SMPL-X bodies.

Huang et al., "Capturing and Inferring Dense Full-Body Human-Scene Contact", CVPR 2022, arXiv 2206.09553.

    bodies/{train,val,test}/{SEQ}/{frame:05d}/{SUB:03d}.pkl      one body per frame, in calibration coordinates
    scan_calibration/{CAPTURE}/calibration/{cam:03d}.xml         OpenCV storage
    multicam2world/{CAPTURE}_multicam2world.json                 an axis-aligned coordinate frame of the floor
    (optional) resource/gender.json, resource/meta/{train,val,test}.txt     also searched directly below the root

SEQ is CAPTURE_SUB_action; a name of four parts is a recording of two people, which is excluded. Joints come from the
body model (`hmr4d.evaluation.captures.rich_bodies`) or from files `<joints folder>/{SEQ}.npz` with `joints24_world`
(L, 24, 3), in meters and calibration coordinates.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import SMPL22, SMPL24, Skeleton
from hmr4d.evaluation.captures.ground_plane import GroundPlane, body_up, fit_ground_plane
from hmr4d.evaluation.captures.rich_bodies import BodyJoints, read_bodies
from hmr4d.evaluation.captures.views import Capture, CaptureError, CaptureViews, check_body_extent
from hmr4d.utils.text_files import read_text

logger = logging.getLogger(__name__)
Floats = NDArray[np.float64]

FPS = 30.0
SIZE, PORTRAIT_SIZE = (4112.0, 3008.0), (3008.0, 4112.0)
PORTRAIT = {("Pavallion", 3), ("Pavallion", 5)}  # (site, camera) mounted on its side
SPLITS = ("train", "val", "test")
HIPS = (1, 2)  # their mean is the root in the published metrics, instead of joint 0
TOE_REST = 0.02  # meters; height of SMPL's foot joints above the floor
MAX_TILT = np.radians(20)  # between the floor's normal and the mean up direction of bodies
_LEADING = ("sequence_name", "capture_name", "scan_name")  # first columns of all meta lists


@dataclass(frozen=True)
class RichSequence:
    """A row of a meta list.

    Attributes:
        name: SEQ.
        capture: site and take; all sequences of a capture share a calibration.
        scan: name of the scene scan.
        subject: number of the person.
        views: numbers of the listed cameras.
    """

    name: str
    capture: str
    scan: str
    subject: int
    views: tuple[int, ...]


def read_meta(path: Path) -> list[RichSequence]:
    """Single-person sequences of a meta list; the excluded sequences of two people are logged.

    Raises:
        FileNotFoundError: the list does not exist.
        CaptureError: the header or a row is malformed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"RICH list not found: {path}. It is part of the data set's resources.")
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    header = lines[0].split() if lines else []
    if tuple(header[:3]) != _LEADING or header[-1] != "view_id":
        raise CaptureError(f"{path} begins with {lines[:1]}; expected the columns {', '.join(_LEADING)} ... view_id.")
    sequences, pairs = [], []
    for number, line in enumerate(lines[1:], 2):
        match = re.search(r"(\d+(?:\s*,\s*\d+)*)\s*$", line)
        parts = line.split()
        name = parts[0].split("_")
        if match is None or len(parts) < len(_LEADING) + 1 or len(name) not in (3, 4):
            raise CaptureError(f"{path}, line {number}: {line!r} has no sequence name followed by a list of views.")
        if len(name) == 4:
            pairs.append(parts[0])
            continue
        views = tuple(int(v) for v in match.group(1).split(","))
        sequences.append(RichSequence(parts[0], parts[1], parts[2], int(name[1]), views))
    if pairs:
        logger.info("%s: %d sequences of two people excluded: %s.", path.name, len(pairs), ", ".join(pairs))
    return sequences


def read_camera_xml(path: Path) -> tuple[Floats, Floats, Floats]:
    """T_w2c (4, 4), fx, fy, cx, cy (4,) and distortion (n,) of a calibration file.

    Raises:
        FileNotFoundError: the file does not exist.
        CaptureError: the file contains no calibration.
    """
    if not path.is_file():
        raise FileNotFoundError(f"RICH calibration not found: {path}.")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise CaptureError(f"{path} declares XML entities, which a calibration file never does; it was not read.")
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise CaptureError(f"{path} is not valid XML: {error}.") from error
    world, K = _matrix(tree, "CameraMatrix", 12, path), _matrix(tree, "Intrinsics", 9, path)
    T = np.eye(4)
    T[:3] = world.reshape(3, 4)
    distortion = _matrix(tree, "Distortion", None, path)
    return T, K[[0, 4, 2, 5]], np.pad(distortion[:8], (0, max(0, 5 - len(distortion[:8]))))


def rich_ground(
    root: Path, sequence: RichSequence, joints3d: Floats, scans: dict[str, Any] | None
) -> GroundPlane | None:
    """The floor of a capture, from the matrix of the scan or else from the axis-aligned frame; None if unknown.

    Args:
        root: folder of the data set.
        sequence: sequence of the capture.
        joints3d: (L, J, 3) meters, SMPL joints, calibration coordinates.
        scans: "<capture>_<scan>" -> 4 x 4 matrix to z-up coordinates with the floor at z = 0, or None.

    Raises:
        CaptureError: a file does not contain these matrices.
    """
    up, feet = _up_and_feet(joints3d)
    key = f"{sequence.capture}_{sequence.scan}"
    path = root / "multicam2world" / f"{sequence.capture}_multicam2world.json"
    if scans is not None and key in scans:
        T = np.asarray(scans[key], np.float64)
        if T.shape != (4, 4):
            raise CaptureError(f"The scan matrix of {key} has shape {T.shape}; expected (4, 4).")
        scale = float(np.linalg.norm(T[2, :3]))
        normal, d, source = T[2, :3] / scale, float(T[2, 3]) / scale, "scan"
    elif path.is_file():
        R, t, c = (_entry(path, name, shape) for name, shape in (("R", (3, 3)), ("t", (3,)), ("c", ())))
        axis = int(np.abs(up @ R).argmax())  # rows are points: X_world = c X R + t
        sign = float(np.sign(up @ R[:, axis]))
        normal, d, source = sign * R[:, axis], sign * float(t[axis]) / float(c), path.name
    else:
        return None
    plane = GroundPlane(normal, d)
    lowest = np.quantile(plane.height(feet), 0.02) - TOE_REST
    logger.info("%s: floor from %s; the lowest feet are %.3f m from it.", sequence.name, source, lowest)
    return GroundPlane(normal, d, abs(float(lowest)), source)


def feet_ground(capture: str, joints3d: Floats) -> GroundPlane:
    """The floor of a capture, fitted to the feet of its SMPL joints (N, J, 3), meters, calibration coordinates."""
    up, feet = _up_and_feet(joints3d)
    plane = fit_ground_plane(feet, up, rest_height=TOE_REST, max_tilt=float(MAX_TILT))
    logger.info("%s: floor from the feet of %d frames, residual %.4f m.", capture, len(joints3d), plane.residual)
    return plane


def _up_and_feet(joints3d: Floats) -> tuple[Floats, Floats]:
    """Mean direction (3,) from hips to shoulders, and foot joints (2 N, 3)."""
    up = body_up(joints3d[:, [16, 17]].mean(1), joints3d[:, list(HIPS)].mean(1))
    return up, joints3d[:, [10, 11]].reshape(-1, 3)


class RichCaptures:
    """Reader of a split of RICH.

    Args:
        root: folder of the data set.
        split: "train", "val" or "test".
        bodies: function from SMPL-X parameters to joints, see `rich_bodies`; None: joints are read from files.
        joints: folder of `{SEQ}.npz`; None: the body model computes the joints.
        scans: JSON file of floor matrices, see `rich_ground`; None: no file.
        allow: names "<SEQ>/cam_<cc>" of the selected clips, such as those of an older evaluation; None: all.
        allow_gaps: missing frames within a sequence become invalid frames; False: they are an error.

    Raises:
        FileNotFoundError: lists or files are missing; the message names all.
        CaptureError: malformed files.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        bodies: BodyJoints | None = None,
        joints: str | Path | None = None,
        scans: str | Path | None = None,
        allow: Collection[str] | None = None,
        allow_gaps: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"RICH has no split '{split}'; it has {', '.join(SPLITS)}.")
        if bodies is None and joints is None:
            raise ValueError("RICH needs a body model or a folder of joints; give bodies or joints (docs/data.md).")
        self.root, self.split = Path(root), split
        self._bodies, self._joints, self._allow_gaps = bodies, None if joints is None else Path(joints), allow_gaps
        self._scans = None if scans is None else _json_object(Path(scans))
        self.genders = _json_object(self._resource("gender.json"))
        self.sequences = {s.name: s for s in read_meta(self._resource(f"meta/{split}.txt"))}
        self.clips = [
            (s.name, s.views.index(v))
            for s in self.sequences.values()
            for v in s.views
            if allow is None or f"{s.name}/cam_{v:02d}" in allow
        ]
        absent = {self._camera_file(s, v) for s in self.sequences.values() for v in s.views}
        absent = sorted(str(p) for p in absent if not p.is_file())
        if absent:
            raise FileNotFoundError(f"RICH calibrations not found: {', '.join(absent)}.")
        logger.info("RICH %s: %d sequences, %d clips.", split, len(self.sequences), len(self.clips))
        self._floors: dict[str, GroundPlane] = {}
        self._known: tuple[str, dict[str, Any]] = "", {}  # a capture and its joints, shared by the floor and the clips

    def dataset(self) -> CaptureViews:
        """All clips with exact 2D; the data set has no detections."""
        return CaptureViews(self.clips, self.load)

    def load(self, name: str) -> Capture:
        """One sequence with the cameras of its meta list, in the order of the list."""
        sequence = self.sequences[name]
        joints3d, present = self._joints_of(sequence)
        skeleton = _skeleton(name, joints3d)
        valid = np.repeat(present[:, None], skeleton.num_joints, 1)
        measured = rich_ground(self.root, sequence, joints3d[present], self._scans)
        cameras = [read_camera_xml(self._camera_file(sequence, v)) for v in sequence.views]
        sizes = [image_size(sequence.capture, v) for v in sequence.views]
        return Capture(
            name=name,
            fps=FPS,
            skeleton=skeleton,
            root_joints=HIPS,
            joints3d=joints3d,
            valid=valid,
            views=tuple(f"cam_{v:02d}" for v in sequence.views),
            size=np.array(sizes),
            K4=np.stack([c[1] for c in cameras]),
            T_w2c=np.stack([c[0] for c in cameras]),
            distortion=np.stack([c[2] for c in cameras]),
            ground=measured or self._feet_floor(sequence.capture),
            observed=tuple(range(len(sequence.views))),
        )

    def _feet_floor(self, capture: str) -> GroundPlane:
        """The floor, fitted to the feet of all available sequences of a capture."""
        if capture not in self._floors:
            joints: list[Floats] = []
            for sequence in (s for s in self.sequences.values() if s.capture == capture):
                try:
                    joints3d, present = self._joints_of(sequence)
                except FileNotFoundError as error:
                    logger.warning("%s: the floor is fitted without %s: %s", capture, sequence.name, error)
                else:
                    joints.append(joints3d[present, : SMPL22.num_joints])
            self._floors[capture] = feet_ground(capture, np.concatenate(joints))
        return self._floors[capture]

    def _joints_of(self, sequence: RichSequence) -> tuple[Floats, NDArray[np.bool_]]:
        """(L, J, 3) joints in meters, 0 in missing frames, and which frames exist (L,)."""
        if self._known[0] != sequence.capture:
            self._known = sequence.capture, {}
        known = self._known[1]
        if sequence.name not in known:
            joints3d, present = self._read_joints(sequence)
            valid = np.repeat(present[:, None], _skeleton(sequence.name, joints3d).num_joints, 1)
            check_body_extent(f"RICH {sequence.name}", joints3d, valid, "metres")
            known[sequence.name] = joints3d, present
        return known[sequence.name]

    def _read_joints(self, sequence: RichSequence) -> tuple[Floats, NDArray[np.bool_]]:
        """Content of the files of a sequence; see `_joints_of`."""
        if self._joints is not None:
            return _cached_joints(self._joints / f"{sequence.name}.npz")
        assert self._bodies is not None  # checked by the constructor
        gender = self.genders.get(str(sequence.subject))
        if gender is None:
            raise CaptureError(f"gender.json has no entry for subject {sequence.subject} of {sequence.name}.")
        frames, parameters = read_bodies(self.root / "bodies" / self.split / sequence.name, sequence.subject)
        present = np.zeros(frames[-1] - frames[0] + 1, bool)
        present[frames - frames[0]] = True
        if not present.all() and not self._allow_gaps:
            missing = np.flatnonzero(~present) + frames[0]
            raise CaptureError(
                f"{sequence.name} lacks {len(missing)} frames, the first is {missing[0]:05d}; download them, or set "
                "allow_gaps=True to mark them as invalid."
            )
        posed = self._bodies(parameters, gender)
        joints3d = np.zeros((len(present), *posed.shape[1:]))
        joints3d[present] = posed
        return joints3d, present

    def _camera_file(self, sequence: RichSequence, view: int) -> Path:
        return self.root / "scan_calibration" / sequence.capture / "calibration" / f"{view:03d}.xml"

    def _resource(self, name: str) -> Path:
        places = [self.root / "resource" / name, self.root / name]
        path = next((p for p in places if p.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"RICH file not found: {places[0]}, nor {places[1]}.")
        return path


def image_size(capture: str, camera: int) -> tuple[float, float]:
    """Width and height in pixels of a camera's images."""
    is_portrait = any(capture.startswith(site) and camera == number for site, number in PORTRAIT)
    return PORTRAIT_SIZE if is_portrait else SIZE


def _skeleton(name: str, joints3d: Floats) -> Skeleton:
    known = {s.num_joints: s for s in (SMPL22, SMPL24)}
    if joints3d.ndim != 3 or joints3d.shape[1] not in known:
        raise CaptureError(f"{name} has joints of shape {joints3d.shape}; expected (L, 22, 3) or (L, 24, 3).")
    return known[joints3d.shape[1]]


def _cached_joints(path: Path) -> tuple[Floats, NDArray[np.bool_]]:
    """Joints of a precomputed file, and which frames are valid; frames that are not finite are invalid."""
    if not path.is_file():
        raise FileNotFoundError(f"Joints not found: {path}; expected a file with joints24_world (L, 24, 3) in meters.")
    try:
        with np.load(path, allow_pickle=False) as data:
            joints3d = np.asarray(data["joints24_world"], np.float64)
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise CaptureError(f"{path} has no readable array joints24_world: {error}.") from error
    if joints3d.ndim != 3 or not len(joints3d):
        raise CaptureError(f"{path}: joints24_world has shape {joints3d.shape}; expected (L, 24, 3).")
    present: NDArray[np.bool_] = np.asarray(np.isfinite(joints3d).all((1, 2)))
    return np.where(present[:, None, None], joints3d, 0.0), present


def _matrix(tree: ElementTree.Element, name: str, count: int | None, path: Path) -> Floats:
    """Numbers of an OpenCV matrix; line breaks are ignored."""
    text = tree.findtext(f"{name}/data")
    try:
        values = np.array([float(word) for word in (text or "").split()])
    except ValueError as error:
        raise CaptureError(f"{path}: {name} contains a value that is no number: {error}.") from error
    if text is None or not np.isfinite(values).all() or (len(values) != count if count else not len(values)):
        raise CaptureError(f"{path}: {name}/data holds {len(values)} numbers; expected {count or 'some'}.")
    return values


def _json_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"RICH file not found: {path}.")
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise CaptureError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CaptureError(f"{path} contains a {type(content).__name__}; expected an object.")
    return content


def _entry(path: Path, name: str, shape: tuple[int, ...]) -> Floats:
    try:
        value = np.asarray(_json_object(path)[name], np.float64).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise CaptureError(f"{path}: '{name}' is not an array of shape {shape}: {error}.") from error
    return value
