"""The interface of adapters, and shared functions that read values from trees of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.reference_motion.body_track import BodyTrack, Placement, rotations_of
from hmr4d.reference_motion.video_camera import pinhole
from hmr4d.utils.foreign_files import array_of

NUM_BODY = 21  # joints of a body without its root, as far as SMPL, SMPL-H and SMPL-X agree
LEAST_ZOOM = 1e-3  # share by which a focal length changes over a video that is worth a remark
ZOOMS = "The focal length changes over the video; that of its first frame is kept."
CAMERA_UP = "-y"  # of the axes of a camera: x right, y down, z forward


@dataclass(frozen=True)
class Source:
    """A source file.

    Attributes:
        path: path of the file.
        content: its content, a tree of arrays.
        size: width and height of the video, or None if unknown.
        up: up axis of the world of the file given by the user, or None.
    """

    path: Path
    content: Any
    size: tuple[int, int] | None = None
    up: str | None = None


@dataclass(frozen=True)
class Adapter:
    """Reader for the files of one system.

    Attributes:
        name: name of the system, one word.
        title: official spelling of the name.
        matches: function: whether a tree belongs to this system.
        tracks: function: person -> track of a file.
    """

    name: str
    title: str
    matches: Callable[[Any], bool]
    tracks: Callable[[Source], Mapping[str, BodyTrack]]


def has(tree: Any, *names: str) -> bool:
    """Whether a tree is a dictionary with all entries `names`."""
    return isinstance(tree, Mapping) and all(name in tree for name in names)


def required(tree: Any, names: tuple[str, ...], whose: str) -> dict[str, np.ndarray]:
    """Arrays of a dictionary, float64. Raises ValueError with all missing entries."""
    if not isinstance(tree, Mapping):
        raise ValueError(f"{whose} is a {type(tree).__name__}; expected a dictionary with {', '.join(names)}.")
    if missing := [name for name in names if name not in tree]:
        raise ValueError(f"{whose} lacks {', '.join(missing)}; it has {', '.join(map(str, tree)) or 'nothing'}.")
    return {name: array_of(tree[name], name) for name in names}


def placement(orient: np.ndarray, transl: np.ndarray, up: str | None, name: str = "global_orient") -> Placement:
    """Placement of a body from root rotations (axis-angle (F, 3) or (F, 1, 3), matrices (F, 3, 3) or (F, 1, 3, 3))
    and translations (F, 3)."""
    if not orient.size:
        raise ValueError(f"'{name}' has shape {orient.shape} and therefore no frame.")
    root = rotations_of(orient, name, 1)[:, 0]
    flat = transl.reshape(len(transl), -1) if transl.ndim else transl
    if flat.shape != (len(root), 3):
        raise ValueError(
            f"The translation has shape {transl.shape}; expected ({len(root)}, 3), the frames of '{name}'."
        )
    return Placement(root, torch.from_numpy(np.ascontiguousarray(flat)), up)


def body_of(values: np.ndarray, name: str, num_frames: int) -> Tensor:
    """Rotations (F, 21, 3, 3) of a body pose. Raises ValueError if the number of frames differs from the root."""
    rotations = rotations_of(values, name, NUM_BODY)
    if len(rotations) != num_frames:
        raise ValueError(f"'{name}' has {len(rotations)} frames, the root has {num_frames}. Give one pose per frame.")
    return rotations


def mean_betas(tree: Mapping[Any, Any], *names: str) -> Tensor | None:
    """Shape (S,) of a person, float64: mean over the frames of the first existing entry of `names`; None if there is
    none."""
    for name in names:
        if tree.get(name) is not None:
            values = array_of(tree[name], name)
            flat = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(1, -1)
            known = np.isfinite(flat).all(1)
            return torch.from_numpy(flat[known].mean(0)) if known.any() else None
    return None


def first_number(value: Any, name: str) -> float | None:
    """A number, or the first number of an array of any shape; None for None."""
    if value is None:
        return None
    flat = array_of(value, name).reshape(-1)
    return float(flat[0]) if flat.size and math.isfinite(flat[0]) else None


def first_focal(value: Any) -> tuple[float | None, tuple[str, ...]]:
    """The first finite focal length of an array, or None; and a warning if it changes."""
    if value is None:
        return None, ()
    flat = array_of(value, "focal_length").reshape(-1)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return None, ()
    return float(flat[0]), (ZOOMS,) if np.ptp(flat) > LEAST_ZOOM * abs(flat[0]) else ()


def camera_of(focal: float | None, size: tuple[int, int] | None) -> Tensor | None:
    """Intrinsics (3, 3) with centered principal point, from focal length and image size, pixels; None if unknown."""
    return None if focal is None or size is None else pinhole(focal, *size)


def known_camera(K: np.ndarray) -> tuple[Tensor | None, tuple[int, int] | None, tuple[str, ...]]:
    """(3, 3) intrinsics and image size of the first usable frame of K (3, 3) or (F, 3, 3), with a central principal
    point, and warnings; None and None if no frame has a focal length and a principal point."""
    matrices = K.reshape(-1, 3, 3)
    usable = np.isfinite(matrices).all((1, 2)) & (matrices[:, [0, 1, 0, 1], [0, 1, 2, 2]] > 0).all(1)
    if not usable.any():
        return None, None, ("The camera is left out: it has no focal length and no middle of the picture.",)
    matrices = matrices[usable]
    changes = np.ptp(matrices, axis=0).max() > LEAST_ZOOM * matrices.max()
    size = (round(2 * float(matrices[0, 0, 2])), round(2 * float(matrices[0, 1, 2])))
    return torch.from_numpy(matrices[0].copy()), size, (ZOOMS,) if changes else ()


def camera_with_center(camera: Mapping[Any, Any]) -> tuple[Tensor | None, tuple[int, int] | None, tuple[str, ...]]:
    """`known_camera` of a dictionary with `img_focal` and `img_center`; nothing if it has not both."""
    focal, center = camera.get("img_focal"), camera.get("img_center")
    if focal is None or center is None:
        return None, None, ()
    (x, y), f = array_of(center, "img_center").reshape(-1)[:2], array_of(focal, "img_focal").reshape(-1)
    return known_camera(np.stack([np.array([[value, 0, x], [0, value, y], [0, 0, 1]]) for value in f]))


def picture_size(value: Any, name: str) -> tuple[int, int] | None:
    """Width and height from an array that begins with height and width; None if these are no numbers of pixels."""
    height, width = array_of(value, name).reshape(-1)[:2]
    return (round(width), round(height)) if min(height, width) >= 1 and math.isfinite(height + width) else None


def frame_numbers(value: Any, name: str) -> np.ndarray | None:
    """Frame numbers (F,); None for None. Raises ValueError for values that are no integers."""
    if value is None:
        return None
    numbers = array_of(value, name).reshape(-1)
    if not np.array_equal(numbers, np.round(numbers)) or (numbers < 0).any():
        raise ValueError(f"'{name}' holds {numbers[:3]}..., expected whole numbers of frames, 0 or more.")
    return numbers.astype(np.int64)
