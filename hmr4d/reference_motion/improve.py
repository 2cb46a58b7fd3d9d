"""Optional corrections of a clip before its conversion: smoothing and foot lock."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.motion.foot_lock import plant_feet
from hmr4d.motion.pose_following import follow_pose
from hmr4d.motion.rigid_motion import pose_motion
from hmr4d.motion.temporal_smoothing import smooth_motion
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.rest_joints import derived_rest_joints


def smoothed(clip: ReferenceClip) -> ReferenceClip:
    """A clip with less noise; fast movements such as claps are preserved, see `temporal_smoothing.smooth_motion`."""
    joints3d = clip.motion.joints3d.double()
    return _following(clip, torch.from_numpy(smooth_motion(joints3d.numpy(), fps=clip.motion.fps)))


def with_locked_feet(clip: ReferenceClip) -> ReferenceClip:
    """A clip whose standing feet neither slide nor sink, see `foot_lock.plant_feet`; legs and root follow."""
    joints3d = clip.motion.joints3d.double()
    return _following(clip, torch.from_numpy(plant_feet(joints3d.numpy(), fps=clip.motion.fps)))


def _following(clip: ReferenceClip, joints3d: Tensor) -> ReferenceClip:
    """The clip with the body fitted to joints (L, 22, 3), meters."""
    motion = clip.motion
    pose = motion.pose if motion.pose is not None else pose_motion(motion, derived_rest_joints()).pose
    pose = follow_pose(pose, joints3d)
    return replace(clip, motion=replace(motion, joints3d=pose.joints(), pose=pose, views=None))
