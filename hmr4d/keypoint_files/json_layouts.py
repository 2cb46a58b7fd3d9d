"""Keypoints in one JSON file, in the layouts of pose detectors and their users.

A file is frames of people of joints. Each of the three has many forms, which are detected automatically:

- frames: a list of them, in order or each with a frame number, image name or time; an object of them by number or name;
  or a flat list of people, each with its frame (COCO, AlphaPose);
- people: one, a list, an object of them by id, or a list under `people`, `instances`, `predictions` ...; `{}`, null and
  empty lists mean no person;
- joints: see `points.read_points`.

Wrappers of ViTPose write {keypoints: [{person: [[v, u, c], ...]}, ...]}, rows first, one object per frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.keypoint_files.cleaning import FARTHEST
from hmr4d.keypoint_files.detections import (
    Detection,
    DetectionTable,
    LeftOut,
    SeveralVideosError,
    frame_number,
    frame_numbers,
    frame_rate_of,
    person_name,
    shown,
)
from hmr4d.keypoint_files.frame_times import numbers_by_time, times_of
from hmr4d.keypoint_files.image_sizes import image_sizes
from hmr4d.keypoint_files.joint_names import is_apple, joint_name, joint_names
from hmr4d.keypoint_files.json_frames import (
    DEEPEST,
    FRAME_KEYS,
    Frame,
    decoded,
    frame_key,
    frame_rank,
    frames_of,
    is_frame_label,
    is_nested,
    is_one_frame,
    people_of,
    point_key,
)
from hmr4d.keypoint_files.points import SCORE_KEYS, is_points, read_points

DEPTH_KEY = "keypoint_depths"  # of a person, as the packaged detector writes them
DEEPEST_JOINT = 5.0  # meters from the hips; depths beyond are of no body
_ID_KEYS = ("track_id", "idx", "person_id", "instance_id", "tracker_id", "trackId", "player_id")
_SETS_BY_NAME = {"coco": "coco17", "h36m": "h36m17", "human36m": "h36m17", "human3.6m": "h36m17"}
_SETS_BY_FIRST_JOINT = {"nose": "coco17", "root": "h36m17", "pelvis": "h36m17", "hip": "h36m17"}
_OF_COCO = ("coco", "alphapose", "vitpose", "ultralytics")  # layouts with the 17 joints of COCO
_MANY = 5  # number of people in a frame above which they are compared
_MOST_IN_ONE = 10  # maximum people of a single image; more are frames without numbers


def sniff_json(content: Any) -> str | None:
    """Layout of JSON content, from its structure; None if it is unknown."""
    if isinstance(content, Mapping):
        keys = {"instance_info": "mmpose", "annotations": "coco"}
        if found := next((layout for key, layout in keys.items() if isinstance(content.get(key), list)), None):
            return found
        if "people" in content and (content["people"] is None or isinstance(content["people"], list)):
            return "openpose"
        if isinstance(content.get("keypoints"), list) and not is_points(content["keypoints"]):
            return "vitpose"
    person = _first_person(content)
    if person is None:
        return None
    if not isinstance(person, Mapping):
        return "mediapipe" if _num_points(person) == 33 else "mmpose"
    key = point_key(person)
    value = person if key is None else person[key]
    if is_apple(_names_in(value)):
        return "apple"
    if isinstance(value, Mapping) and isinstance(value.get("x"), list):
        return "ultralytics"
    if key in ("landmarks", "pose_landmarks", "poseLandmarks") or _num_points(value) == 33:
        return "mediapipe"
    if "image_id" in person and isinstance(content, list):
        return "alphapose" if isinstance(person["image_id"], str) or "idx" in person else "coco"
    return "openpose" if key == "pose_keypoints_2d" else "mmpose"


def read_json_layout(content: Any, layout: str) -> DetectionTable:
    """Detections of JSON content; ValueError names the error and its entry.

    Args:
        content: as `json.load` returns it.
        layout: layout name from `sniff_json`.
    """
    if _has_nobody(content):
        return DetectionTable([], layout)
    found = sniff_json(content)
    fits = {
        "coco": ("coco", "alphapose"),
        "alphapose": ("coco", "alphapose"),
        "mmpose": ("mmpose",),
        "openpose": ("openpose",),
        "ultralytics": ("ultralytics",),
        "mediapipe": ("mediapipe", "mmpose"),
        "apple": ("apple", "mmpose"),
    }
    if found is None:
        raise ValueError("its content is none of the known layouts, or empty. docs/lift.md shows them.")
    if layout != "auto" and found not in fits.get(layout, ("coco", "alphapose", "mmpose", "vitpose")):
        raise ValueError(f"its content is {found}, not {layout}. Leave the format out to have it found.")
    if found == "vitpose" and isinstance(content, Mapping) and _is_rows_first(content["keypoints"]):
        names = joint_names(content.get("skeleton"))
        return DetectionTable(_rows_first(content["keypoints"]), "vitpose", "coco17", joint_names=names)
    meta = content.get("meta_info") if isinstance(content, Mapping) else None
    names = joint_names(meta.get("keypoint_id2name")) if isinstance(meta, Mapping) else _named_by_category(content)
    frames = frames_of(content)
    numbers, fps = _numbers(frames, content)
    detections, listed_names, has_placeholders = _detections(frames, numbers)
    names = names or listed_names
    layout = found if layout in ("auto", found) else layout
    skeleton = "coco17" if layout in _OF_COCO else _named_set(meta)
    if fps is None and isinstance(content, Mapping):
        fps = frame_rate_of(next((v for k in ("fps", "frame_rate") if (v := content.get(k)) is not None), None))
    times, fps = times_of([f.entry for f in frames], numbers, fps)
    return DetectionTable(detections, layout, skeleton, fps, names, has_placeholders, image_sizes(content), times)


def _has_nobody(content: Any) -> bool:
    """Whether content is a list of empty frames."""
    return isinstance(content, list) and bool(content) and not any(content)


def people_in(content: Any, frame: int) -> tuple[list[Detection], tuple[str, ...] | None, bool]:
    """Detections of the people of one frame, the names of their joints, and whether absent people keep their place."""
    people = [p for f in frames_of(content) for p in f.people] if not is_one_frame(content) else people_of(content)
    return _detections([Frame(None, people)], [frame])


def _numbers(frames: Sequence[Frame], content: Any) -> tuple[list[int | None], float | None]:
    """Frame number of every frame, None for entries without one if others have one; and the rate from time stamps.

    Raises:
        ValueError: many entries have no frame, or two images have the same one.
    """
    entries = [f.entry for f in frames]
    for frame in frames if len(frames) > 1 else ():
        if len(frame.people) >= _MANY and _overlap([p for p in frame.people if p]):
            raise ValueError(
                f"a frame of it has {len(frame.people)} overlapping entries, like one person in many frames. Add the "
                "frame to every entry."
            )
    key = next((k for e in entries if (k := frame_key(e))), None)
    if key is None:
        if len(frames) == 1:
            _check_one_image(frames[0].people)
        return numbers_by_time(entries)
    objects = [e for e in entries if isinstance(e, Mapping)]
    written = {key for entry in objects for key in entry}
    ranks = {k: rank for k in written if (rank := frame_rank(k)) is not None}
    keys = [k for k in sorted(ranks, key=lambda k: (ranks[k], k)) if any(is_frame_label(e.get(k)) for e in objects)]
    images = _images(content)
    problem: ValueError | None = None
    for key in keys:
        labels = [e.get(key) if isinstance(e, Mapping) and is_frame_label(e.get(key)) else None for e in entries]
        if key == "image_id" and images:
            labels = [images.get(str(label), label) if label is not None else None for label in labels]
        try:
            numbers = _of_labels(labels, key)
            _check_frames(numbers, frames, key)
            return numbers, None
        except ValueError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _of_labels(labels: Sequence[Any], key: str) -> list[int | None]:
    """Frames of labels; those without one are counted as bad, unless no label is good."""
    good: list[int] = []
    first: ValueError | None = None
    for i, label in enumerate(labels):
        try:
            if label is not None:
                frame_number(label, f"{key} of entry {i}")
                good.append(i)
        except ValueError as error:
            first = first or error
    if not good:
        raise first or ValueError(f"no entry has a {key}.")
    numbers: list[int | None] = [None] * len(labels)
    for i, frame in zip(good, frame_numbers([labels[i] for i in good], key), strict=True):
        numbers[i] = frame
    return numbers


def _check_frames(numbers: Sequence[int | None], frames: Sequence[Frame], key: str) -> None:
    """ValueError where all of many entries are the same frame."""
    if len({n for n in numbers if n is not None}) == 1 and len(frames) > 1:
        people = [person for f in frames for person in f.people]
        _check_one_image(people, f"all have the same {key}")


def _check_one_image(people: Sequence[Any], why: str = "none of them names its frame") -> None:
    present = [p for p in people if p]
    ids = [i for p in present if isinstance(p, Mapping) and (i := _person(p)) is not None]
    if len(present) > _MOST_IN_ONE or len(set(ids)) < len(ids) or _overlap(present):
        raise ValueError(
            f"it has {len(present)} entries, and {why}. Give every entry its frame: one of "
            f"{', '.join(FRAME_KEYS[:4])}, image_name, file_name."
        )


def _overlap(people: Sequence[Any]) -> bool:
    """Whether entries overlap so much that they are one person in several frames."""
    places: list[NDArray[np.float64]] = []
    for person in people:
        try:
            place = _read_person(person, 0, 0, "an entry")[0].points[:, :2]
        except ValueError:
            continue
        places.append(place[(np.abs(place) < FARTHEST).all(1) & (place != 0).any(1)])
    places = [p for p in places if len(p) > 1]
    if len(places) < 3:
        return False
    middles = np.array([(p.max(0) + p.min(0)) / 2 for p in places])
    sizes = np.array([float(np.linalg.norm(np.ptp(p, axis=0))) for p in places])
    steps = np.linalg.norm(np.diff(middles, axis=0), axis=1)
    return bool(np.median(steps / np.maximum(sizes[1:], 1e-9)) < 0.1)


def _images(content: Any) -> dict[str, Any]:
    """File name, or frame, of COCO's images by their id."""
    images = content.get("images") if isinstance(content, Mapping) else None
    if not isinstance(images, list):
        return {}
    table: dict[str, Any] = {}
    for image in images:
        if isinstance(image, Mapping) and "id" in image:
            key = next(
                (k for k in ("file_name", "frame_id", "frame", "name", "path") if is_frame_label(image.get(k))), None
            )
            if key is not None:
                table[str(image["id"])] = image[key]
    try:
        frame_numbers(list(table.values()), "images", tell=False)
    except SeveralVideosError:
        if len({PurePosixPath(str(name).replace("\\", "/")).parent for name in table.values()}) > 1:
            raise
        return {}
    except ValueError:
        if len({str(v) for v in table.values()}) == len(table) and not any(
            any(c.isdigit() for c in str(v)) for v in table.values()
        ):
            return {image_id: number for number, image_id in enumerate(table)}
        return {}
    return table


