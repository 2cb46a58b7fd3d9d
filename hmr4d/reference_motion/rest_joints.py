"""The 22 rest joints of the body of the 276 features: SMPL-X, neutral, zero shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.light_body import load_light_body
from hmr4d.body.retarget import retarget_bone_lengths, smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import load_smpl_body

# Meters; rest position of the pelvis, the origin of translations in the features. Published as `smplx_root.pt`.
SMPLX_PELVIS = (0.0031243, -0.3514075, 0.0120367)
SMPL_PELVIS = (-0.0018, -0.2233, 0.0282)  # meters; approximate pelvis of the neutral SMPL body of zero shape
FAMILY_PELVIS = {"smplx": SMPLX_PELVIS, "smpl": SMPL_PELVIS, "smplh": SMPL_PELVIS}


def smplx_pelvis() -> Tensor:
    """(3,) float64 metres: `SMPLX_PELVIS`."""
    return torch.tensor(SMPLX_PELVIS, dtype=torch.float64)


def derived_rest_joints(family: str = "smplx") -> Tensor:
    """Rest joints (22, 3), meters, without licensed files: free body with bone lengths of the mean SMPL body."""
    free = load_light_body().rest_joints[None].double().numpy()
    joints = retarget_bone_lengths(free, smpl_mean_bone_lengths(SMPL22), scale_root=False)[0]
    moved = joints - joints[0] + np.array(FAMILY_PELVIS[family])
    return torch.from_numpy(moved).float()


def family_rest_joints(family: str = "smplx", folder: Path | None = None, betas: Tensor | None = None) -> Tensor:
    """Rest joints (22, 3), meters, of the user's licensed neutral body.

    Raises:
        FileNotFoundError: the model is missing; the message states where to get it and where to put it.
    """
    return load_smpl_body(family, betas=betas, folder=folder).rest_joints[: SMPL22.num_joints]
