"""Calibrated cameras over a flat floor: poses from angles, the world frame of the first camera, projection.

World: right-handed, y up, meters, floor y = 0. V0 stands above the origin and its axis, seen from above, heads to -z.
Camera: x right, y down, z forward (OpenCV). Pixels (u, v) go right and down, the middle of the first pixel is (0, 0).

With F = diag(1, -1, -1) and active right-handed turns, R_w2c = Rz(roll) Rx(pitch) F Ry(-yaw): pitch > 0 looks down,
roll > 0 rotates the image content clockwise, yaw is counter-clockwise seen from above, 0 for V0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmr4d.geometry.cameras import invert_rigid, project_pinhole, remove_intrinsics, rigid, world_to_camera
from hmr4d.utils.precision import full_precision

VERTICAL = 1e-6  # sine of the angle between axis and gravity, below which the axis has no heading
ORTHONORMAL = 1e-4  # entries of R R^T - 1 that still pass as rounding of a calibration file
HEIGHT_EPS = 1e-6  # meters; a camera nearer to the floor than this is on it
CONDITION_SIZES = {"paper": 7, "full": 11}
POSITION_UNIT = 10.0  # meters; unit of horizontal camera positions in network input


@dataclass(frozen=True)
class Rig:
    """V calibrated cameras in one world.

    Attributes:
        size: (..., V, 2) width and height of the images, pixels, float.
        K4: (..., V, 4) fx, fy, cx, cy in pixels.
        T_w2c: (..., V, 4, 4) world to camera.
    """

    size: Tensor
    K4: Tensor
    T_w2c: Tensor

    @property
    def num_views(self) -> int:
        return self.K4.shape[-2]

    @property
    def K(self) -> Tensor:
        """(..., V, 3, 3) intrinsic matrices."""
        return intrinsics(self.K4)

    @property
    def centers(self) -> Tensor:
        """(..., V, 3) optical centers in the world, meters."""
        return invert_rigid(self.T_w2c)[..., :3, 3]

    def to(self, target: torch.device | torch.dtype | str) -> Rig:
        """The same rig on a device or in a dtype."""
        return Rig(self.size.to(target), self.K4.to(target), self.T_w2c.to(target))

    def select(self, views: list[int] | Tensor | slice) -> Rig:
        """The rig of some of the views, in the given order."""
        return Rig(self.size[..., views, :], self.K4[..., views, :], self.T_w2c[..., views, :, :])


def intrinsics(K4: Tensor) -> Tensor:
    """(..., 3, 3) matrices of fx, fy, cx, cy (..., 4)."""
    K = K4.new_zeros(*K4.shape[:-1], 3, 3)
    K[..., 0, 0], K[..., 1, 1] = K4[..., 0], K4[..., 1]
    K[..., :2, 2] = K4[..., 2:]
    K[..., 2, 2] = 1.0
    return K


def camera_rotation(pitch: Tensor, roll: Tensor, yaw: Tensor) -> Tensor:
    """R_w2c (..., 3, 3) of angles in radians that broadcast."""
    pitch, roll, yaw = torch.broadcast_tensors(pitch, roll, yaw)
    flip = pitch.new_tensor([1.0, -1.0, -1.0])
    return _turn(roll, 2) @ (_turn(pitch, 0) * flip) @ _turn(-yaw, 1)


def camera_pose(pitch: Tensor, roll: Tensor, yaw: Tensor, center: Tensor) -> Tensor:
    """T_w2c (..., 4, 4) of angles (...,) in radians and an optical center (..., 3) in meters."""
    R = camera_rotation(pitch, roll, yaw)
    return rigid(R, -(R @ center[..., None])[..., 0])


def camera_angles(R_w2c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pitch, roll and yaw (...,) in radians of R_w2c (..., 3, 3): the inverse of `camera_rotation`.

    An axis along gravity has no heading: there the image's up direction gives the yaw, and the roll is 0 for a camera
    that looks straight down, pi for one that looks straight up.
    """
    up, forward, image_up = R_w2c[..., :, 1], R_w2c[..., 2, :], -R_w2c[..., 1, :]
    ux, uy, uz = up.unbind(-1)
    pitch = torch.atan2(-uz, torch.hypot(ux, uy))
    vertical = torch.hypot(forward[..., 0], forward[..., 2]) < VERTICAL
    heading = torch.where(vertical[..., None], image_up, forward)
    roll = torch.where(vertical, torch.where(uz > 0, torch.full_like(uz, torch.pi), 0.0), torch.atan2(ux, -uy))
    return pitch, roll, torch.atan2(-heading[..., 0], -heading[..., 2])


def canonicalise(T_w2c: Tensor, normal: Tensor, d: Tensor | float) -> tuple[Tensor, Tensor]:
    """Cameras of any calibration, transformed to the world frame of camera 0.

    Args:
        T_w2c: (V, 4, 4) from the frame of the calibration, meters.
        normal: (3,) normal of the floor n.X + d = 0 in that frame, of any length; it is flipped to the side of camera
            0.
        d: offset of the floor, in units of the normal's length.

    Returns:
        T_w2c (V, 4, 4) from the canonical world, and T_cal2world (4, 4) that moves points there.

    Raises:
        ValueError: a matrix is not a rigid transform, the normal is zero, or camera 0 lies on the floor.
    """
    T, n = T_w2c.double(), normal.double()
    offset = torch.as_tensor(d, dtype=torch.float64, device=T.device)
    _check_rigid(T)
    length = n.norm()
    if not length > 0:
        raise ValueError("The floor's normal is (0, 0, 0); expected the direction away from the floor.")
    n, offset = n / length, offset / length
    R0, center = T[0, :3, :3], invert_rigid(T[0])[:3, 3]
    height = n @ center + offset
    if not height.abs() > HEIGHT_EPS:
        raise ValueError(
            f"Camera 0 is {float(height):.2g} m from the floor; expected it above. "
            "Check the floor's plane and its unit."
        )
    n, height = n * height.sign(), height.abs()
    ahead = _flattened(R0[2], n)
    if ahead.norm() < VERTICAL:
        ahead = _flattened(-R0[1], n)
    back = -ahead / ahead.norm()
    Q = torch.stack([torch.linalg.cross(n, back), n, back])
    T_cal2world = rigid(Q, -Q @ (center - height * n))
    return (T @ invert_rigid(T_cal2world)).to(T_w2c.dtype), T_cal2world.to(T_w2c.dtype)


