"""The input of lifting from a video: the people in it, detected, and its camera, read or estimated."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmr4d.camera.camera_files import CameraFile, read_camera, undistorted, write_camera
from hmr4d.camera.walking_camera import guess_camera
from hmr4d.detection.keypoint_json import write_keypoints
from hmr4d.detection.lens import focal_of_metadata
from hmr4d.detection.people_in_video import DetectedVideo, detect_people, log_people
from hmr4d.detection.video_pictures import VideoMetadata
from hmr4d.keypoint_files.rates import even_times, resample_keypoints
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.lifting.request import LiftRequest

logger = logging.getLogger(__name__)

SAME_ASPECT = 0.02  # relative tolerance of the aspect ratio of a video and the camera's image


class VideoInputs(NamedTuple):
    """The input of lifting from a video.

    Attributes:
        tracks: the selected people, in pixels of a pinhole camera, at even times.
        camera: from its file, or estimated.
        detected: all people of the video.
        guess: description of an estimated camera; None for a camera from a file.
    """

    tracks: list[KeypointTrack]
    camera: CameraFile
    detected: DetectedVideo
    guess: str | None

    @property
    def video(self) -> VideoMetadata:
        """Metadata of the video."""
        return self.detected.metadata

    def write(self, out: Path, stem: str) -> list[Path]:
        """Writes the keypoints of all people, and an estimated camera; returns the files."""
        written = [out / f"{stem}_keypoints.json"]
        write_keypoints(written[0], self.detected)
        if self.guess is not None:
            written.append(out / f"{stem}_camera.yaml")
            write_camera(
                written[1], self.camera, note=f"A guess by hmr4d lift from {self.detected.path.name}.\n{self.guess}"
            )
        return written


def read_video(request: LiftRequest) -> VideoInputs:
    """Detects people, and reads or estimates the camera.

    Raises:
        ValueError: no person is detected, the camera moves or cannot be estimated; or useless options.
    """
    if request.video is not None:
        raise ValueError("--video is for keypoint files; this is a video already.")
    detected = detect_people(
        request.keypoints,
        model=request.detector,
        fps=request.fps,
        detector=request.detector_weights,
        smooth=not request.no_smoothing,
    )
    log_people(detected)
    tracks = detected.person("largest" if request.person is None else request.person)
    if detected.motion.moves and not request.camera_stands:
        raise ValueError(
            f"{detected.path}: {detected.motion.remark} If the camera does not move, pass --camera-stands."
        )
    if detected.motion.remark:
        logger.warning("%s", detected.motion.remark)
    estimate = None
    if request.camera is not None:
        camera = read_camera(request.camera)
        tracks = [_scaled(track, detected, camera) for track in tracks]
    else:
        focal = focal_of_metadata(detected.path, detected.size)
        guess = guess_camera(tracks[0], detected.size, fps=detected.fps, stature=request.stature, focal=focal)
        camera, estimate = guess.camera, guess.description
        logger.warning("%s Measure the camera for accurate results: docs/calibrate.md.", estimate)
    tracks = [undistorted(track, camera) for track in tracks]
    if detected.metadata.is_uneven:
        tracks = [even_in_time(track, detected.times[track.frame_ids], detected.fps) for track in tracks]
    return VideoInputs(tracks, camera, detected, estimate)


def _scaled(track: KeypointTrack, detected: DetectedVideo, camera: CameraFile) -> KeypointTrack:
    """A track in pixels of the camera file, which may be for another size of the same image."""
    (width, height), size = detected.size, camera.size
    if abs(width / height * size[1] / size[0] - 1) > SAME_ASPECT:
        raise ValueError(
            f"{detected.path} has frames of {width} x {height} pixels, but the camera's image is "
            f"{size[0]} x {size[1]}. Camera file and video must belong to the same images."
        )
    return replace(track, kp2d=(track.kp2d * np.array(size) / np.array(detected.size)).astype(np.float32))


def even_in_time(track: KeypointTrack, times: NDArray[np.float64], fps: float) -> KeypointTrack:
    """A track with uneven times, resampled linearly to the usual frame interval.

    Frame numbers are those of the nearest frames, so they may repeat or be missing.

    Args:
        track: of L frames.
        times: (L,) seconds of its frames.
        fps: frames per second of the result.
    """
    logger.info(
        "The frame times of person %s are uneven; the joints are resampled to %.4g frames per second.",
        track.person,
        fps,
    )
    at = even_times(times, fps)
    even = resample_keypoints(np.concatenate([track.kp2d, track.kp2d_conf[..., None]], -1), times, at)
    nearest = np.rint(np.interp(at, times, np.arange(len(times)))).astype(int)
    return replace(
        track,
        kp2d=even[..., :2],
        kp2d_conf=even[..., 2],
        frame_ids=track.frame_ids[nearest],
        times=times[nearest],
        depth=None if track.depth is None else track.depth[nearest],
    )
