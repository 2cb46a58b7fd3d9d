"""2D keypoints of people, from the files that pose detectors write, as one kind of track.

Layouts: COCO results, OpenPose folders, AlphaPose, MMPose, ViTPose wrappers, NumPy arrays (docs/lift.md). Whatever the
layout, a joint that was not found has confidence 0 and the position (0, 0), a frame without the person is a frame of
such joints, and confidences above 1 (AlphaPose, COCO's visibility flags) count as 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton, get_skeleton
from hmr4d.data.keypoints.arrays import read_arrays
from hmr4d.data.keypoints.detections import Detection, DetectionTable
from hmr4d.data.keypoints.folders import read_folder, read_json, read_openpose_file
from hmr4d.data.keypoints.json_layouts import read_json_layout, sniff_json
from hmr4d.data.keypoints.tracking import track_people

logger = logging.getLogger(__name__)

FORMATS = ("auto", "coco", "openpose", "alphapose", "mmpose", "vitpose", "npz")
# Joint sets by the number of joints in the file, and how many of them are the body.
_SETS = {
    18: ("openpose18", 18), 22: ("smpl22", 22), 24: ("smpl24", 24), 25: ("openpose25", 25), 26: ("halpe26", 26),
    133: ("coco17", 17), 136: ("halpe26", 26),
}  # fmt: skip
_SETS_OF_17 = ("coco17", "h36m17")
_NORMALISED = 1.05  # coordinates up to here are shares of the image, and not pixels
_SPARSEST = 20  # frames per frame with somebody in it; beyond this, numbers are no frame numbers
_ENOUGH_FRAMES = 2000  # that may always be spanned


@dataclass(frozen=True)
class KeypointTrack:
    """One person over consecutive frames.

    Attributes:
        kp2d: (L, J, 2) float32 pixels, u right and v down; (0, 0) where the joint was not found.
        kp2d_conf: (L, J) float32 in [0, 1]; 0: not found.
        skeleton: joint meaning of axis J.
        frame_ids: (L,) int64 frame numbers of the file, without gaps.
        fps: frames per second where the file tells it.
        person: id in the file, or of the tracking.
    """

    kp2d: NDArray[np.float32]
    kp2d_conf: NDArray[np.float32]
    skeleton: Skeleton
    frame_ids: NDArray[np.int64]
    fps: float | None
    person: str

    @property
    def num_frames(self) -> int:
        return len(self.frame_ids)

    @property
    def num_seen(self) -> int:
        """Frames in which the person was found."""
        return int((self.kp2d_conf > 0).any(1).sum())


def read_keypoints(
    path: str | Path, format: str = "auto", person: str | int = "longest", *, skeleton: str | None = None,
    size: tuple[int, int] | None = None,
) -> KeypointTrack | list[KeypointTrack]:  # fmt: skip
    """The track of one person, or of all.

    Args:
        path: file, or folder of OpenPose.
        format: one of FORMATS; "auto" looks at the structure.
        person: "longest" for the one found in most frames, an id, or "all" for a list by falling number of frames.
        skeleton: name of the joint set; needed where a file of 17 joints does not tell COCO from H36M.
        size: (width, height) pixels of the image; needed where coordinates are normalised.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or of another layout, the joint set is unclear, or the person is not in it.
    """
    path = Path(path)
    if format not in FORMATS:
        raise ValueError(f"Unknown keypoint format '{format}'; known: {', '.join(FORMATS)}.")
    if not path.exists():
        raise FileNotFoundError(f"Keypoints not found: {path}. Check the path; docs/lift.md says what can be read.")
    try:
        table = _read_table(path, format)
        joint_set, num_body = _joint_set(table, skeleton)
        table = _in_order(table, joint_set)
        tracks = _tracks(table, joint_set, num_body, size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    what = f"{path} ({table.layout}, {joint_set.name})"
    if person == "all":
        logger.info("%s: %s.", what, ", ".join(f"person {t.person} in {t.num_seen} frames" for t in tracks))
        return tracks
    chosen = tracks[0] if person == "longest" else next((t for t in tracks if t.person == str(person)), None)
    if chosen is None:
        known = ", ".join(f"{t.person} ({t.num_seen} frames)" for t in tracks)
        raise ValueError(
            f"{path}: nobody in it is called '{person}'; it has person {known}. Choose one, 'longest' or 'all'."
        )
    logger.info(
        "%s: person %s (%d in the file), frames %d to %d, %d of them empty.", what, chosen.person, len(tracks),
        chosen.frame_ids[0], chosen.frame_ids[-1], chosen.num_frames - chosen.num_seen,
    )  # fmt: skip
    return chosen


def _read_table(path: Path, format: str) -> DetectionTable:
    if path.is_dir():
        if format not in ("auto", "openpose", "mmpose"):
            raise ValueError(f"it is a folder; {format} is one file. Folders are read as openpose or mmpose.")
        return read_folder(path, None if format == "auto" else format)
    if path.suffix in (".npz", ".npy") or format == "npz":
        if format not in ("auto", "npz"):
            raise ValueError(f"it is a file of arrays, not {format}. Leave the format out to have it found.")
        return read_arrays(path)
    if path.suffix in (".pkl", ".pickle", ".pt", ".pth"):
        raise ValueError("pickled keypoints are not read. Save them as .npz with kp2d (L, J, 2) and kp2d_conf (L, J).")
    if path.stat().st_size == 0:
        raise ValueError("the file is empty; expected keypoints as docs/lift.md shows them.")
    content = read_json(path)
    layout = sniff_json(content) if format == "auto" else format
    if layout is None:
        raise ValueError("its content is none of the known layouts, or empty. docs/lift.md shows them.")
    return read_openpose_file(content) if layout == "openpose" else read_json_layout(content, layout)


def _joint_set(table: DetectionTable, asked: str | None) -> tuple[Skeleton, int]:
    """Skeleton of a table, and how many joints of an entry belong to it."""
    if not table.detections:
        raise ValueError("nobody was detected in any frame.")
    counts = sorted({len(detection.points) for detection in table.detections})
    if len(counts) > 1:
        raise ValueError(f"entries have {counts[0]} and {counts[-1]} joints; expected the same number throughout.")
    count = counts[0]
    if count == 17:
        name, num_body = asked or table.skeleton or "", 17
        if not name:
            raise ValueError("17 joints can be COCO or Human3.6M. Say which: --skeleton coco17 or --skeleton h36m17.")
    elif count in _SETS:
        name, num_body = _SETS[count]
        name = asked or name
    else:
        known = ", ".join(
            f"{number} ({entry[0]})" for number, entry in sorted({17: ("COCO, H36M", 17), **_SETS}.items())
        )
        raise ValueError(f"entries have {count} joints; known are {known}.")
    joint_set = get_skeleton(name)
    if joint_set.num_joints != num_body:
        raise ValueError(f"entries have {num_body} body joints but skeleton '{name}' has {joint_set.num_joints}.")
    return joint_set, num_body


def _in_order(table: DetectionTable, joint_set: Skeleton) -> DetectionTable:
    """The table with its joints in the order of the skeleton, where the file names them.

    Raises:
        ValueError: its names are in an order of their own, but not those of the skeleton.
    """
    names = table.joint_names
    if names is None or len(names) != len(table.detections[0].points):
        return table
    if set(names) == set(joint_set.joint_names):
        order = [names.index(name) for name in joint_set.joint_names]
        return replace(table, detections=[replace(d, points=d.points[order]) for d in table.detections])
    elsewhere = [n for i, n in enumerate(names[: joint_set.num_joints])
                 if n in joint_set.joint_names and joint_set.index(n) != i]  # fmt: skip
    if elsewhere:
        raise ValueError(
            f"it names its {len(names)} joints in another order than '{joint_set.name}' ({elsewhere[0]} is joint "
            f"{names.index(elsewhere[0])}), and not all of that set. Convert them, or choose another --skeleton."
        )
    return table


def _tracks(
    table: DetectionTable, skeleton: Skeleton, num_body: int, size: tuple[int, int] | None
) -> list[KeypointTrack]:
    """Everybody, by falling number of frames, then of confidence."""
    seen = [replace(d, points=_cleaned(d.points[:num_body])) for d in table.detections]
    seen = [detection for detection in seen if (detection.points[:, 2] > 0).any()]
    if not seen:
        raise ValueError("no joint has a confidence above 0.")
    seen = _in_pixels(seen, size)
    if any(detection.person is None for detection in seen):
        seen = track_people(seen)
    people: dict[str, list[Detection]] = {}
    for detection in seen:
        people.setdefault(str(detection.person), []).append(detection)
    _check_frame_numbers({d.frame for d in seen})
    tracks = [_track(name, entries, skeleton, table.fps) for name, entries in people.items()]
    return sorted(tracks, key=lambda track: (-track.num_seen, -float(track.kp2d_conf.sum()), track.person))


def _cleaned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(J, 3) with confidences in [0, 1]; joints that were not found are (0, 0, 0)."""
    places, conf = points[:, :2], points[:, 2]
    conf = np.clip(np.where(np.isnan(conf), 1.0, conf), 0.0, 1.0)
    missing = ~np.isfinite(places).all(1) | (places == 0).all(1) | (conf == 0)
    return np.where(missing[:, None], 0.0, np.concatenate([places, conf[:, None]], 1))


