"""Clips as motion files that keep the camera, so that every reader of motion files takes them."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.geometry.rigs import intrinsics
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.video_camera import VideoCamera

CAMERA_KEYS = ("camera_T_w2c", "camera_K", "camera_K4", "camera_size")  # K4 and one T_w2c: of lifted motion
FRAMES_KEYS = ("video_frames", "frame_ids")  # of clips, of lifted motion
_SYSTEM, _LEVEL = "source_system", "is_level"


def save_clip(path: str | Path, clip: ReferenceClip) -> None:
    """Writes a motion file with the camera and the numbers of the video's frames beside the motion, atomically."""
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
    """The clip of a motion file, with its camera if it has one; errors as `load_motion_npz`."""
    motion = load_motion_npz(path)
    with np.load(path, allow_pickle=False) as archive:
        held = {key: archive[key] for key in (*CAMERA_KEYS, *FRAMES_KEYS) if key in archive.files}
    frames = next((held[key] for key in FRAMES_KEYS if key in held), None)
    if frames is not None:  # lifted motion of another rate has fractions
        frames = frames.astype(int).tolist() if (np.diff(frames) == 1).all() and (frames % 1 == 0).all() else None
    about = motion.provenance.metadata()
    camera = _camera(held, motion.num_frames)
    return ReferenceClip(motion, camera, str(about.get(_SYSTEM, "hmr4d")), frames, bool(about.get(_LEVEL, True)))


def _camera(held: dict[str, Any], num_frames: int) -> VideoCamera | None:
    """The camera of a file in every frame; one that stands still may be kept once."""
    if "camera_T_w2c" not in held:
        return None
    T_w2c = torch.from_numpy(held["camera_T_w2c"]).float().expand(num_frames, 4, 4).clone()
    K = torch.from_numpy(held["camera_K"]) if "camera_K" in held else None
    if K is None and "camera_K4" in held:
        K = intrinsics(torch.from_numpy(held["camera_K4"]).float())
    size = (int(held["camera_size"][0]), int(held["camera_size"][1])) if "camera_size" in held else None
    return VideoCamera(T_w2c, K, size)


def is_motion_file(path: str | Path) -> bool:
    """Whether a file is meant as a motion file of this package."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"joints3d.npy", "skeleton.npy"} <= set(archive.namelist())


def is_clip_file(path: str | Path) -> bool:
    """Whether a file was written by `save_clip`."""
    try:
        return _SYSTEM in load_motion_npz(path).provenance.metadata()
    except (OSError, ValueError):
        return False