def _detections(
    frames: Sequence[Frame], numbers: Sequence[int | None]
) -> tuple[list[Detection], tuple[str, ...] | None, bool]:
    found: list[Detection] = []
    orders: list[tuple[str, ...] | None] = []  # names of the joints of each
    left_out = LeftOut("entries")
    has_placeholders = False
    use_ids = _counted_ids(frames)
    places: dict[int, int] = {}
    for position, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
        for person in frame.people:
            what = f"entry {position}" if number is None else f"a person in frame {number}"
            if number is None:
                if person:
                    left_out.errors.append(
                        ValueError(f"{what} has no frame, as others have: {', '.join(FRAME_KEYS[:4])} ...")
                    )
                continue
            place = places[number] = places.get(number, -1) + 1
            if _is_nobody(person):
                has_placeholders = has_placeholders or person == {} or person is None
                continue
            try:
                read, order = _read_person(person, number, place, what)
            except ValueError as error:
                left_out.errors.append(error)
                continue
            if use_ids and read.person is None and isinstance(person, Mapping):
                read = replace(read, person=person_name(person.get("id")))
            orders.append(order)
            left_out.good += 1
            found.append(read)
    left_out.tell()
    found, names = in_one_order(found, orders)
    return found, names, has_placeholders


def in_one_order(
    found: Sequence[Detection], orders: Sequence[tuple[str, ...] | None]
) -> tuple[list[Detection], tuple[str, ...] | None]:
    """Detections with all joints that any of them names, in the order in which they are named first.

    Args:
        found: some may lack joints that were not found, or have them in another order.
        orders: joint names of each, None if unknown.
    """
    names = tuple(dict.fromkeys(name for order in orders for name in order or ())) or None
    if names is None:
        return list(found), None
    pairs = zip(found, orders, strict=True)
    return [read if order in (None, names) else _reordered(read, order or (), names) for read, order in pairs], names


