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

_POINT_STEPS = 16000  # from the middle to the edge of all views: far less than a pixel of what is drawn
_PLACE_STEP = 1e-3  # metres, of cameras
_TURN_STEP = 1 / 8192
_MISSING = 1 << 15  # of a joint that is not seen
_OPENING = 0.4  # of a camera without intrinsics: half of its picture's width at a distance of 1
_RIGID = 1e-3  # largest error of a rotation


@dataclass(frozen=True)
class ImageViews:
    """2D joints of one motion in some views.

    Attributes:
        joints2d: (V, L, J, 2), x to the right and y down; pixels if `size` is given, else any unit common to the views.
            Array or tensor; a joint that is not finite is not drawn.
        size: (width, height) pixels of all pictures; None: what the joints take up is shown.
        T_w2c: (V, 4, 4), or (V, L, 4, 4) for cameras that move, from the world of the motion to the cameras (x right,
            y down, z forward). None: cameras are not drawn.
        K: (V, 3, 3) or (3, 3) intrinsics in pixels, for how wide the cameras are drawn; needs `size`.
        names: of the views.
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
    """Views of one motion, for the page.

    Raises:
        ValueError: the views do not fit the motion or each other.
    """
    joints2d = _array(views.joints2d)
    if joints2d.ndim != 4 or joints2d.shape[1:] != (num_frames, skeleton.num_joints, 2) or not len(joints2d):
        raise ValueError(
            f"joints2d has shape {joints2d.shape}, expected (V, {num_frames}, {skeleton.num_joints}, 2) as the motion "
            "has. Drop the next-root point and frames beyond the motion's length."
        )
    if views.size is not None and not (len(views.size) == 2 and min(views.size) > 0):
        raise ValueError(f"size is {views.size}; give (width, height) of the pictures in pixels, or None.")
    if len(views.names) not in (0, len(joints2d)):
        raise ValueError(f"There are {len(views.names)} names for {len(joints2d)} views; give one for each.")
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(joints2d).all(axis=-1))
    if not seen.any():
        raise ValueError("joints2d has no finite joint in any view; leave the views out.")
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
    """Positions and rotations of the cameras in the world; one row for still cameras, else one per frame."""
    T_w2c = _array(views.T_w2c)
    if T_w2c.shape not in ((num_views, 4, 4), (num_views, num_frames, 4, 4)) or not np.isfinite(T_w2c).all():
        raise ValueError(
            f"T_w2c has shape {T_w2c.shape}, expected finite numbers ({num_views}, 4, 4), or ({num_views}, "
            f"{num_frames}, 4, 4) for moving cameras."
        )
    T_w2c = T_w2c[:, None] if T_w2c.ndim == 3 else T_w2c
    R = T_w2c[..., :3, :3]
    if np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max() > _RIGID or (np.linalg.det(R) < 0).any():
        raise ValueError("T_w2c holds no rotation in its first three rows and columns; take scale and mirroring out.")
    T_c2w = invert_rigid(torch.from_numpy(T_w2c).transpose(0, 1))
    quats = roma.rotmat_to_unitquat(T_c2w[..., :3, :3])
    return {
        "places": pack.add(T_c2w[..., :3, 3].numpy(), step=_PLACE_STEP),
        "turns": pack.add(continued_quats(quats).numpy(), step=_TURN_STEP),
    }


def _openings(views: ImageViews, num_views: int) -> list[list[float]]:
    """Left, top, right and bottom of each picture at a distance of 1 from its camera."""
    if views.K is None:
        width, height = views.size or (1, 1)
        tall = _OPENING * height / width
        return [[-_OPENING, -tall, _OPENING, tall]] * num_views
    K = _array(views.K)
    if views.size is None:
        raise ValueError("K is given without the size of the pictures it belongs to; pass size=(width, height).")
    if K.shape not in ((3, 3), (num_views, 3, 3)) or not (K[..., [0, 1], [0, 1]] > 0).all():
        raise ValueError(f"K has shape {K.shape} and must be ({num_views}, 3, 3) or (3, 3) with focal lengths over 0.")
    K = np.broadcast_to(K, (num_views, 3, 3))
    focal, center = K[:, [0, 1], [0, 1]], K[:, :2, 2]
    corners = np.concatenate([-center / focal, (np.asarray(views.size) - center) / focal], axis=1)
    return corners.round(4).tolist()


def _array(values: Any) -> NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
