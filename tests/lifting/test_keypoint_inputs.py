"""Frame rates and times of the tracks that are lifted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmr4d.body.skeleton import MEDIAPIPE33
from hmr4d.detection.camera_motion import CameraMotion
from hmr4d.detection.keypoint_json import write_keypoints
from hmr4d.detection.people_in_video import DetectedVideo
from hmr4d.detection.video_pictures import VideoMetadata
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.lifting.keypoint_inputs import frame_rate, read_keypoint_inputs
from hmr4d.lifting.request import LiftRequest
from hmr4d.lifting.video_inputs import even_in_time


def detected_at(times: np.ndarray) -> tuple[DetectedVideo, KeypointTrack]:
    """A joint that moves 100 pixels a second to the right, seen at some times."""
    kp2d = np.zeros((len(times), 33, 2), np.float32)
    kp2d[..., 0] = 100 + 100 * times[:, None]
    kp2d[..., 1] = 5 * np.arange(33)
    conf = np.ones((len(times), 33), np.float32)
    track = KeypointTrack(kp2d, conf, MEDIAPIPE33, np.arange(len(times)), 20.0, "0")
    metadata = VideoMetadata((640, 480), 15.0, times)
    motion = CameraMotion(np.zeros(0), np.zeros(0))
    return DetectedVideo(Path("a.mp4"), (640, 480), 20.0, times, [track], motion, metadata), track


def test_frames_at_uneven_times_are_resampled_to_even_ones() -> None:
    times = np.concatenate([np.arange(12) / 20, 0.6 + np.arange(6) / 10])
    detected, track = detected_at(times)
    track.kp2d_conf[14] = 0
    even = even_in_time(track, detected.times, detected.fps)
    seconds = np.arange(len(even.frame_ids)) / 20
    assert seconds[-1] == pytest.approx(times[-1], abs=0.051)
    seen = even.kp2d_conf[:, 0] > 0
    np.testing.assert_allclose(even.kp2d[seen, 0, 0], 100 + 100 * seconds[seen], atol=1e-3)
    assert 1 <= (~seen).sum() <= 3
    assert (np.diff(even.frame_ids) >= 0).all() and even.frame_ids[-1] == len(times) - 1


def test_keypoints_written_from_an_uneven_video_keep_their_times_when_read(tmp_path: Path) -> None:
    camera = tmp_path / "camera.yaml"
    camera.write_text("{size: [640, 480], fov_deg: 60, pose: {pitch_deg: 5, height_m: 1.5}}", "utf-8")
    for times, seconds in ((np.r_[np.arange(30) / 20, 1.5 + np.arange(15) / 10], 2.9), (np.arange(30) / 20, 1.45)):
        detected, _ = detected_at(times)
        write_keypoints(tmp_path / "keypoints.json", detected)
        (track,), _, _ = read_keypoint_inputs(LiftRequest(tmp_path / "keypoints.json", camera=camera))
        assert track.fps == 20 and len(track.frame_ids) == round(seconds * 20) + 1
        seen = track.kp2d_conf[:, 11] > 0
        np.testing.assert_allclose(track.kp2d[seen, 11, 0], 100 + 100 * np.arange(len(seen))[seen] / 20, atol=0.02)


def test_the_frame_rate_is_that_of_the_option_else_the_file_else_the_video(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "hmr4d")
    assert (frame_rate(50, 25.0, 30.0), frame_rate(None, 25.0, 25.0), frame_rate(None, None, 24.0)) == (50, 25, 24)
    assert (
        "taken at 50 frames per second, the video has 30" in caplog.text and "contains no frame rate" not in caplog.text
    )
    assert frame_rate(None, None, None) == 30 and "contains no frame rate" in caplog.text
