"""Clips as motion files with additional camera arrays; every reader of motion files can read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.geometry.rigs import intrinsics
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.video_camera import VideoCamera

CAMERA_KEYS = (
    "camera_T_w2c",
    "camera_K",
    "camera_K4",
    "camera_size",
)  # K4 and a single T_w2c occur in files of lifted motion
FRAMES_KEYS = ("video_frames", "frame_ids")  # in files of clips, in files of lifted motion
_SYSTEM, _LEVEL = "source_system", "is_level"


def save_clip(path: str | Path, clip: ReferenceClip) -> None:
    """Writes a motion file with camera and video frame numbers, atomically."""
    arrays: dict[str, Any] = {}
    if clip.camera is not None:
        arrays["camera_T_w2c"] = clip.camera.T_w2c.float().numpy()
        if clip.camera.K is not None:
            arrays["camera_K"] = clip.camera.K.float().numpy()
        if clip.camera.size is not None:
            arrays["camera_size"] = np.array(clip.camera.size)
    if clip.frames is not None:
        arrays[FRAMES_KEYS[0]] = np.array(clip.frames)
    about = {_SYSTEM: clip.system, _LEVEL: clip.is_level, "remarks": list(clip.remarks)}
    motion = replace(clip.motion, views=None, provenance=clip.motion.provenance.updated(**about))
    save_motion_npz(path, motion, arrays=arrays)


def load_clip(path: str | Path) -> ReferenceClip:
    """The clip in a motion file, with its camera if any. Raises the errors of `load_motion_npz`."""
    motion = load_motion_npz(path)
    with np.load(path, allow_pickle=False) as archive:
        held = {key: archive[key] for key in (*CAMERA_KEYS, *FRAMES_KEYS) if key in archive.files}
    try:
        frames, camera = _frames(held, motion.num_frames), _camera(held, motion.num_frames)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    about = motion.provenance.metadata()
    return ReferenceClip(motion, camera, str(about.get(_SYSTEM, "hmr4d")), frames, bool(about.get(_LEVEL, True)))


def _frames(held: dict[str, Any], num_frames: int) -> list[int] | None:
    """Frame numbers of the video; None if missing or fractional, as for resampled lifted motion."""
    key = next((key for key in FRAMES_KEYS if key in held), None)
    if key is None:
        return None
    frames = _numbers(held, key, (num_frames,)).double().numpy()
    return frames.astype(int).tolist() if (np.diff(frames) == 1).all() and (frames % 1 == 0).all() else None


def _camera(held: dict[str, Any], num_frames: int) -> VideoCamera | None:
    """The camera of a file in every frame; a static camera may be stored once."""
    if "camera_T_w2c" not in held:
        return None
    T_w2c = _numbers(held, "camera_T_w2c", (4, 4), (1, 4, 4), (num_frames, 4, 4)).float().expand(num_frames, 4, 4)
    K = _numbers(held, "camera_K", (3, 3), (num_frames, 3, 3)) if "camera_K" in held else None
    if K is None and "camera_K4" in held:
        K = intrinsics(_numbers(held, "camera_K4", (4,), (num_frames, 4)).float())
    sides = _numbers(held, "camera_size", (2,)).tolist() if "camera_size" in held else None
    if sides is not None and not min(sides) >= 1:
        raise ValueError(f"its camera_size is {sides}; expected width and height in pixels.")
    return VideoCamera(T_w2c.clone(), K, None if sides is None else (int(sides[0]), int(sides[1])))


def _numbers(held: dict[str, Any], key: str, *shapes: tuple[int, ...]) -> Tensor:
    """An array of a file as a tensor. Raises ValueError for another shape or for values that are not finite numbers."""
    array = held[key]
    if array.shape not in shapes or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"its {key} has shape {array.shape} and type {array.dtype}; expected finite numbers {wanted}.")
    return torch.from_numpy(array)


def is_clip_file(path: str | Path) -> bool:
    """Whether a file was written by `save_clip`."""
    try:
        return _SYSTEM in load_motion_npz(path).provenance.metadata()
    except (OSError, ValueError):
        return False
