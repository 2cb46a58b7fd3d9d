"""The motion file: one motion, its rate, its skeleton and its text in one `.npz` (docs/motion_format.md)."""

from __future__ import annotations

import json
import math
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.joint_checks import check_finite
from hmr4d.body.skeleton import Skeleton, get_skeleton
from hmr4d.utils.files import atomic_path

MOTION_VERSION = 1
_PARAMETERS = {"poses", "trans", "betas", "body_pose", "global_orient", "pose_body", "root_orient", "smpl_poses"}
_KEYS = ("joints3d", "fps", "skeleton", "text", "version", "metadata")


@dataclass(frozen=True)
class Motion:
    """One motion read from a file.

    Attributes:
        joints3d: (L, J, 3) float32, metres, world, y up.
        fps: frames per second.
        skeleton: joint meaning of axis J.
        text: what the motion shows; empty when unknown.
        metadata: any JSON object the writer wanted to hand on.
        version: number of the file format.
    """

    joints3d: NDArray[np.float32]
    fps: float
    skeleton: Skeleton
    text: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    version: int = MOTION_VERSION

    @property
    def num_frames(self) -> int:
        return self.joints3d.shape[0]

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps


def checked_joints3d(joints3d: NDArray[Any] | torch.Tensor, skeleton: Skeleton) -> NDArray[np.float32]:
    """Joints of one motion as (L, J, 3) float32, after the checks every writer makes.

    Args:
        joints3d: (L, J, 3) metres, y up; array or tensor on any device.
        skeleton: says how many joints J there must be.

    Raises:
        ValueError: wrong shape, no frame, wrong number of joints, or a value that is not finite (frame and joint are
            named).
    """
    if isinstance(joints3d, torch.Tensor):
        joints3d = joints3d.detach().to("cpu", torch.float32).numpy()
    array = np.asarray(joints3d)
    if array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(f"joints3d has shape {array.shape} but one motion is (L, J, 3). Pass one motion at a time.")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"joints3d has dtype {array.dtype} but must hold real numbers. Pass metres as float32.")
    if array.shape[0] == 0:
        raise ValueError("joints3d has no frames but a motion needs at least one. Check the length it was cut to.")
    if array.shape[1] != skeleton.num_joints:
        raise ValueError(
            f"joints3d has {array.shape[1]} joints but skeleton '{skeleton.name}' has {skeleton.num_joints}. "
            "Select the joints or pass the matching skeleton."
        )
    array = array.astype(np.float32)
    check_finite(torch.from_numpy(array), skeleton)
    return array


def checked_fps(fps: float) -> float:
    """Frame rate as a float; ValueError unless it is finite and positive."""
    value = float(fps)
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"fps is {fps} but must be a positive number of frames per second.")
    return value


def save_motion_npz(
    path: str | os.PathLike[str],
    joints3d: NDArray[Any] | torch.Tensor,
    *,
    fps: float,
    skeleton: Skeleton | str,
    text: str = "",
    metadata: dict[str, Any] | None = None,
) -> None:
    """Writes one motion atomically; `load_motion_npz` reads it back without loss.

    Args:
        path: file to write, named as given (no suffix is added).
        joints3d: (L, J, 3) metres, world, y up.
        fps: frames per second.
        skeleton: joint meaning of axis J, or the name of that skeleton, which is what the file keeps.
        text: what the motion shows.
        metadata: JSON object to keep beside the motion, for instance seed, model and licence.

    Raises:
        ValueError: unknown skeleton, bad shape, joint count, fps, values that are not finite, or metadata that JSON
            cannot hold.
    """
    skeleton = get_skeleton(skeleton)
    array = checked_joints3d(joints3d, skeleton)
    metadata_json = json_text(metadata or {})
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            joints3d=array,
            fps=np.float64(checked_fps(fps)),
            skeleton=np.str_(skeleton.name),
            text=np.str_(text),
            version=np.int64(MOTION_VERSION),
            metadata=np.str_(metadata_json),
        )


def json_text(metadata: dict[str, Any]) -> str:
    """A JSON object as one line of text; ValueError when it holds what JSON cannot."""
    try:
        return json.dumps(metadata, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata cannot be written as JSON ({error}). Use plain numbers, strings and lists."
        ) from error


def load_motion_npz(path: str | os.PathLike[str]) -> Motion:
    """Reads one motion; pickled content is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a motion file; one sentence says what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"Motion file not found: {path}. Check the path; generation writes one .npz per motion."
        )
    content = _read_arrays(path)
    missing = [key for key in _KEYS if key not in content]
    if missing and (parameters := sorted(_PARAMETERS & content.keys())):
        raise ValueError(
            f"{path} holds SMPL parameters ({', '.join(parameters)}), no joint positions. Give the motion file of the "
            "joints, or make one of them with the body model (docs/motion_format.md)."
        )
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(content)) or 'nothing'}. "
            "See docs/motion_format.md for the keys of a motion file."
        )
    try:
        version, fps = int(content["version"].item()), checked_fps(content["fps"].item())
        text, name = str(content["text"].item()), str(content["skeleton"].item())
        metadata = json.loads(str(content["metadata"].item()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds an unreadable value: {error}") from error
    if version > MOTION_VERSION:
        raise ValueError(
            f"{path} has format version {version} but this hmr4d reads up to {MOTION_VERSION}. Update hmr4d."
        )
    if not isinstance(metadata, dict):
        raise ValueError(f"{path} has metadata of type {type(metadata).__name__} but a JSON object is expected.")
    try:
        skeleton = get_skeleton(name)
        joints3d = checked_joints3d(content["joints3d"], skeleton)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Motion(joints3d=joints3d, fps=fps, skeleton=skeleton, text=text, metadata=metadata, version=version)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an npz file; ValueError when it is not one, is damaged, or holds pickles."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file. Pass a motion file written by hmr4d (docs/motion_format.md).")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # damaged content makes NumPy, zipfile and even tokenize raise kinds of their own
        raise ValueError(f"{path} is damaged or holds pickled objects ({error}). Write the motion again.") from error
