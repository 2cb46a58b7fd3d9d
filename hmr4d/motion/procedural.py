"""Procedural motion: walks, turns, waves and bows from formulas, on the mean SMPL bone lengths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hmr4d.body.retarget import smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22

CONTENTS = (
    "walk",
    "run",
    "walk-back",
    "walk-turn-left",
    "walk-turn-right",
    "bow",
    "wave-left-hand",
    "wave-right-hand",
    "wave-both-hands",
    "raise-up-left-hand",
    "raise-up-right-hand",
    "raise-up-both-hands",
)
FPS = 20.0
# Direction of each bone, from parent to joint, in a T-pose that faces +z; left is +x.
_REST_DIRECTIONS: Mapping[str, tuple[float, float, float]] = {
    "left_hip": (0.6, -0.8, 0.0),
    "right_hip": (-0.6, -0.8, 0.0),
    "left_foot": (0.1, -0.4, 0.9),
    "right_foot": (-0.1, -0.4, 0.9),
    "left_knee": (0.0, -1.0, 0.0),
    "right_knee": (0.0, -1.0, 0.0),
    "left_ankle": (0.0, -1.0, 0.0),
    "right_ankle": (0.0, -1.0, 0.0),
    "left_collar": (0.5, 0.85, 0.0),
    "right_collar": (-0.5, 0.85, 0.0),
}


def _rest_offsets() -> np.ndarray:
    """(J, 3) meters from parent to joint in the T-pose, on the mean SMPL bone lengths."""
    lengths = smpl_mean_bone_lengths()
    offsets = np.zeros((SMPL22.num_joints, 3))
    for joint, name in enumerate(SMPL22.joint_names):
        side = 1.0 if name.startswith("left") else -1.0
        default = (side, 0.0, 0.0) if name.endswith(("shoulder", "elbow", "wrist")) else (0.0, 1.0, 0.0)
        direction = np.array(_REST_DIRECTIONS.get(name, default))
        offsets[joint] = direction / np.linalg.norm(direction) * lengths[joint]
    return offsets


def _rotation(axis: int, angle: np.ndarray) -> np.ndarray:
    """(L, 3, 3) rotation about x, y or z by (L,) radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.tile(np.eye(3), (len(angle), 1, 1))
    matrix[:, a, a], matrix[:, b, b], matrix[:, a, b], matrix[:, b, a] = cos, cos, -sin, sin
    return matrix


def synthetic_joints(content: str, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A clip of one content.

    Args:
        content: one of `CONTENTS`.
        num_frames: L, at 20 frames per second.
        rng: draws speed, size and rhythm, and the heading of the first frame.

    Returns:
        (L, 22, 3) float32 meters, y up, lowest joint at y = 0.
    """
    if content not in CONTENTS:
        raise ValueError(f"Unknown synthetic content '{content}'; known: {CONTENTS}.")
    seconds = np.arange(num_frames) / FPS
    progress = np.linspace(0.0, 1.0, num_frames)
    heading = np.full(num_frames, rng.uniform(-np.pi, np.pi))
    rotations: dict[str, np.ndarray] = {}
    speed = 0.0
    if content.startswith(("walk", "run")):
        speed = {"run": 2.5, "walk-back": -0.8}.get(content, 1.1) * rng.uniform(0.85, 1.15)
        rotations = _gait(seconds, speed, rng.uniform(0, 2 * np.pi))
        if content.startswith("walk-turn"):
            turn = np.pi / 2 * (1 if content.endswith("left") else -1)
            heading = heading + turn / (1 + np.exp(-12 * (progress - 0.5)))
    else:
        rotations = _standing_gesture(content, seconds, progress, rng)
    travel = speed * np.stack([np.sin(heading), np.zeros(num_frames), np.cos(heading)], axis=-1) / FPS
    root = np.cumsum(travel, axis=0) - travel[0]
    joints = _pose(rotations, heading, root)
    joints[..., 1] -= joints[..., 1].min()
    return joints.astype(np.float32)


def _arms_down(num_frames: int) -> dict[str, np.ndarray]:
    down = np.full(num_frames, 1.35)  # radians from the T-pose
    return {"left_shoulder": _rotation(2, -down), "right_shoulder": _rotation(2, down)}


def _gait(seconds: np.ndarray, speed: float, phase: float) -> dict[str, np.ndarray]:
    """Legs and arms swing in opposite phase; rhythm and reach grow with speed."""
    phase_now = phase + np.sign(speed) * 2 * np.pi * (0.6 + 0.3 * abs(speed)) * seconds
    reach = 0.25 + 0.18 * abs(speed)
    rotations = _arms_down(len(seconds))
    for side, shift in (("left", 0.0), ("right", np.pi)):
        swing = np.sin(phase_now + shift)
        # About +x a positive angle takes a hanging limb backwards.
        rotations[f"{side}_hip"] = _rotation(0, -reach * swing)
        rotations[f"{side}_knee"] = _rotation(0, reach * (1 + np.cos(phase_now + shift)))
        rotations[f"{side}_shoulder"] = _rotation(0, 0.8 * reach * swing) @ rotations[f"{side}_shoulder"]
        rotations[f"{side}_elbow"] = _rotation(1, np.full(len(seconds), -0.4 if side == "left" else 0.4))
    return rotations


def _standing_gesture(
    content: str, seconds: np.ndarray, progress: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    rotations = _arms_down(len(seconds))
    once = np.sin(np.pi * progress) ** 2  # up and down again
    if content == "bow":
        rotations["spine1"] = _rotation(0, rng.uniform(0.8, 1.1) * once)
        return rotations
    held = np.clip(np.minimum(progress, 1 - progress) * 5, 0, 1)  # up, stay, down
    is_wave = content.startswith("wave")
    for side, sign in (("left", 1.0), ("right", -1.0)):
        if side not in content and "both" not in content:
            continue
        lift = -1.35 + (2.0 if is_wave else 2.7) * (held if is_wave else once) * rng.uniform(0.9, 1.05)
        rotations[f"{side}_shoulder"] = _rotation(2, sign * lift)
        if is_wave:
            wave = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1.2, 1.8) * seconds)
            rotations[f"{side}_elbow"] = _rotation(2, sign * wave * held)
    return rotations


def _pose(rotations: Mapping[str, np.ndarray], heading: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(L, J, 3) positions from local rotations by joint name; the rotation of a joint applies to its descendants."""
    offsets = _rest_offsets()
    joints = np.zeros((len(root), SMPL22.num_joints, 3))
    turns = np.zeros((SMPL22.num_joints, len(root), 3, 3))
    for joint, (name, parent) in enumerate(zip(SMPL22.joint_names, SMPL22.parents, strict=True)):
        if parent < 0:
            turns[joint], joints[:, joint] = _rotation(1, heading), root
            continue
        joints[:, joint] = joints[:, parent] + turns[parent] @ offsets[joint]
        turns[joint] = turns[parent] @ rotations[name] if name in rotations else turns[parent]
    return joints
