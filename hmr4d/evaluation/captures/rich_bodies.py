"""Bodies of RICH: reads SMPL-X parameters from one pickle per frame and computes joints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.model_files import read_model_arrays
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import load_smpl_body
from hmr4d.body.smpl_files import find_models
from hmr4d.evaluation.captures.views import CaptureError
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.safe_pickle import load_arrays_pickle

Floats = NDArray[np.float64]
BodyJoints = Callable[[Mapping[str, Floats], str], Floats]  # parameters (L, n) by name, gender -> joints (L, J, 3)

WIDTHS = {"betas": 10, "global_orient": 3, "body_pose": 63, "transl": 3}
HAND_WIDTHS = {"left_hand_pose": 12, "right_hand_pose": 12}  # principal components, offsets from the mean hand
_HAND_JOINTS = {"left": slice(25, 40), "right": slice(40, 55)}  # of SMPL-X
CHUNK = 32  # frames per batch of meshes


def read_bodies(folder: Path, subject: int) -> tuple[NDArray[np.int64], dict[str, Floats]]:
    """Frame numbers (L,), ascending, and parameters (L, n) by name of one person in one sequence.

    Raises:
        FileNotFoundError: the folder is missing, or frames lack the person's file; the message names the first.
        CaptureError: a pickle contains other objects than arrays, or lacks parameters.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"RICH bodies not found: {folder}.")
    frames = sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())
    files = [folder / f"{frame:05d}" / f"{subject:03d}.pkl" for frame in frames]
    absent = [str(p) for p in files if not p.is_file()]
    if absent or not files:
        which = ", ".join(absent[:3]) or f"frames below {folder}"
        raise FileNotFoundError(f"RICH bodies not found: {which}{', ...' if len(absent) > 3 else ''}.")
    bodies = [_read_body(path) for path in files]
    return np.array(frames, np.int64), {name: np.stack([b[name] for b in bodies]) for name in bodies[0]}


class SmplxJoints:
    """Joints of SMPL-X parameters; a `BodyJoints`.

    Without a transfer file, the joints are the first 22 joints of SMPL-X, some millimeters from those of SMPL. With it,
    they are the 24 joints of published evaluations: the transfer matrix maps the mesh to SMPL vertices, and SMPL's
    neutral regressor computes joints from them. The face stays neutral; this moves no vertex near a joint.

    Args:
        folder: folder of body models; None: the default folder.
        transfer: `.npz` or `.pkl` with `matrix` (6890, 10475), dense or sparse, that maps SMPL-X vertices to SMPL
            vertices.
    """

    def __init__(self, folder: str | Path | None = None, *, transfer: str | Path | None = None) -> None:
        self._folder, self._regressor = folder, None
        if transfer is not None:
            matrix = read_model_arrays(transfer, ["matrix"])["matrix"]
            path = find_models([("smpl", "neutral")], folder)[0]
            regressor = read_model_arrays(path, ["J_regressor"])["J_regressor"]
            if matrix.shape[0] != regressor.shape[1]:
                raise ValueError(
                    f"{transfer}: matrix is {matrix.shape}, the SMPL regressor {regressor.shape}; expected the matrix "
                    "that maps SMPL-X vertices to SMPL vertices."
                )
            self._regressor = torch.from_numpy(regressor @ matrix).float()

    def __call__(self, parameters: Mapping[str, Floats], gender: str) -> Floats:
        """Joints (L, 22 | 24, 3) in meters of parameters (L, n) by name."""
        path = find_models([("smplx", gender)], self._folder)[0]
        values = {name: torch.from_numpy(np.asarray(v, np.float32)) for name, v in parameters.items()}
        body = load_smpl_body("smplx", path=path, betas=values["betas"].mean(0))
        pose = torch.zeros(len(values["transl"]), body.num_joints, 3)
        pose[:, :22] = torch.cat([values["global_orient"], values["body_pose"]], -1).unflatten(-1, (22, 3))
        if self._regressor is not None:
            self._add_hands(pose, values, path)
        rotations = roma.rotvec_to_rotmat(pose)
        if self._regressor is None:
            return body.pose(rotations, values["transl"])[:, : SMPL22.num_joints].double().numpy()
        chunks = zip(rotations.split(CHUNK), values["transl"].split(CHUNK), strict=True)
        return torch.cat([self._regressor @ body.vertices(R, t) for R, t in chunks]).double().numpy()

    @staticmethod
    def _add_hands(pose: Tensor, values: Mapping[str, Tensor], path: Path) -> None:
        """Writes the fingers' axis-angles into `pose`: the mean hand plus principal components."""
        for side, joints in _HAND_JOINTS.items():
            names = [f"hands_mean{side[0]}", f"hands_components{side[0]}"]
            mean, components = (torch.from_numpy(a).float() for a in read_model_arrays(path, names).values())
            weights = values[f"{side}_hand_pose"]
            pose[:, joints] = (mean + weights @ components[: weights.shape[-1]]).unflatten(-1, (15, 3))


def _read_body(path: Path) -> dict[str, Floats]:
    """Parameters (n,) by name, from one pickle."""
    content: Any = load_arrays_pickle(path)
    if not isinstance(content, dict):
        raise CaptureError(f"{path} contains a {type(content).__name__}; expected a dict of SMPL-X parameters.")
    if missing := [name for name in WIDTHS if name not in content]:
        raise CaptureError(f"{path} has no {', '.join(missing)}; expected the SMPL-X parameters of one person.")
    parameters = {}
    for name, width in (WIDTHS | {n: w for n, w in HAND_WIDTHS.items() if n in content}).items():
        value = np.asarray(content[name])
        if value.dtype.kind not in "fiu" or value.size != width or not np.isfinite(value).all():
            raise CaptureError(f"{path}: {name} has shape {value.shape}; expected (1, {width}), finite numbers.")
        parameters[name] = value.reshape(width).astype(np.float64)
    return parameters
