"""A camera is made out from a person who walks before it, and it is said how sure that is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import COCO17
from hmr4d.camera.camera_files import CameraFile
from hmr4d.camera.walking_camera import STATURE, guess_camera
from hmr4d.geometry.rigs import camera_pose, project
from hmr4d.keypoint_files.reading import KeypointTrack

SIZE, FPS = (1280, 720), 20


def camera(pitch: float, roll: float, height: float, focal: float) -> CameraFile:
    """Angles in degrees, meters, pixels."""
    angles = [torch.tensor(math.radians(a), dtype=torch.float64) for a in (pitch, roll, 0.0)]
    T = camera_pose(angles[0], angles[1], angles[2], torch.tensor([0.0, height, 0.0], dtype=torch.float64))
    K4 = torch.tensor([focal, focal, SIZE[0] / 2, SIZE[1] / 2], dtype=torch.float64)
    return CameraFile(SIZE, K4, torch.zeros(0, dtype=torch.float64), T)


# Heights, and places to the left of the middle, in shares of the stature.
BODY = {
    "ear": (0.932, 0.045),
    "shoulder": (0.82, 0.12),
    "elbow": (0.63, 0.14),
    "wrist": (0.48, 0.15),
    "hip": (0.53, 0.06),
    "knee": (0.285, 0.06),
    "ankle": (0.051, 0.06),
    "eye": (0.936, 0.018),
}


def walker(seen_by: CameraFile, *, reach: float, frames: int = 240, error: float = 2.0) -> KeypointTrack:
    """Somebody of STATURE who walks to and fro between 4 m and 4 m + reach, with errors of pixels."""
    phase = np.linspace(0, 4 * np.pi, frames)
    aside = min(1.2, reach) * np.sin(0.7 * phase)
    place = np.stack([aside, 0 * phase, -4 - reach * (0.5 - 0.5 * np.cos(phase))], -1)
    step = 0.15 * np.sin(2 * np.pi * 0.9 * np.arange(frames) / FPS)
    joints = np.zeros((frames, COCO17.num_joints, 3))
    for j, name in enumerate(COCO17.joint_names):
        side, _, part = name.partition("_")
        up, out = BODY.get(part, (0.93, 0.0))
        joints[:, j] = place + np.array([out * STATURE * (1 if side == "right" else -1), up * STATURE, 0])
        if part in ("ankle", "knee"):
            joints[:, j, 0] += step * (1 if side == "left" else -1) * (1 if part == "ankle" else 0.6)
    points = torch.from_numpy(joints.astype(np.float32))
    pixels = project(seen_by.rig.to(torch.float32), points)[0][0].numpy()
    pixels += np.random.default_rng(1).normal(0, error, pixels.shape)
    conf = np.full(pixels.shape[:2], 0.9, np.float32)
    return KeypointTrack(pixels.astype(np.float32), conf, COCO17, np.arange(frames), FPS, "0")


@pytest.mark.parametrize(
    ("pitch", "roll", "height", "focal"), [(8, 0, 1.5, 1100), (22, 3, 2.4, 900), (0, -4, 1.0, 1300)]
)
def test_a_walk_tells_the_camera_within_what_is_said(pitch: float, roll: float, height: float, focal: float) -> None:
    truth = camera(pitch, roll, height, focal)
    guess = guess_camera(walker(truth, reach=5.0), SIZE, fps=FPS, stature=STATURE)
    found = guess.camera
    assert abs(math.degrees(found.angles[0]) - pitch) < max(3 * math.degrees(guess.deviations["pitch"]), 1.5)
    assert abs(math.degrees(found.angles[1]) - roll) < 2
    assert abs(math.log(found.height / height)) < max(3 * guess.deviations["height"], 0.1)
    assert abs(math.log(float(found.K4[0]) / focal)) < 3 * guess.deviations["focal"]
    if pitch:  # a level camera sees no vertical lines run together, so that focal length and distance stay unknown
        assert guess.deviations["focal"] < 0.15 and "grows and shrinks" in guess.description
    else:
        assert "common phones" in guess.description


def test_who_stands_tells_less_and_that_is_reported() -> None:
    truth = camera(8, 0, 1.5, 1100)
    walks = guess_camera(walker(truth, reach=5.0), SIZE, fps=FPS)
    stands = guess_camera(walker(truth, reach=0.2), SIZE, fps=FPS)
    assert stands.deviations["focal"] > 1.4 * walks.deviations["focal"]
    assert "common phones" in stands.description and stands.distance_error > 0.15
    given = guess_camera(walker(truth, reach=0.2), SIZE, fps=FPS, focal=1100)
    assert given.deviations["focal"] < 0.06 and "from the file" in given.description
    assert abs(float(given.camera.K4[0]) / 1100 - 1) < 0.1


def test_nobody_upright_is_refused_with_advice() -> None:
    track = walker(camera(8, 0, 1.5, 1100), reach=3.0, frames=20)
    track.kp2d_conf[:, [15, 16]] = 0
    with pytest.raises(ValueError, match="upright from the ankles to the ears.*docs/calibrate.md"):
        guess_camera(track, SIZE, fps=FPS)


@pytest.mark.parametrize(("quarters", "words"), [(1, "across the image"), (2, "upside down"), (3, "across the image")])
def test_turned_images_are_refused_with_advice(quarters: int, words: str) -> None:
    track = walker(camera(8, 0, 1.5, 900), reach=2.0)
    angle = quarters * math.pi / 2
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array(SIZE) / 2
    turned = replace(track, kp2d=((track.kp2d - middle) @ turn.T + middle).astype(np.float32))
    with pytest.raises(ValueError, match=f"{words} in nearly all frames.*Rotate it"):
        guess_camera(turned, SIZE, fps=FPS)
