"""The people of a video as a keypoint file, in the layout of MMPose, with the names of the joints and the times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.skeleton import COCO17, MEDIAPIPE33, Skeleton
from hmr4d.detection.people_in_video import DetectedVideo
from hmr4d.keypoint_files.json_layouts import DEPTH_KEY
from hmr4d.keypoint_files.smpl_joints import observed_depth, observed_joints
from hmr4d.utils.files import write_text

JOINT_SETS: dict[str, Skeleton] = {skeleton.name: skeleton for skeleton in (MEDIAPIPE33, COCO17)}


def write_keypoints(path: str | Path, video: DetectedVideo, joints: str = MEDIAPIPE33.name) -> None:
    """Writes a keypoint file for `keypoint_files.reading` and other programs.

    `instance_info` has an entry for every picture, with its number, its time in seconds and everybody in it: id,
    keypoints in pixels, confidences from 0 to 1, the box around the joints, and how many meters joints are farther away
    than the middle of the hips. A joint that was not found is at (0, 0) with confidence 0 and has no depth (null).

    Args:
        path: file to write.
        video: the detected people.
        joints: one of JOINT_SETS.

    Raises:
        ValueError: an unknown joint set.
    """
    if joints not in JOINT_SETS:
        raise ValueError(f"Unknown joint set '{joints}'; known: {', '.join(JOINT_SETS)}.")
    skeleton = JOINT_SETS[joints]
    frames: list[list[dict[str, Any]]] = [[] for _ in video.times]
    for track in video.tracks:
        points, conf = observed_joints(
            torch.from_numpy(track.kp2d), torch.from_numpy(track.kp2d_conf), MEDIAPIPE33, skeleton
        )
        track_depth = np.full_like(track.kp2d_conf, np.nan) if track.depth is None else track.depth
        depth = observed_depth(torch.from_numpy(track_depth), MEDIAPIPE33, skeleton)
        rows = zip(track.frame_ids.tolist(), points.numpy(), conf.numpy(), depth.numpy(), strict=True)
        for frame, kp2d, sure, away in rows:
            if (sure > 0).any():
                frames[frame].append(_instance(track.person, kp2d, sure, away))
    names = {str(i): name for i, name in enumerate(skeleton.joint_names)}
    head = {
        "meta_info": {"dataset_name": skeleton.name, "keypoint_id2name": names},
        "fps": round(video.fps, 4),
        "size": list(video.size),
        "video": video.path.name,
    }
    rows = [
        json.dumps({"frame_id": i, "time": round(float(time), 5), "instances": people})
        for i, (time, people) in enumerate(zip(video.times, frames, strict=True))
    ]
    write_text(path, json.dumps(head)[:-1] + ',\n"instance_info": [\n' + ",\n".join(rows) + "\n]}\n")


def is_of_video(path: str | Path, video: Path) -> bool:
    """Whether a file was written by `write_keypoints`, for a video of this name."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            head = json.loads(file.readline().rstrip().removesuffix(",") + "}")
    except (OSError, ValueError):
        return False
    return isinstance(head, dict) and head.get("video") == video.name


def _instance(
    person: str, kp2d: NDArray[np.float32], conf: NDArray[np.float32], depth: NDArray[np.float32]
) -> dict[str, Any]:
    seen = kp2d[conf > 0]
    is_known = (conf > 0) & np.isfinite(depth)
    box = [*seen.min(0).tolist(), *seen.max(0).tolist()]
    return {
        "track_id": int(person),
        "keypoints": np.round(kp2d, 2).astype(float).round(2).tolist(),
        "keypoint_scores": conf.astype(float).round(4).tolist(),
        DEPTH_KEY: [round(float(d), 3) if known else None for d, known in zip(depth, is_known, strict=True)],
        "bbox": [[round(float(v), 1) for v in box]],
        "bbox_score": round(float(conf[conf > 0].mean()), 4),
    }
