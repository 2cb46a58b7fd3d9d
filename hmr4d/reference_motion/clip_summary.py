"""The content of a clip in words, and its arrays in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmr4d.body.stance import motion_doubts, points_of_skeleton
from hmr4d.motion.motion import Motion
from hmr4d.motion.resampling import resample_positions
from hmr4d.reference_motion.adapters import ADAPTERS, read_clip
from hmr4d.reference_motion.body_track import ReadOptions
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.representation.hml263 import FPS, Hml263Codec
from hmr4d.utils.files import atomic_path


def clip_metadata(path: Path, options: ReadOptions) -> dict[str, Any]:
    """The content of a file by name, for display and JSON."""
    clip = read_clip(path, options)
    motion, camera = clip.motion, clip.camera
    titles = {adapter.name: adapter.title for adapter in ADAPTERS}
    metadata: dict[str, Any] = {
        "system": titles.get(clip.system, clip.system),
        "frames": motion.num_frames,
        "fps": motion.fps,
        "seconds": round(motion.seconds, 3),
    }
    if clip.frames is not None and len(clip.frames):
        metadata["video frames"] = f"{clip.frames[0]} to {clip.frames[-1]}"
    metadata["world"] = "level, y up" if clip.is_level else "axes of the camera, not known to be level"
    metadata["camera"] = "none"
    if camera is not None:
        metadata["camera"] = "still" if camera.is_static else "moving"
        if camera.K is not None:
            metadata["focal length"] = round(float(camera.K[0, 0]), 1)
        if camera.size is not None:
            metadata["picture"] = f"{camera.size[0]} x {camera.size[1]}"
    metadata["body"] = "joints alone" if motion.pose is None else motion.pose.body
    doubts = [doubt.words for doubt in motion_doubts(motion.array(), points_of_skeleton(motion.skeleton), motion.fps)]
    if remarks := [*clip.remarks, *doubts]:
        metadata["remarks"] = remarks
    return metadata


def clip_words(clip: ReferenceClip) -> str:
    """A short description of a clip."""
    motion = clip.motion
    return f"{clip.system}, {motion.num_frames} frames at {motion.fps:g} per second, {motion.seconds:.1f} s"


def write_arrays(motion: Motion, path: Path, name: str) -> Path:
    """Writes the joints (L, 22, 3), y up, or the 263 features of HumanML3D of a motion as an .npy file; its path."""
    array = motion.array()
    if name == "hml263":
        array = Hml263Codec().encode(torch.from_numpy(resample_positions(array, motion.fps, FPS))).numpy()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)
    return path
