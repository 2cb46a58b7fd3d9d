"""`hmr4d lift video.mp4`: the people of a video and its camera, as `lift` takes them."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmr4d.camera.camera_files import CameraFile, read_camera, undistorted, write_camera
from hmr4d.camera.walking_camera import guess_camera
from hmr4d.cli.detect import detect_in
from hmr4d.detection.keypoint_json import write_keypoints
from hmr4d.detection.lens import told_focal
from hmr4d.detection.people_in_video import DetectedVideo
from hmr4d.detection.video_pictures import VideoMetadata
from hmr4d.keypoint_files.rates import even_times, resample_keypoints
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.utils.files import file_stem

logger = logging.getLogger(__name__)

SAME_ASPECT = 0.02  # share by which the sides of a video may differ from those of the camera's image


class VideoInputs(NamedTuple):
    """What a video gives to lifting.

    Attributes:
        tracks: of those asked for, in pixels of a pinhole camera, evenly in time.
        camera: of its file, or guessed.
        video: what the video says of itself.
        written: files of keypoints and camera.
    """

    tracks: list[KeypointTrack]
    camera: CameraFile
    video: VideoMetadata
    written: list[Path]


def read_video(args: argparse.Namespace) -> VideoInputs:
    """Detects people, and reads or guesses the camera.

    Raises:
        ValueError: nobody is found, the camera moves, or nothing can be told about it.
    """
    found = detect_in(args, args.keypoints)
    tracks = found.person("largest" if args.person is None else args.person)
    if found.motion.moves and not args.camera_stands:
        raise ValueError(f"{found.path}: {found.motion.remark} If it does stand still, say so: --camera-stands.")
    if found.motion.remark:
        logger.warning("%s", found.motion.remark)
    stem = file_stem(found.path.stem)
    written = [args.out / f"{stem}_keypoints.json"]
    if args.camera is not None:
        camera = read_camera(args.camera)
        tracks = [_scaled(track, found, camera) for track in tracks]
    else:
        focal = told_focal(found.path, found.size)
        guess = guess_camera(tracks[0], found.size, fps=found.fps, stature=args.stature, focal=focal)
        camera = guess.camera
        logger.warning("%s Measure it for sure results: docs/calibrate.md.", guess.told)
        written.append(args.out / f"{stem}_camera.yaml")
        write_camera(written[-1], camera, note=f"A guess by hmr4d lift from {found.path.name}.\n{guess.told}")
    write_keypoints(written[0], found)
    tracks = [even_in_time(undistorted(track, camera), found) for track in tracks]
    return VideoInputs(tracks, camera, found.metadata, written)


def _scaled(track: KeypointTrack, found: DetectedVideo, camera: CameraFile) -> KeypointTrack:
    """A track in pixels of the camera file, which may be for another size of the same picture."""
    (width, height), size = found.size, camera.size
    if abs(width / height * size[1] / size[0] - 1) > SAME_ASPECT:
        raise ValueError(
            f"{found.path} has pictures of {width} x {height} pixels, but the camera's image is {size[0]} x {size[1]}. "
            "Camera file and video have to be of the same pictures."
        )
    return replace(track, kp2d=(track.kp2d * np.array(size) / np.array(found.size)).astype(np.float32))


def even_in_time(track: KeypointTrack, found: DetectedVideo) -> KeypointTrack:
    """A track with pictures as far apart as most are, on the lines between those of an uneven video.

    Frames are those of the nearest pictures, so that they may come twice or be left out.
    """
    if found.metadata.uneven is None:
        return track
    times = found.times[track.frame_ids]
    logger.info("%s has uneven times; its joints are put at %.4g a second.", found.path, found.fps)
    at = even_times(times, found.fps)
    even = resample_keypoints(np.concatenate([track.kp2d, track.kp2d_conf[..., None]], -1), times, at)
    nearest = np.rint(np.interp(at, times, np.arange(len(times)))).astype(int)
    return replace(track, kp2d=even[..., :2], kp2d_conf=even[..., 2], frame_ids=track.frame_ids[nearest])
