"""Joints of the SMPL+H body from its parameters: rest joints linear in the shape, then forward kinematics.

Vertices are never made: Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015, eq. 10 (joint locations) and
eq. 4 (joint transforms); Romero et al., "Embodied Hands", 2017, arXiv 2201.02610, for the 52 joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.kinematics import forward_kinematics
from hmr4d.body.model_files import read_model_arrays
from hmr4d.body.smpl_files import check_smpl_arrays, model_places
from hmr4d.utils import lazy_roma as roma

NUM_JOINTS = 52  # 22 of the body, then 15 of the left and 15 of the right hand
GENDERS = ("male", "female")
_KEYS = ("v_template", "shapedirs", "J_regressor", "kintree_table")


def smplh_places(folder: str | Path, gender: str) -> list[Path]:
    """Possible files of the model of a gender, the preferred one first."""
    return model_places("smplh", gender, folder)


def find_smplh(folder: str | Path, gender: str) -> Path | None:
    """File of the model of a gender in or below a folder, or None."""
    return next((path for path in smplh_places(folder, gender) if path.is_file()), None)


def how_to_get_smplh(folder: str | Path) -> str:
    """Sentence for the user whose models are missing."""
    male, female = (Path(folder) / "smplh" / gender / "model.npz" for gender in GENDERS)
    return (
        "Register at https://mano.is.tue.mpg.de, download the extended SMPL+H model that AMASS uses, and unpack it so "
        f"that {male} and {female} exist."
    )


@dataclass(frozen=True)
class SmplhJoints:
    """The joint regression of a SMPL+H model.

    Attributes:
        template: (52, 3) rest joints of the mean shape, meters.
        shape_directions: (52, 3, S) change of the rest joints per shape coefficient, meters.
        parents: parent per joint, -1 for the root.
    """

    template: Tensor
    shape_directions: Tensor
    parents: tuple[int, ...]

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Rest joints (..., 52, 3) in meters of shapes (..., S'), S' up to the number of directions of the model.

        Raises:
            ValueError: more coefficients than the model has.
        """
        num_betas = betas.shape[-1]
        if num_betas > self.shape_directions.shape[-1]:
            raise ValueError(
                f"betas has {num_betas} shape coefficients, the body model has {self.shape_directions.shape[-1]}. "
                "Pass the first ones only."
            )
        return self.template + torch.einsum("jcs,...s->...jc", self.shape_directions[..., :num_betas], betas)

    def joints(self, poses: Tensor, transl: Tensor, betas: Tensor, *, num_joints: int = NUM_JOINTS) -> Tensor:
        """Joint positions of a motion, in the world frame of its parameters.

        Args:
            poses: (..., L, 3 P) axis-angle per joint, radians, root first; P is `num_joints`, or all 52.
            transl: (..., L, 3) meters.
            betas: (..., S) shape, one per motion.
            num_joints: number of joints to compute; 22 excludes the hands.

        Returns:
            (..., L, num_joints, 3) meters.

        Raises:
            ValueError: the poses are of another body model, or there are too many shape coefficients.
        """
        if poses.shape[-1] not in (3 * num_joints, 3 * NUM_JOINTS):
            raise ValueError(
                f"poses has {poses.shape[-1]} numbers per frame, {num_joints} joints need {3 * num_joints}, or "
                f"{3 * NUM_JOINTS} of SMPL+H (SMPL has 72, SMPL-X 165). Pass only the poses of those joints."
            )
        local = roma.rotvec_to_rotmat(poses[..., : 3 * num_joints].unflatten(-1, (num_joints, 3)))
        parents = self.parents[:num_joints]
        rest = self.rest_joints(betas)[..., None, :num_joints, :]  # (..., 1, J, 3)
        bones = rest[..., 1:, :] - rest[..., list(parents[1:]), :]
        _, joints = forward_kinematics(local, torch.cat([rest[..., :1, :], bones], -2), parents)
        return joints + transl[..., None, :]


def load_smplh_joints(path: str | Path, *, dtype: torch.dtype = torch.float64) -> SmplhJoints:
    """Reads the joints of a SMPL+H model file (`.npz` or `.pkl`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or of another body model.
    """
    arrays = read_model_arrays(path, _KEYS)
    parents = check_smpl_arrays(path, arrays, "smplh")
    template, directions, regressor = (np.asarray(arrays[k], np.float64) for k in _KEYS[:3])
    return SmplhJoints(
        torch.from_numpy(regressor @ template).to(dtype),
        torch.from_numpy(np.einsum("jv,vcs->jcs", regressor, directions)).to(dtype),
        parents,
    )
