"""The frames in JSON content, and the people in a frame, in their many forms."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hmr4d.keypoint_files.detections import shown
from hmr4d.keypoint_files.points import POINT_KEYS, SCORE_KEYS, is_points
from hmr4d.utils.text_files import plain_key

FRAME_KEYS = (
    "image_id",
    "frame_id",
    "frame",
    "frame_index",
    "frame_idx",
    "frame_number",
    "frame_num",
    "frameIndex",
    "frameNumber",
    "image_name",
    "file_name",
    "filename",
    "image_path",
    "img_path",
    "img_name",
    "image",
    "img",
    "frame_no",
    "frame_name",
    "image_index",
    "image_number",
    "img_id",
)
_RANK = {key.replace("_", "").lower(): rank for rank, key in reversed([*enumerate(FRAME_KEYS)])}
# Other keys with the word frame name one, unless they are about several or about time.
_NO_FRAME = re.compile("rate|count|num|width|height|size|total|dim|shape|frames|start|end|first|last|per|time|type")
# Keys of times, in lower case without signs, and their units in seconds; None: by the size of the steps.
_TIME = re.compile(
    r"(?:time|timestamp|ptstime)(?:in)?(s|sec|secs|seconds|m|u|n|milli|micro|nano)?(?:s|sec|secs|seconds)?"
)
_TIME_UNITS = {"m": 1e-3, "milli": 1e-3, "u": 1e-6, "micro": 1e-6, "n": 1e-9, "nano": 1e-9, None: None}
_LIST_KEYS = (
    "instance_info",
    "annotations",
    "frames",
    "predictions",
    "results",
    "detections",
    "data",
    "poses",
    "outputs",
    "people",
    "pose_landmarks",
    "landmarks",
    "keypoints",
    "pose",
    "info",
)
_PEOPLE_KEYS = (
    "people",
    "instances",
    "persons",
    "predictions",
    "detections",
    "bodies",
    "poses",
    "objects",
    "annotations",
    "results",
    "observations",
    "pose_landmarks",
    "poseLandmarks",
    "landmarks",
    "pose",
)
# Keys of an object of frames: a number, a word for frames with a number, an image name.
_NAMES_FRAME = re.compile(r"^\d+$|(?i:^(frame|image|img)\D*\d+$)|\d.*\.(?i:jpe?g|png|bmp|tiff?|webp)$")
DEEPEST = 12  # lists in lists
_LATEST = 1e18  # time stamps, in any unit


@dataclass(frozen=True)
class Frame:
    """One frame of a file.

    Attributes:
        entry: value that may contain its number. people: as written; empty ones are absent.
    """

    entry: Any
    people: Sequence[Any]


def frames_of(content: Any, depth: int = 0) -> list[Frame]:
    """The frames of any content, each with its people as written."""
    if depth > DEEPEST:
        raise ValueError("lists lie in lists without end; expected frames of people of joints.")
    content = decoded(content)
    if is_points(content):
        return [Frame(None, [content])]
    if isinstance(content, Mapping):
        key = next((k for k in _LIST_KEYS if k in content and not _is_people_of_one(content, k)), None)
        if key is not None and not frame_key(content):
            return _with_scores(content, key) or frames_of(content[key], depth + 1)
        if point_key(content) is not None or any(k in content for k in _PEOPLE_KEYS):
            return [Frame(content, people_of(content))]
        if (by_person := _by_person(content)) is not None:
            return by_person
        if content and all(_NAMES_FRAME.search(str(k)) for k in content):
            return [Frame({"frame": k}, people_of(v)) for k, v in content.items()]
        return [Frame(content, people_of(content))] if content else []
    if not isinstance(content, list):
        raise ValueError(f"it contains {shown(content)}; expected frames of people of joints.")
    entries = [decoded(entry) for entry in content]
    objects = [entry for entry in entries if isinstance(entry, Mapping) and entry]
    if any(frame_key(e) or time_key(e) for e in objects) or not all(_is_lone_person(e) for e in entries if e):
        return [Frame(entry, people_of(entry, depth + 1)) for entry in entries]
    return [Frame(None, entries)]  # the people of one image


def _by_person(content: Mapping[str, Any]) -> list[Frame] | None:
    """Frames from an object of people: each a list of entries with their frames, or an object of joints by frame."""
    frames: list[Frame] = []
    has_frames = False  # whether some person has several frames; else the keys may be frames
    for name, value in content.items():
        entries = decoded(value)
        if isinstance(entries, Mapping) and entries and not _NAMES_FRAME.search(str(name)):
            if not all(_NAMES_FRAME.search(str(k)) for k in entries):
                return None
            pairs = [({"frame": k}, decoded(person)) for k, person in entries.items() if person]
        elif isinstance(entries, list) and entries and all(frame_key(decoded(e)) for e in entries):
            pairs = [(decoded(e), decoded(e)) for e in entries]
        else:
            return None
        has_frames = has_frames or len({str(entry[key]) for entry, _ in pairs if (key := frame_key(entry))}) > 1
        for entry, person in pairs:
            named = {"person_id": name, **person} if point_key(person) else {"person_id": name, "keypoints": person}
            frames.append(Frame(entry, [named]))
    return frames if has_frames else None


def _with_scores(content: Mapping[str, Any], key: str) -> list[Frame] | None:
    """Frames from two parallel lists, joints and their confidences; None if there is no second list."""
    value = decoded(content[key])
    scores = next((content[k] for k in SCORE_KEYS if isinstance(content.get(k), list)), None)
    if key not in POINT_KEYS or not scores or not isinstance(value, list):
        return None
    if len(scores) != len(value):
        raise ValueError(f"it has {len(value)} entries of {key} and {len(scores)} of confidences; expected as many.")
    return [Frame(None, people_of({"keypoints": v, "keypoint_scores": s})) for v, s in zip(value, scores, strict=True)]


def _is_people_of_one(content: Mapping[str, Any], key: str) -> bool:
    """Whether the value of a key is the joints of one person, or the people of a single frame, but not frames."""
    value = decoded(content[key])
    return value is None or is_points(value) or key == "people" or not isinstance(value, (list, Mapping))


def is_one_frame(content: Any) -> bool:
    """Whether content is the people of a frame, as OpenPose writes them."""
    return isinstance(content, Mapping) and "people" in content


def _is_lone_person(entry: Any) -> bool:
    """Whether an entry of a list is a person rather than a frame: joints under a key, and no keys of a video."""
    key = point_key(entry) if isinstance(entry, Mapping) else None
    return key is not None and key not in _PEOPLE_KEYS and is_points(decoded(entry[key]))


def people_of(value: Any, depth: int = 0) -> list[Any]:
    """The people of a frame as written; None for those who are absent."""
    if depth > DEEPEST:
        raise ValueError("lists lie in lists without end; expected frames of people of joints.")
    value = decoded(value)
    if value is None or value in ([], {}, ""):
        return []
    if is_points(value):
        return [value]
    if isinstance(value, Mapping):
        key = point_key(value)
        if key is not None:
            inner = decoded(value[key])
            if inner is None or inner == [] or is_points(inner) or not is_nested(inner):
                return [value]
            scores = next((value[k] for k in SCORE_KEYS if isinstance(value.get(k), list)), None)
            return _split(inner, scores, depth)
        for key in _PEOPLE_KEYS:
            if key in value:
                return people_of(value[key], depth + 1)
        if all(v is None or v == [] or is_points(decoded(v)) or point_key(v) for v in value.values()):
            return [
                {"person_id": k, "keypoints": v} if is_points(decoded(v)) else {"person_id": k, **v}
                for k, v in value.items()
                if v
            ]
        return [value]
    if not isinstance(value, list):
        return [value]
    return [person for entry in value for person in (people_of(entry, depth + 1) or [None])]


def is_nested(value: Any) -> bool:
    """Whether one key contains the joints of several people."""
    return isinstance(value, list) and any(is_points(entry) for entry in value)


def _split(people: list[Any], scores: Any, depth: int) -> list[Any]:
    if isinstance(scores, list) and len(scores) == len(people) and all(isinstance(s, list) for s in scores):
        return [{"keypoints": p, "keypoint_scores": s} for p, s in zip(people, scores, strict=True)]
    return people_of(people, depth + 1)


def decoded(value: Any) -> Any:
    """A value, or the JSON in a text: lists of `to_json()` are lists of texts."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def is_frame_label(value: Any) -> bool:
    """Whether a value may name a frame: a number or a text, but not an empty one or true and false."""
    return isinstance(value, (int, float, str)) and not isinstance(value, bool) and value != ""