def _in_pixels(detections: Sequence[Detection], size: tuple[int, int] | None) -> list[Detection]:
    """Detections in pixels: coordinates within [0, 1] or [-1, 1] are shares of the image from corner to corner."""
    places = np.concatenate([d.points[d.points[:, 2] > 0, :2] for d in detections])
    if np.abs(places).max() > _NORMALISED:
        return list(detections)
    if size is None:
        raise ValueError(
            "its coordinates are normalised, not pixels. Pass the size of the image (the camera file has it)."
        )
    is_centred = bool((places < 1 - _NORMALISED).any())
    logger.info("Coordinates are normalised to %s; taken times the image size.", "[-1, 1]" if is_centred else "[0, 1]")
    corner = np.array([size[0] - 1, size[1] - 1])
    scaled = []
    for detection in detections:
        points = detection.points.copy()
        found = points[:, 2] > 0
        points[found, :2] = ((points[found, :2] + 1) / 2 if is_centred else points[found, :2]) * corner
        scaled.append(replace(detection, points=points))
    return scaled


def _check_frame_numbers(frames: set[int]) -> None:
    span = max(frames) - min(frames) + 1
    if span > max(_SPARSEST * len(frames), _ENOUGH_FRAMES):
        raise ValueError(
            f"its {len(frames)} images are numbered from {min(frames)} to {max(frames)}; expected the frame numbers of "
            "one video. Number the images by frame."
        )
    steps = np.diff(sorted(frames))
    if len(steps) and steps.min() > 1 and (steps == steps[0]).all():
        logger.warning("Only every %dth frame is there; the others count as empty. Renumber to change that.", steps[0])


def _track(person: str, entries: Sequence[Detection], skeleton: Skeleton, fps: float | None) -> KeypointTrack:
    best: dict[int, Detection] = {}
    for entry in entries:
        known = best.get(entry.frame)
        if known is None or entry.points[:, 2].sum() > known.points[:, 2].sum():
            best[entry.frame] = entry
    if len(best) < len(entries):
        logger.warning("Person %s is there twice in some frames; the surer %d entries are kept.", person, len(best))
    first, last = min(best), max(best)
    points = np.zeros((last - first + 1, skeleton.num_joints, 3), np.float32)
    for frame, entry in best.items():
        points[frame - first] = entry.points
    return KeypointTrack(
        kp2d=points[..., :2].copy(), kp2d_conf=points[..., 2].copy(), skeleton=skeleton,
        frame_ids=np.arange(first, last + 1, dtype=np.int64), fps=fps, person=person,
    )  # fmt: skip
