"""Clips in front of a camera, for the tests of reference motions."""

from __future__ import annotations

import torch

from hmr4d.body.pose import Pose
from hmr4d.motion.motion import Motion, Provenance
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.rest_joints import derived_rest_joints
from hmr4d.reference_motion.video_camera import pinhole, upright_camera
from hmr4d.utils import lazy_roma as roma


def posed_clip(num_frames: int = 12, fps: float = 20.0, *, with_camera: bool = True) -> ReferenceClip:
    """Somebody in front of a camera, who turns and moves a little in every joint."""
    time = torch.arange(num_frames)[:, None, None] / fps
    phase = torch.arange(22)[None, :, None] + torch.tensor([0.0, 1.0, 2.0])
    rotations = roma.rotvec_to_rotmat((0.3 * (4 * time + phase).sin()).double()).float()
    translation = torch.cat([0.5 * time[:, 0], 0.02 * (6 * time[:, 0]).sin(), -4 - 0.2 * time[:, 0]], -1)
    pose = Pose("smplx", rotations, translation, derived_rest_joints())
    camera = upright_camera(num_frames, pinhole(900.0, 640, 480), (640, 480)) if with_camera else None
    motion = Motion(pose.joints(), fps, text="a person sways", pose=pose, provenance=Provenance(model="x"))
    return ReferenceClip(motion, camera)
