"""Motions for the tests of writers: rigid bones, any attitude."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from hmr4d.body.kinematics import posed_joints
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22

HEADINGS = [45.0 * k for k in range(8)]


def rigid_motion(
    num_frames: int = 12, *, root: Rotation | None = None, rest: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """(L, 22, 3) float32 metres: all joints sway, the root also by `root` (one rotation, or one per frame)."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 3, num_frames)[:, None, None]
    vectors = 0.4 * rng.normal(size=(1, 22, 3)) * np.sin(time + rng.uniform(0, 6, (1, 22, 3)))
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(num_frames, 22, 3, 3)
    if root is not None:
        rotations[:, 0] = root.as_matrix() @ rotations[:, 0]
    path = np.stack([np.linspace(0, 2, num_frames), np.zeros(num_frames), np.linspace(1, -1, num_frames)], -1)
    joints = load_body("anny").rest_joints.double() if rest is None else torch.from_numpy(rest)
    return posed_joints(torch.from_numpy(rotations), torch.from_numpy(path), joints).numpy().astype(np.float32)


def turn(axis: str, degrees: float | np.ndarray) -> Rotation:
    """Turns about x, y or z."""
    return Rotation.from_rotvec(np.radians(degrees)[..., None] * np.eye(3)["xyz".index(axis)])


def heading(degrees: float) -> Rotation:
    """A turn about the vertical."""
    return turn("y", degrees)


def rest_without(*bones: str) -> np.ndarray:
    """(22, 3) rest joints of a body some of whose joints lie on their parents."""
    joints = load_body("anny").rest_joints.double().numpy()
    made = joints.copy()
    for parent, child in SMPL22.bones:
        offset = 0.0 if SMPL22.joint_names[child] in bones else joints[child] - joints[parent]
        made[child] = made[parent] + offset
    return made


def right_hand_raised() -> np.ndarray:
    """(3, 22, 3): arms spread, but the right hand above the right shoulder; facing +z, so that right is -x."""
    joints = load_body("anny").rest_joints.numpy().copy()
    shoulder = joints[SMPL22.index("right_shoulder")].copy()
    for name, up in (("right_elbow", 0.27), ("right_wrist", 0.51)):
        joints[SMPL22.index(name)] = shoulder + np.array([0.0, up, 0.0])
    return np.repeat(joints[None], 3, 0)
