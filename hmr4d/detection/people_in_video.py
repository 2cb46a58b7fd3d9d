"""People in a video: one pass over its frames, then identities and smoothing over the whole video.

Frames are decoded once and freed; only 33 joints per person and frame are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import MEDIAPIPE33
from hmr4d.detection.camera_motion import CameraMotion, CameraMotionMeter
from hmr4d.detection.following import FollowOptions, PeopleFollower
from hmr4d.detection.networks import DETECTOR, MODELS, BodyJoints, JointFinder, PeopleFinder, find_detector
from hmr4d.detection.sides import exchanged, mend_sides
from hmr4d.detection.smoothing import smooth_joints
from hmr4d.detection.video_pictures import VideoMetadata, read_video_metadata, video_pictures
from hmr4d.keypoint_files.detections import Detection
from hmr4d.keypoint_files.people import one_per_frame
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.keypoint_files.tracking import track_people
from hmr4d.motion.motion import checked_fps
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

USUAL_FPS = 30.0  # default rate of inputs without a rate
SHORTEST = 0.25  # seconds; people visible for a shorter time are excluded
# Predicted visibility of a joint, and the fraction of such joints within 5 % of the body size of their true position
# (docs/detect.md). Hidden joints also have a position, which is better than none.
_VISIBILITY, _RIGHT = (0.0, 0.25, 0.4, 0.6, 0.8, 1.0), (0.3, 0.4, 0.64, 0.87, 0.92, 0.97)


@dataclass(frozen=True)
class DetectedVideo:
    """The people of a video.

    Attributes:
        path: path of the video. size: width and height of its frames. fps: frames per second, the usual rate if it is
            uneven. times: (N,) seconds of every frame.
        tracks: all people, joints of `MEDIAPIPE33` in pixels, by decreasing image area over time. motion: motion of the
            camera. metadata: metadata of the video.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    times: NDArray[np.float64]
    tracks: list[KeypointTrack]
    motion: CameraMotion
    metadata: VideoMetadata

    def person(self, who: str) -> list[KeypointTrack]:
        """The selected tracks.

        Args:
            who: "largest", "longest", "all" or an id.

        Raises:
            ValueError: there is no person in the video, or none with that id.
        """
        if not self.tracks:
            raise ValueError(f"{self.path}: no person was detected in its {len(self.times)} frames.")
        if who == "all":
            return self.tracks
        if who == "largest":
            return self.tracks[:1]
        if who == "longest":
            return [max(self.tracks, key=lambda track: track.num_seen)]
        chosen = [track for track in self.tracks if track.person == who]
        if not chosen:
            known = ", ".join(f"{t.person} ({t.num_seen} pictures)" for t in self.tracks)
            raise ValueError(
                f"{self.path}: there is no person '{who}'; known: {known}. Choose one, largest, longest or all."
            )
        return chosen


def detect_people(
    path: Path,
    *,
    model: str = MODELS[0],
    fps: float | None = None,
    detector: str | Path = DETECTOR,
    options: FollowOptions | None = None,
    smooth: bool = True,
) -> DetectedVideo:
    """Finds and follows everybody in a video or a folder of pictures.

    Args:
        path: of it.
        model: network for joints, one of MODELS.
        fps: frame rate, if the file has none or a wrong one.
        detector: name or folder of the weights.
        options: how people are followed.
        smooth: whether joints are smoothed in time.

    Raises:
        FileNotFoundError: there is no such video, or no weights.
        ValueError: it cannot be decoded, or `fps` is no rate.
    """
    if not path.exists():
        raise FileNotFoundError(f"Video not found: {path}. Check the path.")
    fps = None if fps is None else checked_fps(fps)
    metadata = read_video_metadata(path)
    rate = fps or metadata.usual_fps
    if rate is None:
        logger.info("%s has no time stamps; %g frames per second are assumed (--fps).", path, USUAL_FPS)
        rate = USUAL_FPS
    folder = find_detector(detector)
    follower = PeopleFollower(PeopleFinder(folder), JointFinder(folder, model), metadata.size, options)
    meter, detections, times = CameraMotionMeter(), [], []
    known = metadata.times if fps is None else np.empty(0)
    pictures = progress(video_pictures(path), "detecting people", total=len(metadata.times) or None, unit="picture")
    for number, picture in enumerate(pictures):
        time = float(known[number]) if number < len(known) else (times[-1] + 1 / rate if times else 0.0)
        times.append(time)
        bodies = follower.step(picture, time)
        meter.add(picture, time, [body.points for body in bodies])
        detections += [
            Detection(number, _rows(body, metadata.size), place=place, depth=np.asarray(body.depth, np.float64))
            for place, body in enumerate(bodies)
        ]
    if len(times) < len(metadata.times):
        logger.warning(
            "%s: of its %d pictures %d could be read. It is damaged; what comes after the damage may have wrong times.",
            path,
            len(metadata.times),
            len(times),
        )
    seconds = np.array(times)
    tracks = _tracks(detections, seconds, rate, smooth=smooth)
    return DetectedVideo(path, metadata.size, float(rate), seconds, tracks, meter.result(), metadata)


