"""The 2D views of a page: joints in camera images, and camera poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton
from hmr4d.export.glb import continued_quats
from hmr4d.geometry.cameras import invert_rigid
from hmr4d.motion.motion import Views2D
from hmr4d.utils import lazy_roma as roma
from hmr4d.visualization.page_pack import Pack

_POINT_STEPS = 16000  # quantization steps from the center to the edge of all views; far below one drawn pixel
_PLACE_STEP = 1e-3  # meters; quantization step of camera positions
_TURN_STEP = 1 / 8192
_MISSING = 1 << 15  # marks an invisible joint
_OPENING = 0.4  # half image width at distance 1 of a camera without intrinsics
_RIGID = 1e-3  # tolerance of rotation matrices


@dataclass(frozen=True)
class ImageViews:
    """2D joints of one motion in several views.

    Attributes:
        joints2d: (V, L, J, 2), x to the right and y down; pixels if `size` is given, otherwise any unit shared by the
            views. Array or tensor; joints that are not finite are not drawn.
        size: (width, height) of all images, pixels; None: the extent of the joints.
        T_w2c: (V, 4, 4), or (V, L, 4, 4) for moving cameras: world of the motion to camera (x right, y down, z
            forward). None: cameras are not drawn.
        K: (V, 3, 3) or (3, 3) intrinsics in pixels, which determine the drawn opening of the cameras; requires `size`.
        names: names of the views.
    """

    joints2d: Any
    size: tuple[int, int] | None = None
    T_w2c: Any = None
    K: Any = None
    names: Sequence[str] = ()


def image_views(views: Views2D) -> ImageViews:
    """The views of a motion for a page; only the first if image sizes differ."""
    if views.rig is None:
        return ImageViews(views.joints2d, names=views.names)
    sizes = views.rig.size
    count = len(sizes) if bool((sizes == sizes[0]).all()) else 1
    rig, (width, height) = views.rig.select(slice(count)), sizes[0].tolist()
    return ImageViews(views.joints2d[:count], (int(width), int(height)), rig.T_w2c, rig.K, views.names[:count])


def add_views(pack: Pack, views: ImageViews, num_frames: int, skeleton: Skeleton) -> dict[str, Any]:
    """Adds the views of one motion to a page.

    Raises:
        ValueError: the views do not match the motion or each other.
    """
    joints2d = _array(views.joints2d)
    if joints2d.ndim != 4 or joints2d.shape[1:] != (num_frames, skeleton.num_joints, 2) or not len(joints2d):
        raise ValueError(
            f"joints2d has shape {joints2d.shape}, expected (V, {num_frames}, {skeleton.num_joints}, 2) as for the "
            "motion. Remove the next-root point and frames beyond the length of the motion."
        )
    if views.size is not None and not (len(views.size) == 2 and min(views.size) > 0):
        raise ValueError(f"size is {views.size}; give (width, height) of the images in pixels, or None.")
    if len(views.names) not in (0, len(joints2d)):
        raise ValueError(f"There are {len(views.names)} names for {len(joints2d)} views; give one for each.")
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(joints2d).all(axis=-1))
    if not seen.any():
        raise ValueError("joints2d has no finite joint in any view; omit the views.")
    step = max(float(np.abs(joints2d[seen]).max()), 1e-6) / _POINT_STEPS
    points = np.where(seen[..., None], np.nan_to_num(joints2d) / step, _MISSING).round()
    result: dict[str, Any] = {
        "names": [str(name) for name in views.names] or [f"view {v + 1}" for v in range(len(joints2d))],
        "joints2d": pack.add(points.transpose(1, 0, 2, 3)) | {"step": step},
        "missing": _MISSING,
        "size": None if views.size is None else [float(side) for side in views.size],
        "opening": _openings(views, len(joints2d)),
    }
    return result | (_cameras(pack, views, len(joints2d), num_frames) if views.T_w2c is not None else {})


def _cameras(pack: Pack, views: ImageViews, num_views: int, num_frames: int) -> dict[str, Any]:
    """Positions and rotations of the cameras in the world; one row for static cameras, otherwise one per frame."""
    T_w2c = _array(views.T_w2c)
    if T_w2c.shape not in ((num_views, 4, 4), (num_views, num_frames, 4, 4)) or not np.isfinite(T_w2c).all():
        raise ValueError(
            f"T_w2c has shape {T_w2c.shape}, expected finite numbers ({num_views}, 4, 4), or ({num_views}, "
            f"{num_frames}, 4, 4) for moving cameras."
        )
    T_w2c = T_w2c[:, None] if T_w2c.ndim == 3 else T_w2c
    R = T_w2c[..., :3, :3]
    if np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max() > _RIGID or (np.linalg.det(R) < 0).any():
        raise ValueError("T_w2c has no rotation in its first three rows and columns; remove scale and mirroring.")
    T_c2w = invert_rigid(torch.from_numpy(T_w2c).transpose(0, 1))
    quats = roma.rotmat_to_unitquat(T_c2w[..., :3, :3])
    return {
        "places": pack.add(T_c2w[..., :3, 3].numpy(), step=_PLACE_STEP),
        "turns": pack.add(continued_quats(quats).numpy(), step=_TURN_STEP),
    }


def _openings(views: ImageViews, num_views: int) -> list[list[float]]:
    """Left, top, right and bottom of each image plane at distance 1 from its camera."""
    if views.K is None:
        width, height = views.size or (1, 1)
        tall = _OPENING * height / width
        return [[-_OPENING, -tall, _OPENING, tall]] * num_views
    K = _array(views.K)
    if views.size is None:
        raise ValueError("K is given without the image size; pass size=(width, height).")
    if K.shape not in ((3, 3), (num_views, 3, 3)) or not (K[..., [0, 1], [0, 1]] > 0).all():
        raise ValueError(f"K has shape {K.shape}; expected ({num_views}, 3, 3) or (3, 3) with positive focal lengths.")
    K = np.broadcast_to(K, (num_views, 3, 3))
    focal, center = K[:, [0, 1], [0, 1]], K[:, :2, 2]
    corners = np.concatenate([-center / focal, (np.asarray(views.size) - center) / focal], axis=1)
    return corners.round(4).tolist()


def _array(values: Any) -> NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