def _is_nobody(person: Any) -> bool:
    if not person:
        return True
    key = point_key(person) if isinstance(person, Mapping) else None
    return key is not None and (person[key] is None or person[key] in ([], {}, ""))


def _counted_ids(frames: Sequence[Frame]) -> bool:
    """Whether `id` identifies people: it repeats in other frames. COCO numbers its annotations with it."""
    ids = [shown(p["id"]) for f in frames for p in f.people if isinstance(p, Mapping) and is_frame_label(p.get("id"))]
    return len(ids) > 1 and len(set(ids)) <= len(ids) / 2


def _read_person(person: Any, frame: int, place: int, what: str) -> tuple[Detection, tuple[str, ...] | None]:
    """Detection of one person as written, and the joint names, if given."""
    key = point_key(person) if isinstance(person, Mapping) else None
    if isinstance(person, Mapping) and key is None and not is_points(person):
        keys = ", ".join(shown(k) for k in list(person)[:6])
        hint = " These are boxes of a detector: use a pose model." if {"box", "bbox"} & set(person) else ""
        raise ValueError(f"{what} has no 'pose_keypoints_2d' or 'keypoints', but {keys}.{hint}")
    value = decoded(person[key]) if key is not None else person
    scores = next((person[k] for k in SCORE_KEYS if isinstance(person.get(k), list)), None) if key is not None else None
    points, names = read_points(value, scores, what)
    name = _person(person) if isinstance(person, Mapping) else None
    words = None if names is None else tuple(joint_name(n) for n in names)
    if words is not None and not all(words):
        unknown = ", ".join(shown(n) for n, word in zip(names or (), words, strict=True) if not word)[:80]
        raise ValueError(f"{what} has joints with names that are not known ({unknown}). Use English names.")
    if words is not None and len(set(words)) < len(words):
        raise ValueError(
            f"{what} has two joints of the same name ({', '.join(sorted(set(map(shown, names or ()))))[:80]})."
        )
    values = person.get(DEPTH_KEY) if isinstance(person, Mapping) else None
    return Detection(
        frame, points, name, place, None if values is None else _read_depth(values, len(points), what)
    ), words


