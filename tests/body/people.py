"""Made-up people who walk, run, jump, climb and sit: rigid bones, true feet, everything known."""

from __future__ import annotations

import numpy as np
import torch

from hmr4d.body.leg_solver import move_feet
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.cleaning import symmetric

FPS = 20.0
ANKLES, TOES = SMPL22.indices("left_ankle", "right_ankle"), SMPL22.indices("left_foot", "right_foot")
CROUCH = 0.07  # meters by which the pelvis is lower than in somebody who stands straight


def standing(num_frames: int) -> np.ndarray:
    """(L, 22, 3) somebody with slightly bent knees whose toe joints rest at 0."""
    rest = symmetric(load_light_body().rest_joints).double().numpy()
    rest = rest - [0.0, rest[list(TOES), 1].min(), 0.0]
    return with_feet(np.repeat(rest[None], num_frames, 0), np.array([0.0, -CROUCH, 0.0]), np.zeros((num_frames, 2, 3)))


def with_feet(motion: np.ndarray, way: np.ndarray, feet: np.ndarray) -> np.ndarray:
    """The motion with its body moved by `way` (3,) or (L, 3), its feet by (L, 2, 3), all in the world."""
    way = np.broadcast_to(way, (len(motion), 3))
    return move_feet(motion + way[:, None], feet - way[:, None])


def steps(num_frames: int, *, speed: float, stance: float, stride: float, lift: float, rise: float = 0.0) -> np.ndarray:
    """Somebody who goes forwards with feet that stand `stance` of a stride of `stride` seconds.

    Args:
        num_frames: L.
        speed: meters per second.
        stance: share of the stride in which a foot stands; below 0.5 it is a run with flight.
        stride: seconds from one stance of a foot to its next.
        lift: meters that the swinging foot is raised.
        rise: meters that each step is higher than the one before (stairs).
    """
    time = np.arange(num_frames) / FPS
    feet = np.zeros((num_frames, 2, 3))
    for side, start in ((0, 0.0), (1, 0.5)):
        phase = time / stride + start
        count, part = np.floor(phase), phase % 1
        swing = ((part - stance) / (1 - stance)).clip(0, 1)
        gone = count + swing**2 * (3 - 2 * swing) - start
        feet[:, side, 2] = speed * stride * (gone + stance / 2)
        feet[:, side, 1] = 2 * rise * (count + np.minimum(2 * swing, 1) - start) + lift * np.sin(np.pi * swing) ** 2
    bounce = 0.0 if stance >= 0.5 else 0.03 * (1 + np.sin(4 * np.pi * time / stride))
    heights = feet[..., 1].min(1) if rise else np.zeros(num_frames)
    way = np.stack([np.zeros(num_frames), heights + bounce, speed * time], -1)
    return with_feet(standing(num_frames), way, feet)


def walk(num_frames: int = 80) -> np.ndarray:
    return steps(num_frames, speed=1.2, stance=0.6, stride=1.1, lift=0.12)


def run(num_frames: int = 60) -> np.ndarray:
    return steps(num_frames, speed=2.6, stance=0.35, stride=0.7, lift=0.25)


def stairs(num_frames: int = 100) -> np.ndarray:
    return steps(num_frames, speed=0.4, stance=0.6, stride=1.6, lift=0.1, rise=0.17)


def jump(num_frames: int = 60, height: float = 0.4) -> np.ndarray:
    """Up from the spot and down again, in free fall."""
    time = np.arange(num_frames) / FPS - 1.0
    flight = 2 * (2 * height / 9.81) ** 0.5
    up = np.where((time > 0) & (time < flight), 9.81 / 2 * time * (flight - time), 0.0)
    way = np.stack([0 * up, up, 0 * up], -1)
    return with_feet(standing(num_frames), way, np.repeat(way[:, None], 2, 1))


def sit(num_frames: int = 80) -> np.ndarray:
    """Down onto a seat and up again, feet where they are."""
    x = np.minimum(np.arange(num_frames), np.arange(num_frames)[::-1]) / 25
    down = x.clip(0, 1) ** 2 * (3 - 2 * x.clip(0, 1))
    way = np.stack([0 * down, -0.35 * down, -0.3 * down], -1)
    return with_feet(standing(num_frames), way, np.zeros((num_frames, 2, 3)))


def wave(num_frames: int = 80, hertz: float = 3.0) -> np.ndarray:
    """A forearm that swings; the wrist by 12 cm to either side."""
    motion = standing(num_frames)
    elbow, wrist = SMPL22.indices("left_elbow", "left_wrist")
    length = np.linalg.norm(motion[0, wrist] - motion[0, elbow])
    across = 0.12 * np.sin(2 * np.pi * hertz * np.arange(num_frames) / FPS)
    up = np.sqrt(length**2 - across**2)
    motion[:, wrist] = motion[:, elbow] + np.stack([across, up, 0 * up], -1)
    return motion


def lying(num_frames: int = 40) -> np.ndarray:
    """On the back, still, feet as high as all else."""
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    motion = standing(num_frames) @ turn.T
    return motion - [0.0, motion[..., 1].min(), 0.0]


PEOPLE = {"walk": walk, "run": run, "stairs": stairs, "jump": jump, "sit": sit, "wave": wave, "lying": lying}


def batch(motion: np.ndarray) -> torch.Tensor:
    """(1, L, 22, 3) float32."""
    return torch.from_numpy(motion).float()[None]
