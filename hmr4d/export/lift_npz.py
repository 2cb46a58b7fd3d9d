"""The file of a lifted motion: a motion file with the camera and what is known about every joint (docs/lift.md)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton
from hmr4d.export.motion_npz import MOTION_VERSION, checked_fps, checked_joints3d, json_text
from hmr4d.metrics.lift_checks import LiftCheck, doubts
from hmr4d.utils.files import atomic_path

LIFT_VERSION = 1
WORLD = (
    "right-handed, metres, y up, floor y = 0; the origin is the foot of the vertical through the camera's optical "
    "centre; the camera heads to -z, +x is to its right. Cameras: x right, y down, z forward, x_c = T_w2c x."
)


@dataclass(frozen=True)
class LiftedMotion:
    """One lifted motion.

    Attributes:
        joints_world: (L, J, 3) metres, in the world of WORLD.
        joints_cam: (L, J, 3) metres, in the frame of the camera.
        confidence: (L, J) in [0, 1]; NaN where the method says nothing about its errors.
        residual: (L, J) metres, how far the views of a joint disagree; zero where the method has one view.
        spread: (L, J) metres, how far samples lie apart; zero for one sample.
        contacts: (L, C) bool, contact joints of the skeleton that rest on the floor.
        kp2d, kp2d_conf: (L, J, 2) undistorted pixels and (L, J), what was lifted.
        frame_ids: (L,) frames of the keypoint file; fractions where the rate was changed.
        size: (V, 2), K4: (V, 4), T_w2c: (V, 4, 4) the rig; view 0 is the real camera.
        fps, skeleton, person, seed: of the motion.
        method: how it was made.
        times: (L,) seconds of the frames, as the video says; None: frames are 1 / fps apart.
        checks: what its own result says of it.
    """

    joints_world: NDArray[np.float32]
    joints_cam: NDArray[np.float32]
    confidence: NDArray[np.float32]
    residual: NDArray[np.float32]
    spread: NDArray[np.float32]
    contacts: NDArray[np.bool_]
    kp2d: NDArray[np.float32]
    kp2d_conf: NDArray[np.float32]
    frame_ids: NDArray[Any]
    size: NDArray[np.float64]
    K4: NDArray[np.float64]
    T_w2c: NDArray[np.float64]
    fps: float
    skeleton: Skeleton
    person: str
    seed: int
    method: str
    times: NDArray[np.float64] | None = None
    checks: tuple[LiftCheck, ...] = ()

    @property
    def verdict(self) -> str:
        """ "fine", or "doubtful" where a check is not fine."""
        return "doubtful" if doubts(self.checks) else "fine"

    @property
    def root(self) -> NDArray[np.float32]:
        """(L, 3) metres, world: the root joint, or the middle of both hips."""
        return self.joints_world[:, list(self.skeleton.root_joints)].mean(1)


def save_lift_npz(
    path: str | os.PathLike[str], motion: LiftedMotion, *, text: str = "", metadata: dict[str, Any] | None = None
) -> None:
    """Writes one motion atomically; `load_motion_npz` reads it as a motion file, NumPy reads the rest.

    Args:
        path: file to write.
        motion: what was lifted.
        text: what the motion shows.
        metadata: JSON object to keep with it.

    Raises:
        ValueError: joints that are not finite, or metadata that JSON cannot hold.
    """
    joints_world = checked_joints3d(motion.joints_world, motion.skeleton)
    names = [motion.skeleton.joint_names[joint] for joint in motion.skeleton.contact_joints]
    checks = {c.name: {"value": c.value if isfinite(c.value) else None, "limit": c.limit, "is_fine": c.is_fine}
              for c in motion.checks}  # fmt: skip
    metadata = {**(metadata or {}), "verdict": motion.verdict, "checks": checks}
    arrays: dict[str, Any] = {
        "joints3d": joints_world, "fps": np.float64(checked_fps(motion.fps)), "skeleton": np.str_(motion.skeleton.name),
        "text": np.str_(text), "version": np.int64(MOTION_VERSION), "metadata": np.str_(json_text(metadata)),
        "lift_version": np.int64(LIFT_VERSION), "joints_world": joints_world, "joints_cam": motion.joints_cam,
        "root": motion.root, "confidence": motion.confidence, "residual": motion.residual, "spread": motion.spread,
        "contacts": motion.contacts, "contact_joints": np.array(names), "kp2d": motion.kp2d,
        "kp2d_conf": motion.kp2d_conf, "frame_ids": motion.frame_ids, "camera_size": motion.size[0],
        "camera_K4": motion.K4[0], "camera_T_w2c": motion.T_w2c[0], "rig_size": motion.size, "rig_K4": motion.K4,
        "rig_T_w2c": motion.T_w2c, "world": np.str_(WORLD), "person": np.str_(motion.person),
        "seed": np.int64(motion.seed), "method": np.str_(motion.method),
        "verdict": np.str_(motion.verdict), "doubts": np.array([c.name for c in doubts(motion.checks)], dtype=np.str_),
    }  # fmt: skip
    if motion.times is not None:
        arrays["times"] = motion.times
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
