"""The motion file: one motion with its rate, skeleton, text and pose in one `.npz` (docs/motion_format.md)."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.joint_conventions import METADATA_KEY
from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import get_skeleton
from hmr4d.motion.motion import Motion, Provenance, checked_fps, joints_tensor
from hmr4d.utils.files import atomic_path
from hmr4d.utils.text_files import printable

MOTION_VERSION = 1  # raised when readers must change; new optional keys do not raise it
_PARAMETERS = {"poses", "trans", "betas", "body_pose", "global_orient", "pose_body", "root_orient", "smpl_poses"}
_KEYS = ("joints3d", "fps", "skeleton", "text", "version", "metadata")
_POSE = ("pose_model", "pose_gender", "pose_rotations", "pose_translation", "pose_rest_joints")  # all or none


def save_motion_npz(path: str | os.PathLike[str], motion: Motion, *, arrays: Mapping[str, Any] | None = None) -> None:
    """Writes one motion atomically; `load_motion_npz` reads it back without loss, except for the views.

    Args:
        path: file to write; no suffix is added.
        motion: motion to write. The skeleton is saved by name, provenance and convention as JSON.
        arrays: name -> additional array.

    Raises:
        ValueError: a value is not finite, JSON does not support the provenance, or a name is reserved.
    """
    content: dict[str, Any] = {
        "joints3d": motion.array(),
        "fps": np.float64(motion.fps),
        "skeleton": np.str_(motion.skeleton.name),
        "text": np.str_(motion.text),
        "version": np.int64(MOTION_VERSION),
        "metadata": np.str_(json_text(motion.metadata)),
        **_pose_arrays(motion.pose),
    }
    if motion.uncertainty is not None:
        content["uncertainty"] = _floats(motion.uncertainty)
    if taken := sorted(content.keys() & (arrays or {}).keys()):
        raise ValueError(
            f"{', '.join(taken)}: reserved names of the motion file; choose other names for additional arrays."
        )
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **content | dict(arrays or {}))


def json_text(metadata: dict[str, Any]) -> str:
    """A JSON object as one line of text. Raises ValueError if JSON does not support the content."""
    try:
        return json.dumps(metadata, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata cannot be written as JSON ({error}). Use plain numbers, strings and lists."
        ) from error


def is_motion_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a motion file. True for damaged .npz files, so that their reader reports the damage."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"joints3d.npy", "skeleton.npy"} <= set(archive.namelist())
    except Exception:  # zipfile raises many exception types for damaged content
        return Path(path).suffix.lower() == ".npz"


def load_motion_npz(path: str | os.PathLike[str]) -> Motion:
    """Reads one motion. Pickled content is rejected.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a valid motion file; the message states the problem.
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
            f"{path} contains SMPL parameters ({', '.join(parameters)}), no joint positions. Convert it: hmr4d "
            "reference "
            "import FILE --out clip.npz."
        )
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it has {printable(', '.join(sorted(content)))[:200] or 'nothing'}. "
            "See docs/motion_format.md for the keys of a motion file."
        )
    if several := [key for key in ("version", "fps", "text", "skeleton", "metadata") if content[key].size != 1]:
        shape = tuple(content[several[0]].shape)
        raise ValueError(f"{path} contains an unreadable value: {several[0]} has shape {shape}, expected one value.")
    try:
        version, fps = int(content["version"].item()), checked_fps(content["fps"].item())
        text, name = str(content["text"].item()), str(content["skeleton"].item())
        metadata = json.loads(str(content["metadata"].item()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} contains an unreadable value: {error}") from error
    if version > MOTION_VERSION:
        raise ValueError(
            f"{path} has format version {version}; this version of hmr4d reads up to {MOTION_VERSION}. Update hmr4d."
        )
    if not isinstance(metadata, dict):
        raise ValueError(f"{path} has metadata of type {type(metadata).__name__} but a JSON object is expected.")
    convention = metadata.pop(METADATA_KEY, None)
    try:
        motion = Motion(
            joints_tensor(content["joints3d"]),
            fps,
            get_skeleton(name),
            text,
            convention,
            pose=_read_pose(content),
            uncertainty=torch.from_numpy(content["uncertainty"]) if "uncertainty" in content else None,
            provenance=Provenance.from_metadata(metadata),
        )
        motion.array()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return motion


def _pose_arrays(pose: Pose | None) -> dict[str, Any]:
    """The arrays of a pose in a file; empty for None."""
    if pose is None:
        return {}
    arrays: dict[str, Any] = {
        "pose_model": np.str_(pose.body),
        "pose_gender": np.str_(pose.gender),
        "pose_rotations": _floats(pose.rotations),
        "pose_translation": _floats(pose.translation),
        "pose_rest_joints": _floats(pose.rest_joints),
    }
    return arrays if pose.betas is None else {**arrays, "pose_betas": _floats(pose.betas)}


def _read_pose(content: Mapping[str, NDArray[Any]]) -> Pose | None:
    """The pose in a file, or None. Raises ValueError if it is incomplete."""
    keys = [key for key in _POSE if key in content]
    if not keys:
        return None
    if missing := [key for key in _POSE if key not in content]:
        raise ValueError(f"the pose lacks {', '.join(missing)}; see docs/motion_format.md")
    body, gender = (str(content[key].item()) for key in _POSE[:2])
    rotations, translation, rest_joints = (torch.from_numpy(content[key]) for key in _POSE[2:])
    betas = torch.from_numpy(content["pose_betas"]) if "pose_betas" in content else None
    return Pose(body, rotations, translation, rest_joints, betas, gender)


def _floats(values: Tensor) -> NDArray[np.float32]:
    return values.detach().to("cpu", torch.float32).numpy()


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an npz file. Raises ValueError for other, damaged or pickled files."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file. Pass a motion file written by hmr4d (docs/motion_format.md).")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # NumPy, zipfile and tokenize raise many exception types for damaged content
        raise ValueError(
            f"{path} is damaged or contains pickled objects ({printable(str(error))[:200]}). Write the motion again."
        ) from error
