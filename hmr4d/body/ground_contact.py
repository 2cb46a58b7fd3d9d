"""Feet on the floor: where they stand in a motion, and where a picture shows them standing."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import GROUND_PARTS, Skeleton
from hmr4d.geometry.rigs import Rig, normalise
from hmr4d.utils.precision import full_precision

# Metres over the floor of the joints of a standing foot.
RESTING_HEIGHTS = {"ankle": 0.08, "foot": 0.02, "heel": 0.03, "big_toe": 0.02, "small_toe": 0.02}
RESTING_QUANTILE = 0.05  # of a joint's heights over the clip: its own resting height
CONTACT_MARGIN = 0.03  # metres above it
CONTACT_SPEED = 0.5  # metres per second along the floor
LEAST_FALL = 0.02  # metres per metre that a ray falls at least; flatter ones end anywhere


def resting_heights(skeleton: Skeleton) -> tuple[float, ...]:
    """Metres over the floor of the contact joints of a skeleton while the foot stands, in their order."""
    names = [skeleton.joint_names[joint] for joint in skeleton.contact_joints]
    return tuple(next(RESTING_HEIGHTS[part] for part in GROUND_PARTS if name.endswith(part)) for name in names)


def standing_joints(joints3d: Tensor, *, fps: float, skeleton: Skeleton) -> Tensor:
    """(L, C) bool: which contact joints of the skeleton rest on the floor.

    A joint rests where it is at most CONTACT_MARGIN above the 5 % quantile of its own heights over the clip and moves
    less than CONTACT_SPEED along the floor, by the mean of the steps before and after.

    Args:
        joints3d: (L, J, 3) metres, y up.
        fps: frames per second.
        skeleton: joint meaning.
    """
    feet = joints3d[:, list(skeleton.contact_joints)]
    height = feet[..., 1]
    low = height <= height.quantile(RESTING_QUANTILE, dim=0) + CONTACT_MARGIN
    if len(feet) == 1:
        return low
    steps = (feet[1:] - feet[:-1])[..., [0, 2]].norm(dim=-1)
    around = (torch.cat([steps[:1], steps]) + torch.cat([steps, steps[-1:]])) / 2
    return low & (around * fps < CONTACT_SPEED)


@full_precision
def feet_on_floor(rig: Rig, kp2d: Tensor, conf: Tensor, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Where the lowest foot joint of every frame would stand, by its ray and its resting height.

    The lowest joint is the one whose ray falls most. In the air this is too far away: take a median over time.

    Args:
        rig: view 0 is the camera of the pixels, in its own world.
        kp2d: (L, J, 2) undistorted pixels.
        conf: (L, J) 0 for missing.
        skeleton: joint meaning.

    Returns:
        points (L, 3) metres, and found (L,) bool: a contact joint was seen, well below the horizon.
    """
    joints = list(skeleton.contact_joints)
    camera = rig.select([0])
    rays = normalise(camera, kp2d[None, :, joints].to(rig.K4))[0]
    rays = torch.cat([rays, torch.ones_like(rays[..., :1])], -1) @ camera.T_w2c[0, :3, :3]  # (L, C, 3) in the world
    fall = torch.where(conf[:, joints] > 0, -rays[..., 1] / rays.norm(dim=-1), -torch.inf)
    most, lowest = fall.max(-1)
    ray = rays.gather(1, lowest[:, None, None].expand(-1, 1, 3))[:, 0]
    height = rays.new_tensor(resting_heights(skeleton))[lowest]
    found = most > LEAST_FALL
    length = (camera.centres[0, 1] - height) / torch.where(found, -ray[:, 1], torch.ones_like(most))
    points = camera.centres[0] + length[:, None] * ray
    return torch.where(found[:, None], points, torch.zeros_like(points)), found