def _read_depth(values: Any, count: int, what: str) -> NDArray[np.float64]:
    """(J,) meters, NaN for null; ValueError unless it is one number, or null, for each joint."""
    is_list = isinstance(values, list) and len(values) == count
    if not is_list or not all(d is None or (isinstance(d, (int, float)) and not isinstance(d, bool)) for d in values):
        raise ValueError(f"{DEPTH_KEY} of {what} is {shown(values)}; expected {count} numbers of meters, or null.")
    depth = np.array([np.nan if d is None else float(d) for d in values])
    return np.where(np.abs(depth) < DEEPEST_JOINT, depth, np.nan)


def _reordered(read: Detection, order: tuple[str, ...], names: tuple[str, ...]) -> Detection:
    """A detection reordered to `names`; missing joints are added."""
    points, depth = np.zeros((len(names), 3)), np.full(len(names), np.nan)
    points[:, 2] = 0.0 if np.isfinite(read.points[:, 2]).any() else np.nan  # those at (0, 0) are missing anyway
    own = np.full(len(order), np.nan) if read.depth is None else read.depth
    for place, name in enumerate(order):
        if name in names:
            points[names.index(name)], depth[names.index(name)] = read.points[place], own[place]
    return replace(read, points=points, depth=None if read.depth is None else depth)


