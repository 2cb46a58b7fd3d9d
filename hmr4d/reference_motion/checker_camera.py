"""The camera of the check videos: that of the file, or one in front of the person.

Published cameras act on rows: X_camera = X_motion R + T, with x left, y up, z forward in the camera. All other cameras
here follow OpenCV: x right, y down, z forward.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmr4d.reference_motion.reference_file import ReferenceMotion
from hmr4d.reference_motion.video_camera import LEFT_UP_TO_OPENCV, Z_UP_TO_Y_UP, pinhole
from hmr4d.representation.rep276 import decode
from hmr4d.visualization.view_camera import PinholeView

logger = logging.getLogger(__name__)

FIELD_OF_VIEW = 55.0  # degrees along the longer side; default field of view
DISTANCE = 2.5  # meters; distance from the farthest position of the person
_FLESH = 0.25  # meters; margin around joints, for the top of the head and hands
_FROM_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
_FROM_Y_UP = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))


def default_focal(width: int, height: int) -> float:
    """Published default focal length of files without one, pixels."""
    return max(width, height) / (2 * math.tan(math.radians(FIELD_OF_VIEW / 2)))


def automatic_camera(
    pelvis: ArrayLike, *, up: str = "z", centered: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The published camera of motions without camera: R (3, 3) and T (3,) for rows.

    Its distance depends on the path of the pelvis.

    Args:
        pelvis: (L, 3) meters.
        up: up axis of the motion, "z" or "y".
        centered: place the camera at the height of the first pelvis instead of the floor.
    """
    if up not in ("y", "z"):
        raise ValueError(f"up is '{up}'; expected 'y' or 'z'.")
    path = np.asarray(pelvis, np.float64)
    height, ahead = (2, 1) if up == "z" else (1, 2)
    extent = np.ptp(path, axis=0)
    distance = DISTANCE + extent[0] + 2 * extent[height] + path[:, ahead].max()
    rotation = np.array(_FROM_Z_UP if up == "z" else _FROM_Y_UP)
    return rotation, np.array([0.0, -path[0, height] if centered else 0.0, distance])


def opencv_transform(R: ArrayLike, T: ArrayLike) -> NDArray[np.float64]:
    """Transform (4, 4) from the motion to an OpenCV camera, for a row camera R (3, 3), T (3,)."""
    flip = np.array(LEFT_UP_TO_OPENCV)
    transform = np.eye(4)
    transform[:3, :3] = flip[:, None] * np.asarray(R, np.float64).T
    transform[:3, 3] = flip * np.asarray(T, np.float64)
    return transform


def checking_views(
    reference: ReferenceMotion, *, size: tuple[int, int], video_size: tuple[int, int] | None = None
) -> list[PinholeView]:
    """The camera of every frame, in the world of `ReferenceMotion.motion`.

    Extrinsics and intrinsics come from the file, and the image size from the intrinsics. If the file has only
    extrinsics and there is a video, a default field of view is used. Otherwise the camera is placed automatically at a
    distance that shows the whole person, with the size of the video, if any.

    Args:
        reference: reference motion.
        size: width and height, if unknown otherwise.
        video_size: size of the original video; None: no video.
    """
    num_frames = len(reference.features)
    camera = reference.camera
    if camera is not None and camera.K is not None and camera.size is not None:
        K = camera.K.double().numpy()
        return _views(K, camera.T_w2c.double().numpy(), camera.size)
    size = video_size or size
    K = pinhole(default_focal(*size), *size).double().numpy()
    if camera is not None and video_size is not None:
        logger.warning(
            "The motion has no focal length; a field of view of %g degrees is assumed. The overlay may be inaccurate.",
            FIELD_OF_VIEW,
        )
        return _views(K, camera.T_w2c.double().numpy(), size)
    if video_size is not None:
        logger.warning("The motion has no camera; a default camera is used. The overlay will not match the person.")
    joints = decode(reference.features).joints3d.double().numpy()
    R, T = automatic_camera(joints[:, 0])
    T[2] += _too_near(joints @ R + T, K, size)
    y_to_z = np.eye(4)
    y_to_z[:3, :3] = Z_UP_TO_Y_UP  # its own inverse
    return [PinholeView(K, opencv_transform(R, T) @ y_to_z, size)] * num_frames


def _too_near(points: NDArray[np.float64], K: NDArray[np.float64], size: tuple[int, int]) -> float:
    """Distance that a camera has to move back to see all joints (L, 22, 3), x left and z forward, with a margin;
    meters.

    The published camera cuts off the head of an adult in wide images.
    """
    reach = (np.abs(points[..., :2]) + _FLESH) * np.diag(K)[:2] / (np.array(size) / 2)
    return max(float((reach.max(-1) - points[..., 2]).max()), 0.0)


def at_size(views: Sequence[PinholeView], longest: int | None = None) -> list[PinholeView]:
    """The same cameras with valid video sizes: even sides of at least 64 pixels, at most `longest`.

    Odd sides are cropped by one row or column of pixels.
    """
    width, height = views[0].size
    scale = max(1.0, 64 / min(width, height))
    if longest is not None:
        scale = min(scale, longest / max(width, height))
    new = tuple(max(2 * int(side * scale / 2 + 1e-6), 64) for side in (width, height))
    zoom = np.diag([scale, scale, 1.0])
    return [PinholeView(zoom @ view.K, view.T_w2c, (new[0], new[1])) for view in views]


def _views(K: NDArray[np.float64], transforms: NDArray[np.float64], size: tuple[int, int]) -> list[PinholeView]:
    return [PinholeView(K, transform, size) for transform in transforms]
