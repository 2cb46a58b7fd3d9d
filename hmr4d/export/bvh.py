"""BVH: a skeleton of constant bones and its joint rotations as text; most animation programs open it.

The format has no comments. The metadata go into the file `<name>.bvh.json` next to it.
"""

from __future__ import annotations

import math
import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import Skeleton
from hmr4d.export.posing import FRAMES_PER_BLOCK, check_has_rest_pose, motion_metadata, residual_metadata, warn_if_off
from hmr4d.export.text_rows import write_rows
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import RigidMotion, pose_motion
from hmr4d.motion_files.bone_names import OWN_NAMES, bone_names
from hmr4d.motion_files.side_files import side_file
from hmr4d.utils.files import atomic_path, write_json

UNITS = {"m": ("metres", 1.0, 5), "cm": ("centimetres", 100.0, 3)}  # name, units per meter, decimals of positions
_ANGLE_DECIMALS = 4  # degrees
_TIPS = {"head": 0.18, "wrist": 0.17, "foot": 0.07}  # meters; length of the end sites beyond the last joints
_ROTATIONS = "Zrotation Xrotation Yrotation"
_POSITIONS = "Xposition Yposition Zposition"


def write_bvh(path: str | os.PathLike[str], motion: Motion, *, bones: str = OWN_NAMES, units: str = "m") -> RigidMotion:
    """Writes one motion and its metadata file, both atomically.

    Args:
        path: file to write.
        motion: motion of SMPL-22 joints. The file contains its pose or, without one, rotations solved by inverse
            kinematics.
        bones: names of the joints: "smpl", "mixamo", "unreal" or "unity".
        units: length unit of the file, "m" or "cm".

    Returns:
        The pose in the file, with the distance of its joints from the given ones (`mean`, `largest`).

    Raises:
        ValueError: the motion is invalid, or names or units are unknown.
        OSError: a file cannot be written.
    """
    check_has_rest_pose(motion, "BVH")
    skeleton, fps, names = motion.skeleton, motion.fps, bone_names(bones, motion.skeleton)
    if units not in UNITS:
        raise ValueError(f"Unknown units '{units}'; known: {', '.join(UNITS)}.")
    unit, per_meter, decimals = UNITS[units]
    metadata = motion_metadata(motion, units=unit)
    rigid = pose_motion(motion, load_body().rest_joints)
    pose = rigid.pose
    rest = pose.rest_joints.double()
    order = _depth_first(skeleton)
    columns = [decimals] * 3 + [_ANGLE_DECIMALS] * 3 * len(order)
    before: NDArray[np.float64] | None = None
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(_hierarchy(rest.numpy() * per_meter, names, skeleton, per_meter))
            stream.write(f"MOTION\nFrames: {motion.num_frames}\nFrame Time: {1 / fps:.9f}\n")
            for rotations, translation in zip(
                *(x.split(FRAMES_PER_BLOCK) for x in (pose.rotations, pose.translation)), strict=True
            ):
                angles = continued(euler_zxy(rotations[:, order].double()).numpy(), before)
                before = angles[-1]
                roots = (translation + rest[0]).numpy() * per_meter
                rows = np.concatenate([roots, np.degrees(angles).reshape(len(angles), -1)], 1)
                write_rows(stream, rows, columns, " ")
        write_json(side_file(path), {**metadata, "bones": bones, "residual": residual_metadata(rigid)})
    warn_if_off(path, rigid, motion)
    return rigid


def euler_zxy(rotations: Tensor) -> Tensor:
    """Angles (..., 3) = z, x, y in radians with R = Rz Rx Ry and |x| <= pi / 2; also exact in gimbal lock."""
    R = rotations
    z = torch.atan2(-R[..., 0, 1], R[..., 1, 1])
    x = torch.atan2(R[..., 2, 1], torch.hypot(R[..., 2, 0], R[..., 2, 2]))
    cosine, sine = z.cos(), z.sin()  # y from Rz^T R = Rx Ry, which is well conditioned at any x
    y = torch.atan2(cosine * R[..., 0, 2] + sine * R[..., 1, 2], cosine * R[..., 0, 0] + sine * R[..., 1, 0])
    return torch.stack([z, x, y], -1)


def continued(angles: NDArray[np.float64], before: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """The same rotations with angles that are continuous over frames, so that programs can interpolate them.

    (z, x, y) and (z + 180 degrees, 180 degrees - x, y + 180 degrees) are the same rotation, and so are angles plus full
    turns.

    Args:
        angles: (L, J, 3) radians: z, x, y.
        before: (J, 3) angles of the frame before the first one; None: there is no such frame.
    """
    if before is not None:
        angles = np.concatenate([before[None], angles])
    other = np.stack([angles[..., 0] + math.pi, math.pi - angles[..., 1], angles[..., 2] + math.pi], -1)
    here, there = (np.abs(_wrapped(a[1:] - angles[:-1])).sum(-1) for a in (angles, other))
    switched = np.cumsum(there < here, axis=0) % 2 == 1  # (L - 1, J); two switches cancel
    angles[1:] = np.where(switched[..., None], other[1:], angles[1:])
    angles = np.unwrap(angles, axis=0)
    return angles if before is None else angles[1:]


def _wrapped(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles wrapped to [-pi, pi)."""
    return (angles + math.pi) % (2 * math.pi) - math.pi


def _depth_first(skeleton: Skeleton) -> list[int]:
    """Joint indices in depth-first order, the order of a BVH file."""
    order: list[int] = []
    stack = [skeleton.parents.index(-1)]
    while stack:
        order.append(stack.pop())
        stack += [c for c, p in reversed(list(enumerate(skeleton.parents))) if p == order[-1]]
    return order


def _hierarchy(rest: NDArray[np.float64], names: tuple[str, ...], skeleton: Skeleton, per_meter: float) -> str:
    """The HIERARCHY section for rest joints (J, 3) in the units of the file.

    The OFFSET of the root is zero, because some readers add the position channels to it and others replace it.
    """
    lines = ["HIERARCHY"]

    def block(head: str, offset: NDArray[np.float64], channels: str, depth: int) -> None:
        indent = "  " * depth
        x, y, z = np.round(offset, 6) + 0.0
        lines.extend([f"{indent}{head}", f"{indent}{{", f"{indent}  OFFSET {x:.6f} {y:.6f} {z:.6f}"])
        if channels:
            lines.append(f"{indent}  CHANNELS {len(channels.split())} {channels}")

    def add(joint: int, depth: int) -> None:
        parent = skeleton.parents[joint]
        is_root = parent < 0
        offset = np.zeros(3) if is_root else rest[joint] - rest[parent]
        channels = f"{_POSITIONS} {_ROTATIONS}" if is_root else _ROTATIONS
        block(f"{'ROOT' if is_root else 'JOINT'} {names[joint]}", offset, channels, depth)
        children = [c for c, p in enumerate(skeleton.parents) if p == joint]
        for child in children:
            add(child, depth + 1)
        if not children:
            length = np.linalg.norm(offset)
            tip = per_meter * _TIPS.get(skeleton.joint_names[joint].split("_")[-1], 0.1)
            direction = offset / length if length > 0 else np.array([0.0, 1.0, 0.0])
            block("End Site", direction * tip, "", depth + 1)
            lines.append("  " * (depth + 1) + "}")
        lines.append("  " * depth + "}")

    add(skeleton.parents.index(-1), 0)
    return "\n".join(lines) + "\n"