def _person(entry: Mapping[str, Any]) -> str | None:
    return next((name for key in _ID_KEYS if (name := person_name(entry.get(key))) is not None), None)


def _is_rows_first(frames: Any) -> bool:
    return isinstance(frames, list) and not any(
        f and (not isinstance(f, Mapping) or frame_key(f) or point_key(f) or is_points(f)) for f in frames
    )


def _rows_first(frames: list[Any]) -> list[Detection]:
    detections: list[Detection] = []
    left_out = LeftOut("frames")
    for frame, people in enumerate(frames):
        if people is None or people == []:
            continue
        try:
            if not isinstance(people, Mapping):
                raise ValueError(f"frame {frame} is no object of person -> keypoints.")
            for place, (person, values) in enumerate(people.items()):
                if values:
                    points, _ = read_points(values, None, f"person {shown(person)} of frame {frame}")
                    detections.append(Detection(frame, points[:, [1, 0, 2]], person_name(person), place))
            left_out.good += 1
        except ValueError as error:
            left_out.errors.append(error)
    left_out.tell()
    return detections


def _named_by_category(content: Any) -> tuple[str, ...] | None:
    """Names of the joints in a COCO annotation file with one category."""
    categories = content.get("categories") if isinstance(content, Mapping) else None
    if not isinstance(categories, list) or len(categories) != 1 or not isinstance(categories[0], Mapping):
        return None
    return joint_names(categories[0].get("keypoints"))


def _named_set(meta: Any) -> str | None:
    """Joint set of 17 that the header of an MMPose file names, by its data set or its first joint."""
    if not isinstance(meta, Mapping):
        return None
    data_set = str(meta.get("dataset_name", "")).lower()
    if name := next((name for word, name in _SETS_BY_NAME.items() if word in data_set), None):
        return name
    names = meta.get("keypoint_id2name")
    first = names.get("0") if isinstance(names, Mapping) else None
    return _SETS_BY_FIRST_JOINT.get(str(first).lower())


def _first_person(content: Any, depth: int = 0) -> Any:
    """The first person with joints in any content, as written; None if there is none."""
    content = decoded(content)
    if depth > DEEPEST or not content or not isinstance(content, (list, Mapping)):
        return None
    if is_points(content):
        return content
    key = point_key(content)
    if isinstance(content, Mapping) and key is not None:
        joints = decoded(content[key])
        if (is_points(joints) or (depth and joints)) and not is_nested(joints):
            return content
    inner = content if isinstance(content, list) else list(content.values())
    return next((found for entry in inner if (found := _first_person(entry, depth + 1)) is not None), None)


def _names_in(value: Any) -> list[str]:
    value = decoded(value)
    if isinstance(value, Mapping):
        return [str(k) for k in value]
    if isinstance(value, list):
        return [str(v[k]) for v in value if isinstance(v, Mapping) for k in ("name", "joint", "part") if k in v]
    return []


def _num_points(value: Any) -> int:
    try:
        return len(read_points(decoded(value), None, "")[0])
    except ValueError:
        return 0
