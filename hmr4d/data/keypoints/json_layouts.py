"""Keypoints in one JSON file: COCO results, AlphaPose, MMPose and what wrappers of ViTPose write.

COCO and AlphaPose: [{image_id, keypoints [u, v, c, ...], ...}, ...], one entry per person and image; AlphaPose gives
image names instead of numbers and its tracker `idx`. MMPose: {meta_info, instance_info: [{frame_id, instances:
[{keypoints [[u, v], ...], keypoint_scores}, ...]}, ...]}, or the bare list of frames, or bare lists of instances.
ViTPose: either of these, or {keypoints: [{person: [[v, u, c], ...]}, ...]}, rows first, one object per frame.
"""

from __future__ import annotations

from typing import Any

from hmr4d.data.keypoints.detections import (
    Detection,
    DetectionTable,
    flat_points,
    frame_number,
    joint_names,
    paired_points,
    person_name,
)

_ID_KEYS = ("track_id", "idx", "person_id", "instance_id")  # COCO's own "id" counts annotations, not people
_SETS_BY_NAME = {"coco": "coco17", "h36m": "h36m17", "human36m": "h36m17", "human3.6m": "h36m17"}
_SETS_BY_FIRST_JOINT = {"nose": "coco17", "root": "h36m17", "pelvis": "h36m17", "hip": "h36m17"}


def sniff_json(content: Any) -> str | None:
    """Layout that JSON content has, by its structure; None when it is none of the known ones."""
    if isinstance(content, dict):
        keys = {"people": "openpose", "instance_info": "mmpose", "annotations": "coco", "keypoints": "vitpose"}
        return next((layout for key, layout in keys.items() if isinstance(content.get(key), list)), None)
    if not isinstance(content, list):
        return None
    first = next((entry for entry in content if entry), None)
    if isinstance(first, list):
        return "mmpose" if isinstance(first[0], dict) and "keypoints" in first[0] else None
    if not isinstance(first, dict):
        return None
    if "image_id" in first and "keypoints" in first:
        return "alphapose" if isinstance(first["image_id"], str) or "idx" in first else "coco"
    return "mmpose" if "instances" in first or "keypoints" in first else None


def read_json_layout(content: Any, layout: str) -> DetectionTable:
    """Detections of JSON content; ValueError says what is wrong with which entry.

    Args:
        content: as `json.load` returns it.
        layout: "coco", "alphapose", "mmpose" or "vitpose".
    """
    found = sniff_json(content)
    fits = {"coco": ("coco", "alphapose"), "alphapose": ("coco", "alphapose"), "mmpose": ("mmpose",)}
    if found not in fits.get(layout, ("coco", "alphapose", "mmpose", "vitpose")):
        raise ValueError(f"its content is {found or 'unknown'}, not {layout}. Leave the format out to have it found.")
    if found == "vitpose":
        names = joint_names(content.get("skeleton"))
        return DetectionTable(_rows_first(content["keypoints"]), "vitpose", "coco17", joint_names=names)
    if found == "mmpose":
        meta = content.get("meta_info") if isinstance(content, dict) else None
        skeleton = "coco17" if layout == "vitpose" else _named_set(meta)
        names = joint_names(meta.get("keypoint_id2name")) if isinstance(meta, dict) else None
        return DetectionTable(_mmpose(content), layout, skeleton, joint_names=names)
    entries = content["annotations"] if isinstance(content, dict) else content
    return DetectionTable(_coco(entries), layout, "coco17", joint_names=_named_by_category(content))


def instance_points(instance: Any, what: str) -> tuple[Any, str | None]:
    """(J, 3) points and id of one MMPose instance."""
    if not isinstance(instance, dict) or "keypoints" not in instance:
        raise ValueError(f"{what} has no 'keypoints'.")
    points = paired_points(instance["keypoints"], instance.get("keypoint_scores"), what)
    return points, _person(instance)


def _coco(entries: list[Any]) -> list[Detection]:
    detections: list[Detection] = []
    names: dict[int, Any] = {}
    for number, entry in enumerate(entries):
        what = f"entry {number}"
        if not isinstance(entry, dict) or "image_id" not in entry or "keypoints" not in entry:
            raise ValueError(f"{what} lacks image_id or keypoints.")
        if not entry["keypoints"]:  # a box without pose
            continue
        frame = frame_number(entry["image_id"], f"image_id of {what}")
        if names.setdefault(frame, entry["image_id"]) != entry["image_id"]:
            raise ValueError(
                f"'{names[frame]}' and '{entry['image_id']}' would both be frame {frame}. Keep one video in a file."
            )
        detections.append(Detection(frame, flat_points(entry["keypoints"], f"keypoints of {what}"), _person(entry)))
    return detections


def _mmpose(content: Any) -> list[Detection]:
    frames = content["instance_info"] if isinstance(content, dict) else content
    if frames and isinstance(frames[0], dict) and "instances" not in frames[0]:
        frames = [frames]  # the instances of one image
    detections = []
    for position, entry in enumerate(frames):
        is_named = isinstance(entry, dict)
        instances = entry.get("instances") if is_named else entry
        frame = frame_number(entry["frame_id"], "frame_id") if is_named and "frame_id" in entry else position
        if not isinstance(instances, list):
            raise ValueError(f"frame {frame} has no list of instances.")
        for number, instance in enumerate(instances):
            detections.append(Detection(frame, *instance_points(instance, f"instance {number} of frame {frame}")))
    return detections


def _rows_first(frames: list[Any]) -> list[Detection]:
    detections = []
    for frame, people in enumerate(frames):
        if not isinstance(people, dict):
            raise ValueError(f"frame {frame} is no object of person -> keypoints.")
        for person, values in people.items():
            points = paired_points(values, None, f"person {person} of frame {frame}")
            detections.append(Detection(frame, points[:, [1, 0, 2]], person_name(person)))
    return detections


def _named_by_category(content: Any) -> tuple[str, ...] | None:
    """Names of the joints in a COCO annotation file with one category."""
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, list) or len(categories) != 1 or not isinstance(categories[0], dict):
        return None
    return joint_names(categories[0].get("keypoints"))


def _person(entry: dict[str, Any]) -> str | None:
    return next((name for key in _ID_KEYS if (name := person_name(entry.get(key))) is not None), None)


def _named_set(meta: Any) -> str | None:
    """Joint set of 17 that the header of an MMPose file names, by its data set or its first joint."""
    if not isinstance(meta, dict):
        return None
    data_set = str(meta.get("dataset_name", "")).lower()
    if name := next((name for word, name in _SETS_BY_NAME.items() if word in data_set), None):
        return name
    names = meta.get("keypoint_id2name")
    first = names.get("0") if isinstance(names, dict) else None
    return _SETS_BY_FIRST_JOINT.get(str(first).lower())
