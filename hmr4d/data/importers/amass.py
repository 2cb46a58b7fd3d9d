"""AMASS motion files (SMPL+H): parameters out of `.npz`, and joints at about 20 frames per second.

Mahmood et al., "AMASS: Archive of Motion Capture as Surface Shapes", ICCV 2019, arXiv 1904.03278.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smplh_joints import SmplhJoints
from hmr4d.data.importers.humanml3d_release import FPS
from hmr4d.utils.safe_pickle import load_arrays
from hmr4d.utils.text_files import printable

WIDTH = 156  # numbers of a pose: 52 joints of SMPL+H
_OTHER_WIDTHS = {72: "SMPL", 165: "SMPL-X"}
_MODEL_KEY = "surface_model_type"
NUM_BETAS = 10  # the shape coefficients that HumanML3D uses of AMASS's 16
_FRAME_RATE_KEYS = ("mocap_framerate", "mocap_frame_rate")


class SourceProblem(ValueError):
    """A motion file that gives no clip.

    Attributes:
        kind: short reason, the same for all files with this problem.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


@dataclass(frozen=True)
class AmassMotion:
    """Parameters of one AMASS file.

    Attributes:
        poses: (F, 156) axis-angle per joint in radians, root first.
        transl: (F, 3) meters, z up.
        betas: (10,) shape.
        fps: frames per second of the recording.
        gender: as written in the file.
        is_gender_bytes: the gender was stored as bytes.
    """

    poses: np.ndarray
    transl: np.ndarray
    betas: np.ndarray
    fps: float
    gender: str
    is_gender_bytes: bool

    @property
    def model_gender(self) -> str:
        """Gender of the body model in HumanML3D: male for the text "male", female for all else, including bytes."""
        return "male" if self.gender == "male" and not self.is_gender_bytes else "female"


def read_amass(content: Path | bytes) -> AmassMotion:
    """Parameters of an AMASS file.

    Args:
        content: the file, or its content.

    Raises:
        SourceProblem: the file cannot be read, has no frame rate (a shape file), or is not an SMPL+H motion.
    """
    try:
        with np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is no npz file")
            rate = next((key for key in _FRAME_RATE_KEYS if key in archive.files), None)
            if rate is None:
                raise SourceProblem("no frame rate")
            if missing := [k for k in ("poses", "trans", "betas", "gender") if k not in archive.files]:
                raise SourceProblem("not a motion", f"no {', '.join(missing)}")
            gender = _entry(archive, "gender").reshape(-1)[0]
            fps = float(_entry(archive, rate).reshape(-1)[0])
            poses, transl = archive["poses"], archive["trans"]
            betas = archive["betas"].reshape(-1)[:NUM_BETAS]
            model = str(_entry(archive, _MODEL_KEY).reshape(-1)[0]) if _MODEL_KEY in archive.files else ""
    except SourceProblem:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        MemoryError,
        zlib.error,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        NotImplementedError,
    ) as error:
        raise SourceProblem("unreadable", str(error)) from error
    if model.lower().replace("+", "") not in ("", "smplh"):
        raise SourceProblem("not SMPL+H", f"it says '{printable(model[:40])}'; get the 'SMPL+H G' files of AMASS")
    _check(poses, transl, betas, fps)
    text = gender.decode("utf-8", "replace") if isinstance(gender, bytes) else str(gender)
    return AmassMotion(poses, transl, betas.astype(np.float64), fps, text, isinstance(gender, bytes))


def _entry(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    """One small array, which some files store as a pickled object."""
    try:
        return np.asarray(archive[key])
    except ValueError:
        assert archive.zip is not None  # it is open
        with archive.zip.open(f"{key}.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            read(member)
            return np.asarray(load_arrays(io.BytesIO(member.read())))


def _check(poses: np.ndarray, transl: np.ndarray, betas: np.ndarray, fps: float) -> None:
    if poses.ndim == 2 and poses.shape[1] in _OTHER_WIDTHS:
        whose = _OTHER_WIDTHS[poses.shape[1]]
        raise SourceProblem("not SMPL+H", f"poses {poses.shape} are of {whose}; get the 'SMPL+H G' files of AMASS")
    if not (poses.ndim == 2 and poses.shape[1] == WIDTH and transl.shape == (len(poses), 3) and betas.size):
        shapes = f"poses {poses.shape}, trans {transl.shape}, betas {betas.shape}"
        raise SourceProblem("not a motion", f"{shapes}; expected (F, 156), (F, 3), (16,)")
    if not all(a.dtype.kind in "fiu" for a in (poses, transl, betas)):
        raise SourceProblem("not a motion", "poses, trans or betas are not numeric")
    if not (math.isfinite(fps) and fps >= FPS):
        raise SourceProblem("frame rate below 20", f"{fps:g} frames per second")


def amass_joints(motion: AmassMotion, model: SmplhJoints) -> np.ndarray:
    """Body joints (T, 22, 3) in meters with y and z exchanged, every int(fps / 20)-th frame of the recording.

    The rate is that of the recording divided by a whole number: 120 gives 20, but 250 gives 20.83 and 59 gives 29.5.
    HumanML3D calls all of them 20, so nothing is resampled here.
    """
    stride = int(motion.fps / FPS)
    poses, transl = (torch.from_numpy(np.asarray(a[::stride], np.float64)) for a in (motion.poses, motion.transl))
    joints3d = model.joints(poses, transl, torch.from_numpy(motion.betas), num_joints=SMPL22.num_joints)
    return joints3d.numpy()[..., [0, 2, 1]]
