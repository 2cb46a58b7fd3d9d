"""A fitted body as NPZ: pose parameters with the names and axes of the AMASS archive, and the fitted shape."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from hmr4d.body.skeleton import SMPL22
from hmr4d.export.amass_npz import NUM_DMPLS, axis_angles, to_z_up
from hmr4d.export.posing import motion_metadata
from hmr4d.motion.fitting import BodyFit
from hmr4d.utils.files import atomic_path


def save_fitted_npz(path: str | os.PathLike[str], fit: BodyFit, *, gender: str = "neutral") -> None:
    """Writes one fit atomically, rotated to z up as in AMASS, with all joints of the body.

    Args:
        path: file to write.
        fit: result of `fit_body`.
        gender: gender of the body model; recorded in the file.

    Raises:
        OSError: the file cannot be written.
    """
    body, pose = fit.body, fit.pose
    metadata = motion_metadata(fit.source, axes="right-handed, z up, rest pose y up")
    root = body.smpl22[0]
    rotations, translation = to_z_up(body.from_smpl22(pose.rotations), pose.translation, body.rest_joints[root])
    arrays: dict[str, Any] = {
        "poses": axis_angles(rotations),
        "trans": translation.double().cpu().numpy(),
        "mocap_framerate": np.float64(fit.source.fps),
        "rest_joints": body.rest_joints.cpu().numpy(),
        "joint_names": np.array(body.joint_names),
        "body": np.str_(body.name),
        "metadata": np.str_(json.dumps({**metadata, **fit_metadata(fit)}, ensure_ascii=False)),
    }
    if pose.betas is not None:
        arrays |= {"betas": pose.betas.double().cpu().numpy(), "gender": np.str_(gender)}
        arrays["dmpls"] = np.zeros((fit.num_frames, NUM_DMPLS))
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def fit_metadata(fit: BodyFit) -> dict[str, Any]:
    """Residuals of a fit and its undetermined parts, for JSON."""
    per_joint = zip(SMPL22.joint_names, fit.joint_residual.tolist(), strict=True)
    return {
        "body": fit.body.name,
        "body_licence": fit.body.licence,
        "noise_mm": round(1e3 * fit.noise, 3),
        "residual": {
            "mean_mm": round(1e3 * fit.mean_residual, 3),
            "largest_mm": round(1e3 * fit.max_residual, 3),
            "joints_mm": {name: round(1e3 * value, 3) for name, value in per_joint},
        },
        "undetermined": [
            {"joint": u.joint, "part": u.part, "share_of_frames": round(u.share, 3)} for u in fit.undetermined
        ],
    }


def fitted_name(stem: str, body_name: str) -> str:
    """File name of a fit of the motion file `stem`: the name of the body family and the suffix of the layout."""
    return f"{stem}.{body_name}.amass.npz"
