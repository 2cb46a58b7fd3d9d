"""The file of a lifted motion: a motion file with camera and additional data per joint (docs/lift.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.geometry.cameras import world_to_camera
from hmr4d.geometry.rigs import Rig
from hmr4d.metrics.lift_checks import LiftCheck, doubts
from hmr4d.motion.confidence import confidence_of
from hmr4d.motion.motion import Motion

LIFT_VERSION = 1
# Standard deviations: 90 % of the errors are below 1.645 sigma. Of the distance to the true joint, and of its
# components.
SIGMAS = ("sigma", "sigma_along", "sigma_across")
WORLD = (
    "right-handed, meters, y up, floor y = 0; the origin is the foot of the vertical through the camera's optical "
    "center; the camera heads to -z, +x is to its right. Cameras: x right, y down, z forward, x_c = T_w2c x."
)


@dataclass(frozen=True)
class LiftedPerson:
    """One lifted motion with its input and the checks of the result.

    Attributes:
        motion: lifted motion, coordinates as described by WORLD. Its views contain the rig (view 0 is the real camera),
            its provenance the seed.
        person: number of the person.
        method: lifting method.
        residual: (L, J) meters, disagreement of the views of a joint; zero for methods with one view.
        spread: (L, J) meters, spread of the samples; zero for one sample.
        contacts: (L, C) bool, whether the skeleton's contact joints rest on the floor.
        kp2d, kp2d_conf: lifted keypoints (L, J, 2), undistorted pixels, and their confidence (L, J).
        frame_ids: (L,) frame numbers in the keypoint file; fractional after resampling.
        times: (L,) time stamps of the video, seconds; None: frames are 1 / fps apart.
        checks: results of the quality checks.
        sigma: name in SIGMAS -> (L, J) meters; empty if the method does not estimate its errors.
    """

    motion: Motion
    person: str
    method: str
    residual: NDArray[np.float32]
    spread: NDArray[np.float32]
    contacts: NDArray[np.bool_]
    kp2d: NDArray[np.float32]
    kp2d_conf: NDArray[np.float32]
    frame_ids: NDArray[Any]
    times: NDArray[np.float64] | None = None
    checks: tuple[LiftCheck, ...] = ()
    sigma: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """ "fine", or "doubtful" if a check fails."""
        return "doubtful" if doubts(self.checks) else "fine"

    @property
    def root(self) -> NDArray[np.float32]:
        """(L, 3) meters, world: root joint, or midpoint of the hips."""
        return self.motion.array()[:, list(self.motion.skeleton.root_joints)].mean(1)

    @property
    def rig(self) -> Rig:
        """The V cameras. Raises ValueError if the motion has none."""
        if self.motion.views is None or self.motion.views.rig is None:
            raise ValueError("A lifted motion needs views with cameras; this one has none. Set motion.views.")
        return self.motion.views.rig

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(L, J) in [0, 1]; NaN if the method does not estimate its errors."""
        if self.motion.uncertainty is None:
            return np.full(self.kp2d_conf.shape, np.nan, np.float32)
        return confidence_of(self.motion.uncertainty).float().numpy()


def lift_arrays(lifted: LiftedPerson) -> dict[str, Any]:
    """Additional entries of the file of a lifted motion, for `save_motion_npz`."""
    motion, rig = lifted.motion, lifted.rig
    joints_world = motion.array()
    flat = torch.from_numpy(joints_world).flatten(0, 1)
    joints_cam = world_to_camera(flat, rig.T_w2c[0].to(flat)).unflatten(0, joints_world.shape[:2]).numpy()
    size, K4, T_w2c = (x.double().numpy() for x in (rig.size, rig.K4, rig.T_w2c))
    names = [motion.skeleton.joint_names[joint] for joint in motion.skeleton.contact_joints]
    arrays: dict[str, Any] = {
        "lift_version": np.int64(LIFT_VERSION),
        "joints_world": joints_world,
        "joints_cam": joints_cam,
        "root": lifted.root,
        "confidence": lifted.confidence,
        "residual": lifted.residual,
        "spread": lifted.spread,
        "contacts": lifted.contacts,
        "contact_joints": np.array(names),
        "kp2d": lifted.kp2d,
        "kp2d_conf": lifted.kp2d_conf,
        "frame_ids": lifted.frame_ids,
        "camera_size": size[0],
        "camera_K4": K4[0],
        "camera_T_w2c": T_w2c[0],
        "rig_size": size,
        "rig_K4": K4,
        "rig_T_w2c": T_w2c,
        "world": np.str_(WORLD),
        "person": np.str_(lifted.person),
        "seed": np.int64(motion.provenance.seed or 0),
        "method": np.str_(lifted.method),
        "verdict": np.str_(lifted.verdict),
        "doubts": np.array([c.name for c in doubts(lifted.checks)], dtype=np.str_),
    }
    if lifted.times is not None:
        arrays["times"] = lifted.times
    return arrays | {key: value.astype(np.float32) for key, value in lifted.sigma.items()}


def verdict_metadata(lifted: LiftedPerson) -> dict[str, Any]:
    """The verdict and the quality checks, for the provenance of the motion."""
    checks = {
        c.name: {"value": c.value if isfinite(c.value) else None, "limit": c.limit, "is_fine": c.is_fine}
        for c in lifted.checks
    }
    return {"verdict": lifted.verdict, "checks": checks}
