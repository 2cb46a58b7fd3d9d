"""The input of lifting from a keypoint file: tracks, their camera, and the metadata of a video for the overlay."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hmr4d.camera.camera_files import CameraFile, check_keypoints_fit, read_camera, undistorted
from hmr4d.detection.video_pictures import VIDEOS, VideoMetadata, are_uneven, read_video_metadata
from hmr4d.keypoint_files.detections import FASTEST_RATE, SLOWEST_RATE
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.lifting.request import LiftRequest
from hmr4d.lifting.video_inputs import SAME_ASPECT, even_in_time

logger = logging.getLogger(__name__)

USUAL_FPS = 30.0


class KeypointInputs(NamedTuple):
    """The input of lifting from a keypoint file.

    Attributes:
        tracks: the selected people, in pixels of a pinhole camera, with their frame rate.
        camera: from its file.
        video: metadata of the video behind the overlay; None without one.
    """

    tracks: list[KeypointTrack]
    camera: CameraFile
    video: VideoMetadata | None


def read_keypoint_inputs(request: LiftRequest) -> KeypointInputs:
    """Reads the keypoints, the camera and the metadata of the video for the overlay.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file cannot be read, the camera file is missing, or the files do not belong together.
    """
    if not request.keypoints.exists():
        raise FileNotFoundError(f"Not found: {request.keypoints}. Check the path.")
    if request.camera is None:
        raise ValueError(
            f"--camera is missing: {request.keypoints} is read as a keypoint file, which does not contain the camera "
            f"(see docs/calibrate.md). Video files have the suffix {', '.join(VIDEOS[:5])} or another common one."
        )
    camera = read_camera(request.camera)
    video = None if request.video is None else check_video(request.video, camera)
    tracks = _read_tracks(request, camera)
    fps = frame_rate(request.fps, tracks[0].fps, None if video is None else video.fps)
    tracks = [replace(track, fps=fps) for track in tracks]
    if request.fps is None:
        tracks = [
            track if (times := track.times) is None or not are_uneven(times) else even_in_time(track, times, fps)
            for track in tracks
        ]
    return KeypointInputs(tracks, camera, video)


def _read_tracks(request: LiftRequest, camera: CameraFile) -> list[KeypointTrack]:
    """The selected tracks, in pixels of a pinhole camera of this size."""
    person = request.person or "longest"
    tracks = read_keypoints(request.keypoints, request.format, person, skeleton=request.skeleton, size=camera.size)
    tracks = tracks if isinstance(tracks, list) else [tracks]
    check_keypoints_fit(tracks[0], camera)
    return [undistorted(track, camera) for track in tracks]


def frame_rate(asked: float | None, recorded: float | None, video: float | None) -> float:
    """Frames per second of the keypoints: from the option, else their file, else the video, else the default.

    Args:
        asked, recorded, video: rates of the option, of the keypoint file and of the video; None where unknown.

    Raises:
        ValueError: an impossible rate.
    """
    fps = next((rate for rate in (asked, recorded, video) if rate is not None), None)
    if fps is None:
        logger.info("The keypoint file contains no frame rate; %g frames per second are assumed (--fps).", USUAL_FPS)
        fps = USUAL_FPS
    if not (math.isfinite(fps) and SLOWEST_RATE <= fps <= FASTEST_RATE):
        raise ValueError(f"The frame rate is {fps}; expected {SLOWEST_RATE:g} to {FASTEST_RATE:g} frames per second.")
    if video is not None and abs(fps - video) > 0.01 * video:
        logger.warning("The keypoints are taken at %g frames per second, the video has %g.", fps, video)
    return float(fps)


def check_video(path: Path, camera: CameraFile) -> VideoMetadata:
    """Metadata of a video; warns about uneven frame times.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: it cannot be decoded, or its aspect ratio differs from
            that of the camera's image.
    """
    metadata = read_video_metadata(path)
    (width, height), size = metadata.size, camera.size
    if abs(width / height * size[1] / size[0] - 1) > SAME_ASPECT:
        raise ValueError(
            f"{path} has frames of {width} x {height} pixels, but the camera's image is {size[0]} x {size[1]}. "
            "Keypoints, camera file and video must belong to the same images."
        )
    if metadata.uneven:
        logger.warning("%s %s", path, metadata.uneven)
    return metadata