def condition_size(preset: str) -> int:
    """How many numbers `camera_condition` gives for a camera.

    Raises:
        ValueError: the preset is unknown.
    """
    if preset not in CONDITION_SIZES:
        raise ValueError(f"Unknown camera condition '{preset}'; known: {sorted(CONDITION_SIZES)}.")
    return CONDITION_SIZES[preset]


def camera_condition(rig: Rig, preset: str = "paper") -> Tensor:
    """Network input for each camera, (..., V, 7) or (..., V, 11).

    "paper" gives 2 fx / W, 2 fy / H, 2 cx / W - 1, 2 cy / H - 1, pitch, roll (radians) and height (meters). "full" adds
    sin(yaw), cos(yaw) and the horizontal position in tens of meters, without which the relation of the views is unknown
    if there are no pointmaps.

    Raises:
        ValueError: the preset is unknown.
    """
    condition_size(preset)  # refuses unknown presets
    pitch, roll, yaw = camera_angles(rig.T_w2c[..., :3, :3])
    x, height, z = rig.centers.unbind(-1)
    focal, center = 2 * rig.K4[..., :2] / rig.size, 2 * rig.K4[..., 2:] / rig.size - 1
    placement = [pitch, roll, height]
    if preset == "full":
        placement += [yaw.sin(), yaw.cos(), x / POSITION_UNIT, z / POSITION_UNIT]
    return torch.cat([focal, center, torch.stack(placement, -1)], -1)


def first_camera(condition: Tensor, size: Tensor) -> Rig:
    """V0 (..., 1, ...) from the values of `camera_condition`, for both presets.

    Args:
        condition: (..., 7 | 11) of V0.
        size: (..., 2) pixels.
    """
    focal, center = condition[..., :2] * size / 2, (condition[..., 2:4] + 1) * size / 2
    pitch, roll, height = condition[..., 4:7].unbind(-1)
    none = torch.zeros_like(height)
    T_w2c = camera_pose(pitch, roll, none, torch.stack([none, height, none], -1))
    return Rig(size[..., None, :], torch.cat([focal, center], -1)[..., None, :], T_w2c[..., None, :, :])


@full_precision
def _project(joints3d: Tensor, T_w2c: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    points_c = world_to_camera(joints3d.flatten(-3, -2)[..., None, :, :], T_w2c)
    pixels = project_pinhole(points_c, K)
    frames = joints3d.shape[-3:-1]
    return pixels.unflatten(-2, frames), points_c[..., 2].unflatten(-1, frames)


def project(rig: Rig, joints3d: Tensor) -> tuple[Tensor, Tensor]:
    """Projections of a motion to every view.

    Args:
        rig: V cameras.
        joints3d: (..., L, J, 3) meters, world of the rig; leading axes broadcast with the rig's.

    Returns: pixels (..., V, L, J, 2) and depths (..., V, L, J) in meters. The pixels of points behind a camera (depth
        <= 0) are undefined.
    """
    return _project(joints3d, rig.T_w2c, rig.K)


def normalize(rig: Rig, pixels: Tensor) -> Tensor:
    """Image coordinates at unit depth (..., V, L, J, 2) of pixels (..., V, L, J, 2): intrinsics removed."""
    return remove_intrinsics(pixels, rig.K[..., None, :, :])


def mirror_rig(rig: Rig) -> Rig:
    """The rig reflected in the plane x = 0: it sees the reflected motion at (W - 1 - u, v).

    Roll, yaw and the horizontal position of every camera change sign, and so does the principal point relative to the
    image center.
    """
    side = rig.T_w2c.new_tensor([-1.0, 1.0, 1.0, 1.0])
    K4 = rig.K4.clone()
    K4[..., 2] = rig.size[..., 0] - 1 - rig.K4[..., 2]
    return replace(rig, K4=K4, T_w2c=rig.T_w2c * side[:, None] * side)


def _turn(angle: Tensor, axis: int) -> Tensor:
    """Active right-handed rotation (..., 3, 3) about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R = torch.zeros(*angle.shape, 3, 3, dtype=angle.dtype, device=angle.device)
    R[..., axis, axis] = 1.0
    R[..., i, i] = R[..., j, j] = angle.cos()
    R[..., j, i] = angle.sin()
    R[..., i, j] = -R[..., j, i]
    return R


def _flattened(v: Tensor, n: Tensor) -> Tensor:
    return v - (v @ n) * n


def _check_rigid(T: Tensor) -> None:
    R = T[..., :3, :3]
    error = (R @ R.mT - torch.eye(3, dtype=R.dtype, device=R.device)).abs().amax((-1, -2))
    wrong = ~(error < ORTHONORMAL) | ~(torch.linalg.det(R) > 0)
    if wrong.any():
        raise ValueError(
            f"The rotations of cameras {wrong.nonzero()[:, 0].tolist()} are invalid: expected orthonormal matrices "
            "with "
            "determinant 1. Check for a scale, a reflection or a transposed file."
        )
