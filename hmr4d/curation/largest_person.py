"""Selects the largest person of every frame of a video, for any detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.skeleton import COCO17
from hmr4d.curation.filters import FPS, Thresholds, box_overlaps, has_extent, runs_of
from hmr4d.curation.records import Rejected
from hmr4d.keypoint_files.rates import even_times, resample_keypoints
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.keypoint_files.smpl_joints import observed_joints

BOXED = 0.3  # smallest confidence of keypoints that define a missing box
SHORT_GAP = 0.1  # seconds; keypoints that are missing for up to this time count for the box, at interpolated positions


@dataclass(frozen=True, eq=False)
class People:
    """One person per frame, at given times of a video.

    Attributes:
        keypoints: (F, 17, 3) x, y, confidence; zeros without person.
        boxes: (F, 4) left, top, right, bottom; zero extent without person.
        times: (F,) seconds, increasing.
    """

    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    times: NDArray[np.float64]


def keypoint_boxes(keypoints: NDArray[np.floating]) -> NDArray[np.float32]:
    """Boxes (F, 4) of the confident keypoints (F, J, 3); zero extent for fewer than two."""
    sure = keypoints[..., 2] >= BOXED
    low = np.where(sure[..., None], keypoints[..., :2], np.inf).min(1)
    high = np.where(sure[..., None], keypoints[..., :2], -np.inf).max(1)
    boxes = np.concatenate([low, high], -1)
    return np.where((sure.sum(1) >= 2)[:, None], boxes, 0.0).astype(np.float32)


def track_boxes(keypoints: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    """Boxes (F, 4) of one person's keypoints (F, J, 3), including keypoints in gaps of up to `longest` frames.

    Without them, legs that a detector loses for three frames would halve the box, and the frames would fail the size
    filter too. A frame without person keeps a box without extent.
    """
    sure, filled = keypoints[..., 2] >= BOXED, keypoints.copy()
    for joint in np.flatnonzero(~sure.all(0)):
        for start, end in runs_of(~sure[:, joint]):
            if start > 0 and end < len(sure) and end - start <= longest:
                share = (np.arange(1, end - start + 1) / (end - start + 1))[:, None]
                filled[start:end, joint] = (1 - share) * keypoints[start - 1, joint] + share * keypoints[end, joint]
    return np.where((sure.sum(1) >= 2)[:, None], keypoint_boxes(filled), np.float32(0))


def largest_of_tracks(tracks: Sequence[KeypointTrack], frame_times: NDArray[np.float64] | float) -> People:
    """The person with the largest box in each frame, from the first to the last frame with a person.

    Args:
        tracks: tracks of all people in a file.
        frame_times: (N,) seconds of the frames of the video, or frames per second.

    Raises:
        Rejected: the file has more frames than the video.
        ValueError: its keypoints cannot be converted to COCO-17.
    """
    first = min(int(track.frame_ids[0]) for track in tracks)
    last = max(int(track.frame_ids[-1]) for track in tracks)
    keypoints = np.zeros((last - first + 1, COCO17.num_joints, 3), np.float32)
    boxes = np.zeros((len(keypoints), 4), np.float32)
    sizes = np.zeros(len(keypoints))
    steps = np.diff(frame_times) if isinstance(frame_times, np.ndarray) else np.array([1 / frame_times])
    longest = round(SHORT_GAP / float(np.median(steps))) if len(steps) else 0
    for track in tracks:
        points, conf = observed_joints(
            torch.from_numpy(track.kp2d), torch.from_numpy(track.kp2d_conf), track.skeleton, COCO17
        )
        own = torch.cat([points, conf[..., None]], -1).numpy().astype(np.float32)
        own_boxes = track_boxes(own, longest)
        area = (own_boxes[:, 2:] - own_boxes[:, :2]).prod(1)
        at = track.frame_ids - first
        larger = area > sizes[at]
        keypoints[at[larger]], boxes[at[larger]], sizes[at[larger]] = own[larger], own_boxes[larger], area[larger]
    frames = np.arange(first, last + 1)
    if not isinstance(frame_times, np.ndarray):
        return People(keypoints, boxes, frames / frame_times)
    if last >= len(frame_times):
        raise Rejected(
            "frames_differ",
            f"its keypoints have a frame {last}, but the video has {len(frame_times)}. Detect the whole video again.",
        )
    return People(keypoints, boxes, frame_times[frames])


def at_standard_rate(people: People) -> People:
    """The people at 30 frames per second; keypoints and boxes of one person are interpolated linearly."""
    at = even_times(people.times, FPS)
    present = has_extent(people.boxes)
    linked = ~(present[1:] & present[:-1]) | (box_overlaps(people.boxes) >= Thresholds().overlap)
    keypoints = resample_keypoints(people.keypoints, people.times, at, linked)
    corners = people.boxes.reshape(-1, 2, 2)
    sure = np.broadcast_to(present[:, None, None], (len(corners), 2, 1))
    boxes = resample_keypoints(np.concatenate([corners, sure.astype(np.float32)], -1), people.times, at, linked)[
        ..., :2
    ]
    return People(keypoints, boxes.reshape(-1, 4), at)
