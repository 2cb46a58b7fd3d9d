"""CameraHMR and similar models: SMPL rotation matrices with a weak-perspective camera per crop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hmr4d.reference_motion.adapters.base import (
    CAMERA_UP,
    Adapter,
    Source,
    body_of,
    camera_of,
    first_focal,
    first_number,
    frame_numbers,
    has,
    mean_betas,
    picture_size,
    placement,
)
from hmr4d.reference_motion.adapters.plain import FRAMES, RATES, named
from hmr4d.reference_motion.body_track import BodyTrack
from hmr4d.utils.foreign_files import array_of

WEAK = ("pred_cam", "camera", "cam")  # (F, 3): scale, x, y
BOX = ("box_size", "bbox_size", "bbox_height")  # (F,) pixels
CENTER = ("box_center", "bbox_center")  # (F, 2) pixels
FOCAL = ("focal_length", "fl_h", "scaled_focal_length")  # pixels
SIZE = ("img_size", "ori_shape")  # height and width


def _matches(tree: Any) -> bool:
    return has(tree, "global_orient", "body_pose") and all(named(tree, names) for names in (WEAK, BOX, CENTER))


def _tracks(source: Source) -> dict[str, BodyTrack]:
    tree = source.content
    orient, body = (array_of(tree[name], name) for name in ("global_orient", "body_pose"))
    size = source.size
    if (name := named(tree, SIZE)) is not None:
        size = picture_size(tree[name], name) or size
    focal, remarks = first_focal(tree.get(named(tree, FOCAL) or ""))
    if size is None or focal is None:
        raise ValueError(
            "The position of the person requires focal length and image size. Add focal_length and img_size to the "
            "file, or give the size with --size."
        )
    where = placement(orient, full_translation(tree, focal, size), CAMERA_UP)
    rate, frames = named(tree, RATES), named(tree, FRAMES)
    is_smpl = body.reshape(len(body), -1).shape[1] in (69, 207)
    return {
        "0": BodyTrack(
            "smpl" if is_smpl else "smplx",
            body_of(body, "body_pose", len(where.root)),
            {"camera": where},
            None if frames is None else frame_numbers(tree[frames], frames),
            mean_betas(tree, "betas"),
            fps=None if rate is None else first_number(tree[rate], rate),
            K=camera_of(focal, size),
            size=size,
            remarks=remarks,
        )
    }


def full_translation(tree: Mapping[str, Any], focal: float, size: tuple[int, int]) -> np.ndarray:
    """Positions (F, 3) in the camera of the full image: z = 2 f / (b s), x = tx + 2 (cx - W / 2) / (s b), y
    accordingly."""
    weak, box, center = (array_of(tree[named(tree, names) or ""], names[0]) for names in (WEAK, BOX, CENTER))
    weak, box, center = weak.reshape(-1, 3), box.reshape(-1), center.reshape(-1, 2)
    if not len(weak) == len(box) == len(center):
        raise ValueError(f"Camera, box sizes and centers have {len(weak)}, {len(box)} and {len(center)} frames.")
    scale = weak[:, 0] * box
    if (scale <= 0).any():
        raise ValueError(f"Scale or box of frame {int((scale <= 0).argmax())} is not positive.")
    away = 2 * (center - np.array(size) / 2) / scale[:, None]
    return np.concatenate([weak[:, 1:] + away, (2 * focal / scale)[:, None]], 1)


CAMERAHMR = Adapter("camerahmr", "CameraHMR", _matches, _tracks)
