"""The camera of the source video of a motion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmr4d.geometry.cameras import invert_rigid, rigid
from hmr4d.motion.pose_interpolation import interpolate_linearly, interpolate_rotations

# Each is its own inverse.
CAMERA_TO_Y_UP = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))  # half a turn about x
Z_UP_TO_Y_UP = ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))  # (-x, z, y)
LEFT_UP_TO_OPENCV = (-1.0, -1.0, 1.0)  # cameras of the 276 features have x left and y up


@dataclass(frozen=True, eq=False)
class VideoCamera:
    """The camera in every frame of a motion.

    Attributes:
        T_w2c: (L, 4, 4) from the world of the motion to the camera: x right, y down, z forward (OpenCV).
        K: (3, 3) intrinsics in pixels; None: unknown.
        size: width and height of the image in pixels; None: unknown.
    """

    T_w2c: Tensor
    K: Tensor | None = None
    size: tuple[int, int] | None = None

    @property
    def is_static(self) -> bool:
        """Whether the camera moves by at most a millimeter and the entries of its rotation change by at most 0.001."""
        return bool((self.T_w2c - self.T_w2c[:1]).abs().max() < 1e-3)

    def moved(self, T_a2b: Tensor) -> VideoCamera:
        """The same camera after the world is transformed by T_a2b (4, 4)."""
        return replace(self, T_w2c=(self.T_w2c.double() @ invert_rigid(T_a2b.double())).to(self.T_w2c))

    def at(self, times: Tensor) -> VideoCamera:
        """The camera interpolated at times (M,), in frames."""
        T_c2w = invert_rigid(self.T_w2c)
        R, center = interpolate_rotations(T_c2w[:, :3, :3], times), interpolate_linearly(T_c2w[:, :3, 3], times)
        return replace(self, T_w2c=invert_rigid(rigid(R, center)))


def pinhole(focal: float, width: float, height: float) -> Tensor:
    """Intrinsics (3, 3) of a camera with centered principal point, pixels."""
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def upright_camera(num_frames: int, K: Tensor | None = None, size: tuple[int, int] | None = None) -> VideoCamera:
    """A static level camera at the origin that looks along -z, y up; for motions in camera coordinates."""
    T_w2c = torch.eye(4)
    T_w2c[:3, :3] = torch.tensor(CAMERA_TO_Y_UP)
    return VideoCamera(T_w2c.expand(num_frames, 4, 4).clone(), K, size)