def log_people(video: DetectedVideo) -> None:
    """Logs one line per person: the frames, how many of them miss the person, and the mean confidence."""
    for track in video.tracks:
        logger.info(
            "Person %s: frames %d to %d, missing in %d of them, confidence %.2f.",
            track.person,
            track.frame_ids[0],
            track.frame_ids[-1],
            track.num_frames - track.num_seen,
            track.kp2d_conf[track.kp2d_conf > 0].mean(),
        )


def _rows(body: BodyJoints, size: tuple[int, int]) -> NDArray[np.float64]:
    """(33, 3) u, v and confidence, 0 for those outside the picture, of the joints of a body."""
    is_inside = ((body.points >= 0) & (body.points <= size)).all(1)
    right = np.interp(body.visibility, _VISIBILITY, _RIGHT)
    confidence = np.where(is_inside, right * body.presence, 0.0)
    return np.concatenate([body.points, confidence[:, None]], 1)


def _tracks(
    detections: Sequence[Detection], times: NDArray[np.float64], fps: float, *, smooth: bool
) -> list[KeypointTrack]:
    """All people who are visible long enough, by decreasing image area over time."""
    usable = [d for d in detections if (d.points[:, 2] > 0).any()]
    people: dict[str, list[Detection]] = {}
    for detection in track_people(usable) if usable else []:
        people.setdefault(str(detection.person), []).append(detection)
    tracks: list[tuple[float, KeypointTrack]] = []
    for person, entries in people.items():
        if len(entries) < min(SHORTEST * fps, len(times) / 2):
            continue
        track = _track(person, one_per_frame(person, entries), fps)
        size = _body_size(track)
        if smooth:
            track = _mended(track, times[track.frame_ids], size)
        tracks.append((size * track.num_seen, track))
    tracks.sort(key=lambda pair: -pair[0])
    return [replace(track, person=str(i)) for i, (_, track) in enumerate(tracks)]


def _mended(track: KeypointTrack, times: NDArray[np.float64], size: float) -> KeypointTrack:
    """The track with corrected sides, smoothed."""
    kp2d, conf = track.kp2d.astype(np.float64), track.kp2d_conf.astype(np.float64)
    is_exchanged = mend_sides(kp2d, conf, times, size, track.skeleton)
    if is_exchanged.any():
        logger.info("Left and right of person %s were corrected in %d frames.", track.person, is_exchanged.any(1).sum())
    assert track.depth is not None
    depth = exchanged(track.depth.astype(np.float64), is_exchanged, track.skeleton)
    kp2d, conf = (exchanged(values, is_exchanged, track.skeleton) for values in (kp2d, conf))
    kp2d = smooth_joints(kp2d, conf, times, size)
    return replace(
        track,
        kp2d=kp2d.astype(np.float32),
        kp2d_conf=conf.astype(np.float32),
        depth=depth.astype(np.float32),
    )


def _track(person: str, entries: dict[int, Detection], fps: float) -> KeypointTrack:
    first, last = min(entries), max(entries)
    points = np.zeros((last - first + 1, MEDIAPIPE33.num_joints, 4), np.float32)
    points[..., 3] = np.nan
    for frame, entry in entries.items():
        assert entry.depth is not None
        points[frame - first] = np.column_stack([entry.points, entry.depth])
    points[points[..., 2] <= 0] = (0, 0, 0, np.nan)
    ids = np.arange(first, last + 1, dtype=np.int64)
    kp2d, conf, depth = points[..., :2].copy(), points[..., 2].copy(), points[..., 3].copy()
    return KeypointTrack(kp2d, conf, MEDIAPIPE33, ids, fps, person, depth=depth)


def _body_size(track: KeypointTrack) -> float:
    """Median height or width of the body in the image in pixels, whichever is larger."""
    seen = (track.kp2d_conf > 0)[..., None]
    low = np.where(seen, track.kp2d, np.inf).min(1)
    high = np.where(seen, track.kp2d, -np.inf).max(1)
    sides = (high - low).max(1)
    sides = sides[np.isfinite(sides)]
    return max(float(np.median(sides)), 1.0)
