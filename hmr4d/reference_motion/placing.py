"""Placement of clips in the world: leveled, on the floor, above the origin, facing +z."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.cameras import rigid
from hmr4d.geometry.rotations import quat_wxyz_between, quat_wxyz_to_matrix
from hmr4d.motion.canonical import facing_transform, transformed
from hmr4d.reference_motion.clip import ReferenceClip

STANDS = 0.25  # meters per second; slower feet may be in stance
SHORTEST = 0.15  # seconds; shortest stance
LOW = 0.15  # meters above the lower foot; higher feet are not in stance
FLOOR_ERROR = 0.03  # meters; standard deviation of the position of a standing foot
BODY_LEAN = 0.10  # radians; standard deviation of the mean lean of the torso
CAMERA_TILT = 0.35  # radians; standard deviation of the tilt of cameras
ROUNDS = 3  # iterations, because stances depend on the up direction and vice versa
LEAST_TILT = 0.5  # degrees; smaller tilts get no remark
FLOOR_QUANTILE = 0.2  # quantile of the heights of standing feet that defines the floor


def moved(clip: ReferenceClip, T_a2b: Tensor) -> ReferenceClip:
    """A clip with pose and camera transformed to another world by T_a2b (4, 4)."""
    camera = clip.camera and clip.camera.moved(T_a2b)
    return replace(clip, motion=transformed(clip.motion, T_a2b), camera=camera)


def placed(clip: ReferenceClip) -> ReferenceClip:
    """A clip moved so that it faces +z in its first frame, with the first root above the origin and the lowest joint
    on the floor."""
    T = facing_transform(clip.motion.joints3d[0].double())
    turned = clip.motion.joints3d.double() @ T[:3, :3].mT + T[:3, 3]
    T[1, 3] -= turned[..., 1].min()
    return moved(clip, T)


def leveled(clip: ReferenceClip) -> ReferenceClip:
    """A clip of a tilted camera, rotated so that y points against gravity, estimated from the body.

    The up direction u minimizes

        sum over stances (u . (p - mean p))^2 / FLOOR_ERROR^2 + |u - torso|^2 / BODY_LEAN^2 + |u - y|^2 / CAMERA_TILT^2,

    with the mean position p of a foot in a stance. The terms assume that standing feet lie on a level floor, torsos are
    upright on average, and cameras are nearly level. A clip in a level world is unchanged.
    """
    if clip.is_level:
        return clip
    joints3d = clip.motion.joints3d.double()
    up = torch.tensor([0.0, 1.0, 0.0]).double()
    torso = joints3d[:, SMPL22.index("neck")] - joints3d[:, 0]
    torso = (torso / torso.norm(dim=-1, keepdim=True)).mean(0)
    target = torso / BODY_LEAN**2 + up / CAMERA_TILT**2
    weight = torch.eye(3).double() * (1 / BODY_LEAN**2 + 1 / CAMERA_TILT**2)
    estimate, count = up, 0
    for _ in range(ROUNDS):
        places = standing_places(joints3d, clip.motion.fps, estimate)
        count = len(places)
        around = places - places.mean(0) if count else places
        estimate = torch.linalg.solve(around.mT @ around / FLOOR_ERROR**2 + weight, target)
        estimate = estimate / estimate.norm()
    R = quat_wxyz_to_matrix(quat_wxyz_between(estimate, up))
    degrees = float(torch.rad2deg(torch.acos((estimate @ up).clamp(-1, 1))))
    remark = f"The camera is tilted by {degrees:.1f} degrees, estimated from the torso and {count} stances; leveled."
    result = replace(moved(clip, rigid(R, torch.zeros(3).double())), is_level=True)
    return result if degrees < LEAST_TILT else replace(result, remarks=(*clip.remarks, remark))


def standing_places(joints3d: Tensor, fps: float, up: Tensor) -> Tensor:
    """Mean positions (S, 3) of the toe joints in stances, metres: slow and low for at least SHORTEST.

    Args:
        joints3d: (L, 22, 3) meters.
        fps: frames per second.
        up: (3,) unit vector.
    """
    toes = joints3d[:, list(SMPL22.indices("left_foot", "right_foot"))]
    if len(toes) < 2:
        return toes.new_zeros(0, 3)
    speed = toes.diff(dim=0).norm(dim=-1) * fps
    speed = torch.cat([speed, speed[-1:]])
    heights = toes @ up
    stands = (speed < STANDS) & (heights < heights.min(1, keepdim=True).values + LOW)
    places = []
    for foot in (0, 1):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], stands[:, foot].numpy(), [False]]).astype(int)))
        for start, stop in edges.reshape(-1, 2).tolist():
            if stop - start >= SHORTEST * fps:
                places.append(toes[start:stop, foot].mean(0))
    return torch.stack(places) if places else toes.new_zeros(0, 3)


def floor_height(joints3d: Tensor, fps: float) -> float:
    """Height of the floor under a motion (L, 22, 3), meters, y up: from its standing feet or, without any, its
    lowest joint."""
    heights = standing_places(joints3d.double(), fps, torch.tensor([0.0, 1.0, 0.0]).double())[:, 1]
    return float(heights.quantile(FLOOR_QUANTILE)) if len(heights) else float(joints3d[..., 1].min())
