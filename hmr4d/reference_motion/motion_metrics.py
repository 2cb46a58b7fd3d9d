"""All MBench metrics that can be computed for a motion file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from hmr4d.body.body_model import Body
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_files import FAMILIES
from hmr4d.geometry.cameras import rigid
from hmr4d.metrics.mbench import Metric, axis_index, joint_metrics
from hmr4d.metrics.pose_quality import PoseDistance, load_pose_distance, pose_quality
from hmr4d.metrics.self_intersection import body_penetration
from hmr4d.motion.canonical import transformed
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import pose_motion
from hmr4d.motion.skinning import drive_body
from hmr4d.reference_motion.joint_files import load_joints
from hmr4d.reference_motion.rest_joints import derived_rest_joints
from hmr4d.reference_motion.video_camera import Z_UP_TO_Y_UP

POSE_QUALITY, PENETRATION = "Pose_Quality", "Body_Penetration"


@dataclass(frozen=True)
class MetricSet:
    """The settings of the metrics.

    Attributes:
        height_axis: a key of `mbench.HEIGHT_AXES`.
        network: network of pose quality; None: not measured.
        body: body whose mesh is tested for self-penetration; None: not measured.
        penetration_fps: tested frames per second.
    """

    height_axis: str = "y"
    network: PoseDistance | None = None
    body: Body | None = None
    penetration_fps: float = 2.0

    @staticmethod
    def load(
        height_axis: str,
        *,
        network: Path | None = None,
        config: Path | None = None,
        body: str | None = None,
        body_models: Path | None = None,
        penetration_fps: float = 2.0,
    ) -> MetricSet:
        """The set for a network in files and a body by name, a licensed one from the folder `body_models`.

        Raises:
            ValueError: the axis or body is unknown, the rate is not positive, or only one file of the network is given.
            FileNotFoundError: a file is missing.
        """
        axis_index(height_axis)
        if not penetration_fps > 0:
            raise ValueError(f"The rate for body penetration is {penetration_fps}; expected a positive number.")
        if (network is None) != (config is None):
            raise ValueError("The pose network needs both its checkpoint and its configuration. Give both files.")
        model = None if network is None or config is None else load_pose_distance(network, config)
        options = {"folder": body_models} if body in FAMILIES and body_models is not None else {}
        return MetricSet(height_axis, model, None if body is None else load_body(body, **options), penetration_fps)

    @property
    def not_measured(self) -> dict[str, str]:
        """Unavailable metrics of the benchmark -> their requirements."""
        reasons: dict[str, str] = {}
        if self.network is None:
            reasons[POSE_QUALITY] = "needs the published pose network (NRDF): its checkpoint and its configuration"
        if self.body is None:
            reasons[PENETRATION] = "needs a body model; published values use SMPL"
        return reasons

    def measure(self, path: Path, *, fps: float | None = None) -> tuple[float, dict[str, Metric]]:
        """Frame rate and metrics of a file; arguments and errors as for `load_joints`."""
        joints, rate, motion = load_joints(path, fps=fps)
        try:
            metrics = joint_metrics(joints, rate, self.height_axis)
            if self.network is None and self.body is None:
                return rate, metrics
            if motion is None:
                motion = Motion(torch.as_tensor(joints, dtype=torch.float32), rate)
                if self.height_axis == "z":
                    motion = transformed(motion, rigid(torch.tensor(Z_UP_TO_Y_UP), torch.zeros(3)))
            return rate, metrics | self._of_bodies(motion)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _of_bodies(self, motion: Motion) -> dict[str, Metric]:
        """Metrics of a motion with y up that need a pose or a mesh."""
        metrics: dict[str, Metric] = {}
        if self.network is not None:
            if motion.skeleton.name != SMPL22.name:
                raise ValueError(f"pose quality needs '{SMPL22.name}' joints, not '{motion.skeleton.name}'.")
            rotations = pose_motion(motion, derived_rest_joints()).pose.rotations
            legacy = self.height_axis == "legacy"
            value = pose_quality(self.network, rotations, legacy=legacy)
            metrics[POSE_QUALITY] = Metric(value, value, "10 x distance")
        if self.body is not None:
            step = max(round(motion.fps / self.penetration_fps), 1)
            posed = drive_body(motion, self.body)
            meshes = (mesh.numpy() for number, mesh in enumerate(posed.meshes()) if number % step == 0)
            value = body_penetration(meshes, posed.body.faces.numpy())
            metrics[PENETRATION] = Metric(value, value, f"% of triangles of {self.body.name}")
        return metrics
