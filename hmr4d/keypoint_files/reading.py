"""Readers that convert 2D keypoint files of pose detectors to one type of track.

Layouts are in docs/lift.md. In all layouts, a missing joint has confidence 0 and the position (0, 0), a
frame without the person is a frame of such joints, and confidences above 1 (AlphaPose, COCO's visibility flags) count
as 1.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton, get_skeleton
from hmr4d.keypoint_files.arrays import read_arrays
from hmr4d.keypoint_files.body_order import best_order, is_upside_down, lies_down
from hmr4d.keypoint_files.cleaning import cleaned, in_pixels
from hmr4d.keypoint_files.deeplabcut import read_deeplabcut
from hmr4d.keypoint_files.detections import Detection, DetectionTable, shown
from hmr4d.keypoint_files.folders import read_folder, read_json
from hmr4d.keypoint_files.image_sizes import ImageSizes
from hmr4d.keypoint_files.joint_names import ORDERS, JointOrder, smallest_set, unknown_count
from hmr4d.keypoint_files.json_layouts import read_json_layout
from hmr4d.keypoint_files.other_files import other_file
from hmr4d.keypoint_files.people import identified, one_per_frame, without_repeats

logger = logging.getLogger(__name__)

FORMATS = (
    "auto",
    "coco",
    "openpose",
    "alphapose",
    "mmpose",
    "vitpose",
    "ultralytics",
    "mediapipe",
    "apple",
    "deeplabcut",
    "npz",
)
_SPARSEST = 20  # frames per frame with a person; beyond this, the numbers are not frame numbers
_ENOUGH_FRAMES = 2000  # span that is always allowed
_FEWEST_JOINTS = 0.5  # required fraction of entries with the same number of joints


class NobodyError(ValueError):
    """A keypoint file without any person."""


@dataclass(frozen=True)
class KeypointTrack:
    """One person over consecutive frames.

    Attributes:
        kp2d: (L, J, 2) float32 pixels, u right and v down; (0, 0) for a missing joint.
        kp2d_conf: (L, J) float32 in [0, 1]; 0: missing.
        skeleton: joint meaning of axis J.
        frame_ids: (L,) int64 frame numbers of the file, without gaps.
        fps: frames per second, if the file contains it.
        person: id in the file, or from tracking. image_sizes: widths and heights in pixels in the file; several if the
            size changes. times: (L,) seconds of the frames, if the file contains them in addition to its rate; else
            None.
        depth: (L, J) meters that joints are farther from the camera than the middle of the hips, along the ray to it,
            as estimated by a detector from the image; NaN for joints without depth; None: no depth.
    """

    kp2d: NDArray[np.float32]
    kp2d_conf: NDArray[np.float32]
    skeleton: Skeleton
    frame_ids: NDArray[np.int64]
    fps: float | None
    person: str
    image_sizes: ImageSizes = ()
    times: NDArray[np.float64] | None = None
    depth: NDArray[np.float32] | None = None

    @property
    def num_frames(self) -> int:
        return len(self.frame_ids)

    @property
    def num_seen(self) -> int:
        """Number of frames with the person."""
        return int((self.kp2d_conf > 0).any(1).sum())


def read_keypoints(
    path: str | Path,
    format: str = "auto",
    person: str | int = "longest",
    *,
    skeleton: str | None = None,
    size: tuple[int, int] | None = None,
) -> KeypointTrack | list[KeypointTrack]:
    """The track of one person, or of all.

    Args:
        path: file, or folder of OpenPose.
        format: one of FORMATS; "auto" detects it from the structure.
        person: "longest" for the one with the most frames, an id, or "all" for a list by decreasing number of frames.
        skeleton: name of the joint set, if it cannot be detected from the file or the limbs.
        size: (width, height) pixels of the image; needed for normalized coordinates.

    Raises:
        FileNotFoundError: the file does not exist. NobodyError: it contains no person.
        ValueError: the file is damaged or of another layout, the joint set is unclear, or the person is not in it.
    """
    path = Path(path)
    if format not in FORMATS:
        raise ValueError(f"Unknown keypoint format '{format}'; known: {', '.join(FORMATS)}.")
    if not path.exists():
        raise FileNotFoundError(
            f"Keypoints not found: {path}. Check the path; docs/lift.md lists the supported formats."
        )
    try:
        table = _read_table(path, format)
        tracks, joint_set = _tracks(table, skeleton, size)
    except ValueError as error:
        kind = NobodyError if isinstance(error, NobodyError) else ValueError
        raise kind(f"{path}: {error}") from error
    what = f"{path} ({table.layout}, {joint_set.name})"
    if person == "all":
        logger.info("%s: %s.", what, ", ".join(f"person {t.person} in {t.num_seen} frames" for t in tracks))
        return tracks
    chosen = tracks[0] if person == "longest" else next((t for t in tracks if t.person == str(person)), None)
    if chosen is None:
        known = ", ".join(f"{t.person} ({t.num_seen} frames)" for t in tracks)
        raise ValueError(
            f"{path}: it has no person '{shown(person)}', only {known}. Choose one of them, 'longest' or 'all'."
        )
    logger.info(
        "%s: person %s (%d in the file), frames %d to %d, %d of them empty.",
        what,
        chosen.person,
        len(tracks),
        chosen.frame_ids[0],
        chosen.frame_ids[-1],
        chosen.num_frames - chosen.num_seen,
    )
    return chosen


def _read_table(path: Path, format: str) -> DetectionTable:
    if path.is_dir():
        if format in ("deeplabcut", "npz", "coco", "alphapose", "vitpose"):
            raise ValueError(f"it is a folder; {format} is one file. Folders are read as openpose or mmpose.")
        return read_folder(path, None if format == "auto" else format)
    if (sentence := other_file(path)) is not None:
        raise ValueError(sentence)
    if path.stat().st_size == 0:
        raise ValueError("the file is empty; expected keypoints as docs/lift.md shows them.")
    if path.suffix.lower() in (".npz", ".npy") or format == "npz":
        if format not in ("auto", "npz", "mediapipe"):
            raise ValueError(f"it is a file of arrays, not {format}. Leave the format out to have it found.")
        return read_arrays(path)
    if path.suffix.lower() == ".csv" or format == "deeplabcut":
        if format not in ("auto", "deeplabcut"):
            raise ValueError(f"it is a CSV file, not {format}. Leave the format out to have it found.")
        return read_deeplabcut(path)
    return read_json_layout(read_json(path), format)


def _alike(table: DetectionTable) -> DetectionTable:
    """The table without the few entries that have another number of joints than the others."""
    if not table.detections:
        raise NobodyError("nobody was detected in any frame.")
    counts = Counter(len(detection.points) for detection in table.detections)
    (count, most), total = counts.most_common(1)[0], len(table.detections)
    if most == total:
        return table
    other = next(n for n in counts if n != count)
    if most <= _FEWEST_JOINTS * total:
        low, high = sorted((count, other))
        raise ValueError(f"entries have {low} and {high} joints; expected the same number throughout.")
    logger.warning(
        "%d of %d entries are skipped: they have %d joints, the others %d.", total - most, total, other, count
    )
    return replace(table, detections=[d for d in table.detections if len(d.points) == count])


def _joint_order(table: DetectionTable, seen: Sequence[Detection], asked: str | None) -> JointOrder:
    """The joint set of a table: from its names, its number of joints, and its geometry.

    Raises:
        ValueError: it is unknown, or another joint set fits clearly better than the requested one.
    """
    count = len(table.detections[0].points)
    if (named := _named_order(table, asked)) is not None:
        return named
    if count not in ORDERS:
        raise ValueError(unknown_count(count))
    orders = ORDERS[count]
    usual = next((o for o in orders if o.skeleton.name == (asked or table.skeleton)), None)
    if asked and usual is None:
        skeleton = get_skeleton(asked)
        if count in (133, 136) and skeleton.joint_names == orders[0].joint_names[: skeleton.num_joints]:
            return JointOrder(asked, skeleton, skeleton.joint_names)  # a body without its feet
        raise ValueError(
            f"entries have {orders[0].skeleton.num_joints} body joints but skeleton '{asked}' has "
            f"{skeleton.num_joints}."
        )
    if usual is None and count != 17:
        usual = orders[0]
    points = np.stack([d.points for d in seen])
    best, is_body = best_order(points, orders, usual)
    if best is None:
        raise ValueError("17 joints can be COCO or Human3.6M. Pass --skeleton coco17 or --skeleton h36m17.")
    if asked and best is not usual:
        raise ValueError(
            f"its {count} joints are not in the order of '{asked}': the limbs would not form a body. They fit the "
            f"order of {best.name}. Omit --skeleton, or convert the file."
        )
    if usual is not best and (usual is not None or best.needs_proof or count == 17):
        logger.info(
            "The lengths of the limbs show that the %d joints of the file are in the order of %s.", count, best.name
        )
    if not is_body:
        logger.warning(
            "The %d joints do not look like a body in the order of %s. Check the overlay; --skeleton selects another "
            "set.",
            count,
            best.name,
        )
    return best


def _named_order(table: DetectionTable, asked: str | None) -> JointOrder | None:
    """The order of a table that names its joints, else None.

    Raises:
        ValueError: its names are not those of a skeleton.
    """
    names = table.joint_names
    if names is None or len(names) != len(table.detections[0].points):
        return None
    usual = [o for o in ORDERS.get(len(names), ()) if not o.needs_proof]
    wanted = [get_skeleton(asked)] if asked else [o.skeleton for o in usual]
    same = next((s for s in wanted if set(s.joint_names) == set(names)), None)
    if same is not None:
        return JointOrder(same.name, same, names)
    order = smallest_set(names)
    if order is None:
        if not usual or table.layout in ("deeplabcut", "apple"):
            raise ValueError(
                f"it names its {len(names)} joints {shown(', '.join(names))}; expected shoulders, elbows, hips, knees "
                "by name, such as left_shoulder."
            )
        return None
    if asked and asked != order.skeleton.name:
        order = JointOrder(asked, get_skeleton(asked), names)
    known = set(order.skeleton.joint_names)
    strange = [name for name in names if name not in known]
    if len(strange) * 2 > len(names):
        raise ValueError(f"it names its {len(names)} joints {shown(', '.join(names))}; few of them are known.")
    if strange:
        logger.warning("%d joints are not used: %s.", len(strange), ", ".join(shown(name) for name in strange[:8]))
    return order


def _in_order(detection: Detection, order: JointOrder) -> Detection:
    """A detection with its joints in the order of the skeleton; joints that the file lacks are missing."""
    depth_of_entry, count = detection.depth, order.skeleton.num_joints
    if order.joint_names == order.skeleton.joint_names:
        return replace(
            detection, points=detection.points[:count], depth=None if depth_of_entry is None else depth_of_entry[:count]
        )
    index = {name: i for i, name in enumerate(order.joint_names)}
    points, depth = np.zeros((count, 3)), np.full(count, np.nan)
    for joint, name in enumerate(order.skeleton.joint_names):
        if name in index:
            points[joint] = detection.points[index[name]]
            depth[joint] = np.nan if depth_of_entry is None else depth_of_entry[index[name]]
    return replace(detection, points=points, depth=None if depth_of_entry is None else depth)


def _tracks(
    table: DetectionTable, asked: str | None, size: tuple[int, int] | None
) -> tuple[list[KeypointTrack], Skeleton]:
    """All people, by decreasing number of frames, then by confidence."""
    table = _alike(table)
    seen = cleaned(table.detections)
    if not seen:
        raise NobodyError("no joint has a confidence above 0 and a distinct position.")
    order = _joint_order(table, seen, asked)
    seen = [d for d in (_in_order(d, order) for d in seen) if (d.points[:, 2] > 0).any()]
    if not seen:
        raise NobodyError("no joint of a body has a confidence above 0.")
    own = JointOrder(order.name, order.skeleton, order.skeleton.joint_names)
    # Apple Vision names its joints as others do, but for the neck and the root, which it does not always find.
    counts_up = table.joint_names is not None and is_upside_down(np.stack([d.points for d in seen]), own)
    seen = in_pixels(seen, size, table.layout, counts_up=counts_up)
    if is_upside_down(np.stack([d.points for d in seen]), own):
        logger.warning("Heads are below feet nearly always: is v counted upwards, or the video turned?")
    elif lies_down(np.stack([d.points for d in seen]), own):
        logger.warning("Bodies lie across the image nearly always: are coordinates (v, u), or is the video turned?")
    seen = identified(without_repeats(seen), table.has_placeholders)
    people: dict[str, list[Detection]] = {}
    for detection in seen:
        people.setdefault(str(detection.person), []).append(detection)
    _check_frame_numbers({d.frame for d in seen})
    tracks = [_track(name, entries, order.skeleton, table) for name, entries in people.items()]
    return sorted(
        tracks, key=lambda track: (-track.num_seen, -float(track.kp2d_conf.sum()), track.person)
    ), order.skeleton


def _check_frame_numbers(frames: set[int]) -> None:
    span = max(frames) - min(frames) + 1
    if span > max(_SPARSEST * len(frames), _ENOUGH_FRAMES):
        raise ValueError(
            f"its {len(frames)} images are numbered from {min(frames)} to {max(frames)}; expected the frame numbers of "
            "one video. Number the images by frame."
        )
    step = int(np.gcd.reduce(np.diff(sorted(frames)))) if len(frames) > 2 else 1
    if step > 1:
        logger.warning(
            "Only every %s frame exists; the others count as empty, and the rate is that of all frames. Renumber the "
            "frames to change this.",
            _ordinal(step),
        )


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _track(person: str, entries: Sequence[Detection], skeleton: Skeleton, table: DetectionTable) -> KeypointTrack:
    best = one_per_frame(person, entries)
    first, last = min(best), max(best)
    points = np.zeros((last - first + 1, skeleton.num_joints, 3), np.float32)
    depth = np.full(points.shape[:2], np.nan, np.float32)
    for frame, entry in best.items():
        points[frame - first] = entry.points
        if entry.depth is not None:
            depth[frame - first] = np.where(entry.points[:, 2] > 0, entry.depth, np.nan)
    frame_ids, times = np.arange(first, last + 1, dtype=np.int64), None
    if table.times:
        timed_frames = sorted(table.times)
        times = np.interp(frame_ids, timed_frames, [table.times[frame] for frame in timed_frames])
    return KeypointTrack(
        kp2d=points[..., :2].copy(),
        kp2d_conf=points[..., 2].copy(),
        skeleton=skeleton,
        frame_ids=frame_ids,
        fps=table.fps,
        person=person,
        image_sizes=table.image_sizes,
        times=times,
        depth=depth if np.isfinite(depth).any() else None,
    )
