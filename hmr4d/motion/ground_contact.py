"""Foot contact: which foot joints of a motion stand on the floor, and their standing heights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from hmr4d.body.skeleton import Skeleton

RESTING_QUANTILE = 0.05  # of a joint's heights over the clip: its own resting height
# Wide enough for slightly noisy motion such as lifted motion: swinging feet are faster and higher.
CONTACT_MARGIN = 0.1  # meters above it
CONTACT_SPEED = 0.6  # meters per second along the floor
SMOOTHING = 0.1  # seconds, standard deviation
REST_HEIGHTS = {"ankle": 0.08, "heel": 0.03}  # meters over the floor of an adult's joints, standing
TOE_HEIGHT = 0.02  # meters, of all other foot joints
NEAREST_BAND = 0.6  # meters; a foot whose floor point is farther behind the nearest one is in the air


def rest_heights(skeleton: Skeleton, known: Mapping[str, float] | None = None) -> Tensor:
    """(J,) meters above the floor of the joints of a standing foot; 0 for all other joints.

    Args:
        skeleton: skeleton of the joints.
        known: heights by part of the foot from the joint convention (`joint_conventions.foot_heights`); other parts
            have the heights of an adult.
    """
    heights, known = torch.zeros(skeleton.num_joints), known or {}
    for joint in skeleton.contact_joints:
        part = skeleton.joint_names[joint].split("_", 1)[-1]
        heights[joint] = known.get(part, REST_HEIGHTS.get(part, TOE_HEIGHT))
    return heights


def standing_joints(joints3d: Tensor, *, fps: float, skeleton: Skeleton) -> Tensor:
    """(L, C) bool: whether each contact joint of the skeleton is on the floor.

    A joint, smoothed in time, is in contact if it is at most CONTACT_MARGIN above the 5 % quantile of its own heights
    over the clip and moves less than CONTACT_SPEED along the floor, by the mean of the steps before and after.

    Args:
        joints3d: (L, J, 3) meters, y up.
        fps: frames per second.
        skeleton: skeleton of the joints.
    """
    feet = joints3d[:, list(skeleton.contact_joints)]
    smoothed = gaussian_filter1d(feet.detach().cpu().numpy(), SMOOTHING * fps, axis=0, mode="nearest")
    feet = torch.from_numpy(smoothed).to(feet)
    height = feet[..., 1]
    low = height <= height.quantile(RESTING_QUANTILE, dim=0) + CONTACT_MARGIN
    if len(feet) == 1:
        return low
    steps = (feet[1:] - feet[:-1])[..., [0, 2]].norm(dim=-1)
    around = (torch.cat([steps[:1], steps]) + torch.cat([steps, steps[-1:]])) / 2
    return low & (around * fps < CONTACT_SPEED)
