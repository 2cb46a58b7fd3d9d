"""A figure that walks along +z, made from sines, for everything that draws."""

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22

STANDING = {
    "pelvis": (0, 0.94, 0),
    "left_hip": (0.09, 0.86, 0),
    "right_hip": (-0.09, 0.86, 0),
    "spine1": (0, 1.05, -0.01),
    "left_knee": (0.1, 0.48, 0.01),
    "right_knee": (-0.1, 0.48, 0.01),
    "spine2": (0, 1.18, -0.01),
    "left_ankle": (0.1, 0.08, -0.02),
    "right_ankle": (-0.1, 0.08, -0.02),
    "spine3": (0, 1.25, 0),
    "left_foot": (0.11, 0.02, 0.12),
    "right_foot": (-0.11, 0.02, 0.12),
    "neck": (0, 1.46, -0.02),
    "left_collar": (0.07, 1.38, -0.01),
    "right_collar": (-0.07, 1.38, -0.01),
    "head": (0, 1.55, 0.02),
    "left_shoulder": (0.18, 1.41, -0.02),
    "right_shoulder": (-0.18, 1.41, -0.02),
    "left_elbow": (0.22, 1.15, -0.03),
    "right_elbow": (-0.22, 1.15, -0.03),
    "left_wrist": (0.24, 0.91, 0.02),
    "right_wrist": (-0.24, 0.91, 0.02),
}


def walking_joints(num_frames: int = 30, fps: float = 20.0, speed: float = 1.2) -> np.ndarray:
    """(L, 22, 3) metres: arms and legs swing about shoulder and hip while the figure moves along +z."""
    standing = np.array([STANDING[name] for name in SMPL22.joint_names])
    time = np.arange(num_frames) / fps
    joints = np.repeat(standing[None], num_frames, axis=0)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * np.sin(2 * np.pi * 0.9 * time)
        for top, lower, angle, bend in (
            ("hip", ("knee", "ankle", "foot"), 0.45 * swing, 0.35 * (1 + sign * np.cos(2 * np.pi * 0.9 * time))),
            ("shoulder", ("elbow", "wrist"), -0.4 * swing, -0.5 + 0 * swing),
        ):
            _swing(joints, [f"{side}_{n}" for n in lower], f"{side}_{top}", angle)
            _swing(joints, [f"{side}_{n}" for n in lower[1:]], f"{side}_{lower[0]}", -bend)
    joints[..., 1] -= joints[..., 1].min(axis=1, keepdims=True)
    joints[..., 2] += (speed * time)[:, None]
    return joints.astype(np.float32)


def _swing(joints: np.ndarray, names: list[str], pivot: str, angle: np.ndarray) -> None:
    """Turns named joints about the x axis through a pivot joint; a positive angle swings what hangs to the front."""
    origin = joints[:, SMPL22.index(pivot)]
    for name in names:
        arm = joints[:, SMPL22.index(name)] - origin
        y, z = arm[:, 1].copy(), arm[:, 2].copy()
        arm[:, 1] = np.cos(angle) * y + np.sin(angle) * z
        arm[:, 2] = np.cos(angle) * z - np.sin(angle) * y
        joints[:, SMPL22.index(name)] = origin + arm


@pytest.fixture
def walk() -> np.ndarray:
    return walking_joints()
