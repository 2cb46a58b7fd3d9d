"""Tracks of a made-up person whose faults are known frame by frame."""

from __future__ import annotations

import numpy as np

from hmr4d.curation.filters import Track

HEIGHT = 400.0  # pixels of the person's box
SIZE = (1280, 720)
# x and y of COCO-17 in shares of the height from the top middle, seen from the front: left is on the image's right.
STANDING = np.array(
    [(0, 0.08), (0.02, 0.06), (-0.02, 0.06), (0.05, 0.07), (-0.05, 0.07), (0.12, 0.2), (-0.12, 0.2), (0.15, 0.35),
     (-0.15, 0.35), (0.16, 0.5), (-0.16, 0.5), (0.08, 0.5), (-0.08, 0.5), (0.09, 0.75), (-0.09, 0.75), (0.09, 1.0),
     (-0.09, 1.0)]
)  # fmt: skip


def walk(num_frames: int = 120, *, speed: float = 0.5, start: float = 300.0) -> Track:
    """Somebody who crosses the image evenly, `speed` heights per second."""
    x = start + speed * HEIGHT / 30 * np.arange(num_frames)
    points = STANDING * HEIGHT + np.array([0.0, 200.0]) + np.stack([x, np.zeros(num_frames)], -1)[:, None]
    keypoints = np.concatenate([points, np.full((num_frames, 17, 1), 0.9)], -1).astype(np.float32)
    return Track(keypoints, boxes_of(keypoints), SIZE)


def boxes_of(keypoints: np.ndarray) -> np.ndarray:
    """(F, 4) boxes of HEIGHT around the keypoints."""
    middle = keypoints[..., 0].mean(1)
    top = keypoints[:, 0, 1] - STANDING[0, 1] * HEIGHT
    return np.stack([middle - 80, top, middle + 80, top + HEIGHT], -1).astype(np.float32)


def shifted(track: Track, from_frame: int, pixels: float) -> Track:
    """The same track, but from a frame on somewhere else."""
    keypoints, boxes = track.keypoints.copy(), track.boxes.copy()
    keypoints[from_frame:, :, 0] += pixels
    boxes[from_frame:, [0, 2]] += pixels
    return Track(keypoints, boxes, track.size, track.camera)


def unsure(track: Track, frames: slice, joints: list[int], confidence: float = 0.2) -> Track:
    """The same track with joints that the detector hardly sees for a while."""
    keypoints = track.keypoints.copy()
    keypoints[frames, joints, 2] = confidence
    return Track(keypoints, track.boxes, track.size, track.camera)
