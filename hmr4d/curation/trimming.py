"""Cuts intervals of good frames into clips of 2 to 10 seconds."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hmr4d.curation.filters import FPS, Failure, Thresholds, Track, has_extent, motion_of, runs_of

PIPELINE_VERSION = "1"  # part of every clip's id


@dataclass(frozen=True)
class TrimRules:
    """Lengths in frames at 30 fps.

    Attributes:
        min_frames: shorter runs of good frames are excluded.
        max_frames: longer runs are cut into equal parts.
        bridged: longest interpolated gap in which only the confidence filter failed.
    """

    min_frames: int = 60
    max_frames: int = 300
    bridged: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames <= self.max_frames or self.bridged < 0:
            raise ValueError(
                f"min_frames {self.min_frames}, max_frames {self.max_frames}, bridged {self.bridged}; expected "
                "1 <= min_frames <= max_frames and bridged >= 0."
            )


def trim(track: Track, mask: NDArray[np.uint16], limits: Thresholds, rules: TrimRules) -> list[tuple[int, int, Track]]:
    """First frame, frame after the last one, and track of each clip, in order.

    Keypoints with low confidence in an interpolated gap lie on the line between the surrounding frames, with the lower
    confidence of both.
    """
    bridged = bridge(mask, rules.bridged)
    good = (mask == 0) | bridged
    mended = replace(track, keypoints=_interpolated(track.keypoints, good, bridged, limits.confidence))
    clips: list[tuple[int, int, Track]] = []
    for first, last in runs_of(good):
        if last - first < rules.min_frames:
            continue
        parts = math.ceil((last - first) / rules.max_frames)
        edges = np.linspace(first, last, parts + 1).round().astype(int).tolist()
        clips += [(a, b, _part(mended, a, b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return [clip for clip in clips if clip[1] - clip[0] >= rules.min_frames]


def bridge(mask: NDArray[np.uint16], longest: int) -> NDArray[np.bool_]:
    """(F,) True in gaps of up to `longest` frames between good ones in which only confidence failed."""
    bridged = np.zeros(len(mask), bool)
    for start, end in runs_of(mask != 0):
        is_inner = start > 0 and end < len(mask)
        if is_inner and end - start <= longest and (mask[start:end] == Failure.CONFIDENCE).all():
            bridged[start:end] = True
    return bridged


def _interpolated(
    keypoints: NDArray[np.float32], good: NDArray[np.bool_], bridged: NDArray[np.bool_], confidence: float
) -> NDArray[np.float32]:
    mended = keypoints.copy()
    for start, end in runs_of(bridged & good):
        before, after = keypoints[start - 1], keypoints[end]
        share = (np.arange(1, end - start + 1) / (end - start + 1))[:, None, None]
        line = (1 - share) * before + share * after
        line[..., 2] = np.minimum(before[..., 2], after[..., 2])
        unsure = (keypoints[start:end, :, 2] <= confidence) & (line[..., 2] > confidence)
        mended[start:end][unsure] = line[unsure]
    return mended


def _part(track: Track, first: int, last: int) -> Track:
    camera = None if track.camera is None else track.camera[first:last]
    return Track(track.keypoints[first:last], track.boxes[first:last], track.size, camera)


def clip_failures(clip: Track, limits: Thresholds) -> Failure:
    """The limits of mean speed and acceleration that a clip exceeds."""
    present = has_extent(clip.boxes)
    sure = clip.keypoints[..., 2] > limits.confidence
    speeds, accelerations, _ = motion_of(clip, sure, np.zeros(len(present), np.uint16), present)
    failed = Failure(0)
    if speeds.mean() > limits.speed:
        failed |= Failure.SPEED
    if accelerations.mean() > limits.acceleration:
        failed |= Failure.ACCELERATION
    return failed


def clip_id(source_id: str, start_s: float, end_s: float, version: str = PIPELINE_VERSION) -> str:
    """Id of a clip: the first 16 digits of the SHA-1 of source, begin and end in milliseconds, and version.

    Args:
        source_id: id of the source.
        start_s, end_s: seconds in the source.
        version: version of the pipeline.
    """
    text = f"{source_id},{round(start_s * 1000)},{round(end_s * 1000)},{version}"
    return hashlib.sha1(text.encode()).hexdigest()[:16]


def seconds_of(frame: int) -> float:
    """Time of a frame at 30 fps."""
    return frame / FPS