def frame_key(entry: Any) -> str | None:
    """The key under which an entry names its frame."""
    if not isinstance(entry, Mapping):
        return None
    keys = ((rank, key) for key in entry if (rank := frame_rank(key)) is not None and is_frame_label(entry[key]))
    return min(keys, default=(0, None))[1]


@lru_cache(maxsize=4096)
def frame_rank(key: str) -> int | None:
    """How surely a key names the frame of an entry, 0 most; None if it does not.

    It is one of FRAME_KEYS in any spelling (frameId, Frame-ID), or has the word frame in it.
    """
    plain = plain_key(key)
    if plain in _RANK:
        return _RANK[plain]
    return len(FRAME_KEYS) if "frame" in plain and not _NO_FRAME.search(plain) else None


def time_key(entry: Any) -> str | None:
    """The key under which an entry has a time stamp."""
    if not isinstance(entry, Mapping):
        return None
    keys = (k for k in entry if isinstance(k, str) and _TIME.fullmatch(plain_key(k)))
    return next((k for k in keys if _is_number(entry[k]) and abs(entry[k]) < _LATEST), None)


def time_unit(key: str) -> float | None:
    """Seconds of the unit that a key of `time_key` names; None if it names none."""
    found = _TIME.fullmatch(plain_key(key))
    named = found[1] if found else None
    return 1.0 if plain_key(key) == "ptstime" else _TIME_UNITS.get(named, 1.0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def point_key(entry: Any) -> str | None:
    """The key under which an entry has joints."""
    return next((k for k in POINT_KEYS if k in entry), None) if isinstance(entry, Mapping) else None
