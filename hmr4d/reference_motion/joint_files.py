"""Reads the joints of a motion from all input formats of the benchmark metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import SMPL22
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.metrics.mbench import MODEL_FPS
from hmr4d.motion.motion import Motion, checked_fps
from hmr4d.reference_motion.reference_file import is_reference, reference_of
from hmr4d.utils.safe_pickle import load_arrays_pickle

ENDINGS = (".npy", ".npz", ".pt", ".pth", ".pkl")
JOINTS_KEY = "joints"


def find_joint_files(places: list[Path]) -> list[Path]:
    """Joint files among files and folders, sorted by name within a folder.

    Raises:
        FileNotFoundError: paths do not exist (the message names all), or a folder has no such files.
    """
    if missing := [str(place) for place in places if not place.exists()]:
        raise FileNotFoundError(f"No such file or folder: {', '.join(missing)}. Check the path.")
    paths: list[Path] = []
    for place in places:
        inside = sorted(p for p in place.iterdir() if p.suffix in ENDINGS) if place.is_dir() else [place]
        if not inside:
            raise FileNotFoundError(f"No motion in {place}: expected {', '.join(ENDINGS)} files.")
        paths += inside
    return paths


def load_joints(path: Path, *, fps: float | None = None) -> tuple[NDArray[np.floating], float, Motion | None]:
    """Joints (L, 22, 3) in meters and frames per second of a file, and the motion itself if the file contains one.

    Args:
        path: an array (L, 22, 3), a dict with `joints`, a reference motion (its joints have y up and are integrated
            from velocities), or a motion file of this package.
        fps: frame rate of files without one; None: MODEL_FPS.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged or has another format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Motion not found: {path}. Check the path.")
    try:
        content = _content(path)
        if content is None:
            motion = load_motion_npz(path)
            if motion.skeleton.name != SMPL22.name:
                raise ValueError(f"it has skeleton '{motion.skeleton.name}'; the metrics need '{SMPL22.name}'.")
            return motion.array(), motion.fps, motion
        if is_reference(content):
            motion = reference_of(content, fps=fps).motion(from_velocities=True)
            return motion.array(), motion.fps, motion
        rate = fps or MODEL_FPS
        if isinstance(content, Mapping) and JOINTS_KEY in content:
            rate = checked_fps(content.get("fps", rate))
            content = content[JOINTS_KEY]
        joints = np.asarray(content)
        if joints.dtype.kind not in "fiu" or joints.shape[1:] != (SMPL22.num_joints, 3):
            raise ValueError(
                f"it contains {_shown(content)}; expected joints (L, 22, 3) in meters, or 276 features. Of the 24 "
                "joints of SMPL take the first 22."
            )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return joints, rate, None


def _content(path: Path) -> Any:
    """Content of a file; None for a motion file of this package."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix != ".npz":
        return load_arrays_pickle(path)
    with np.load(path, allow_pickle=False) as archive:
        if JOINTS_KEY not in archive.files:
            return None
        return {name: archive[name] for name in archive.files if name in (JOINTS_KEY, "fps")}


def _shown(content: Any) -> str:
    if isinstance(content, Mapping):
        return "the keys " + ", ".join(map(str, content))
    shape = getattr(content, "shape", None)
    return type(content).__name__ if shape is None else f"an array {tuple(shape)}"
