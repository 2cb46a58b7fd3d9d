"""Joints of the SMPL+H body from its parameters: rest joints linear in the shape, then forward kinematics.

Vertices are never made: Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015, eq. 10 (joint locations) and
eq. 4 (joint transforms); Romero et al., "Embodied Hands", 2017, for the 52 joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from hmr4d.body.model_files import read_model_arrays
from hmr4d.body.skeleton import SMPL22

NUM_JOINTS = 52  # 22 of the body, then 15 of the left and 15 of the right hand
GENDERS = ("male", "female")
_KEYS = ("v_template", "shapedirs", "J_regressor", "kintree_table")


def smplh_places(folder: str | Path, gender: str) -> list[Path]:
    """Files that may hold the model of a gender, the one preferred first.

    The extended model `<gender>/model.npz`, to whose shape space AMASS is fitted, goes before `SMPLH_<GENDER>.npz` and
    `.pkl`.
    """
    names = [f"{gender}/model.npz"]
    names += [f"SMPLH_{g}.{ending}" for ending in ("npz", "pkl") for g in (gender.upper(), gender.lower())]
    return [place / name for place in (Path(folder), Path(folder) / "smplh") for name in names]


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
    """The part of a SMPL+H model that places joints.

    Attributes:
        template: (52, 3) rest joints of the mean shape, metres.
        shape_directions: (52, 3, S) change of the rest joints per shape coefficient, metres.
        parents: parent per joint, -1 for the root.
    """

    template: Tensor
    shape_directions: Tensor
    parents: tuple[int, ...]

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Rest joints (..., 52, 3) in metres of shapes (..., S'), S' up to the number of directions of the model.

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
        """Joint positions of a motion, in the world of its parameters.

        Args:
            poses: (..., L, 3 P) axis-angle per joint, radians, root first; P is at least `num_joints`.
            transl: (..., L, 3) metres.
            betas: (..., S) shape, one per motion.
            num_joints: the first joints wanted; 22 leaves out the hands.

        Returns:
            (..., L, num_joints, 3) metres.

        Raises:
            ValueError: the pose vector is too short, or there are too many shape coefficients.
        """
        if poses.shape[-1] < 3 * num_joints:
            raise ValueError(
                f"poses has {poses.shape[-1]} numbers per frame, {num_joints} joints need {3 * num_joints}. "
                "Ask for fewer joints."
            )
        local = roma.rotvec_to_rotmat(poses[..., : 3 * num_joints].unflatten(-1, (num_joints, 3)))
        rest = self.rest_joints(betas)[..., None, :num_joints, :]  # (..., 1, J, 3)
        rotations, positions = [local[..., 0, :, :]], [rest[..., 0, :] + transl]
        for joint in range(1, num_joints):
            parent = self.parents[joint]
            bone = (rest[..., joint, :] - rest[..., parent, :])[..., None]
            positions.append(positions[parent] + (rotations[parent] @ bone)[..., 0])
            rotations.append(rotations[parent] @ local[..., joint, :, :])
        return torch.stack(positions, -2)


def load_smplh_joints(path: str | Path, *, dtype: torch.dtype = torch.float64) -> SmplhJoints:
    """Reads the joints of a SMPL+H model file (`.npz` or `.pkl`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or of another body model.
    """
    arrays = read_model_arrays(path, _KEYS)
    template, directions, regressor = (np.asarray(arrays[k], np.float64) for k in _KEYS[:3])
    num_vertices = len(template) if template.ndim else 0
    wanted = {"v_template": (num_vertices, 3), "J_regressor": (NUM_JOINTS, num_vertices)}
    wrong = [f"{k} {arrays[k].shape}, expected {shape}" for k, shape in wanted.items() if arrays[k].shape != shape]
    if directions.ndim != 3 or directions.shape[:2] != (num_vertices, 3):
        wrong.append(f"shapedirs {directions.shape}, expected {(num_vertices, 3, 'S')}")
    tree = arrays["kintree_table"]
    if tree.shape != (2, NUM_JOINTS):
        wrong.append(f"kintree_table {tree.shape}, expected {(2, NUM_JOINTS)}")
    if wrong:
        raise ValueError(
            f"{path} is no SMPL+H model: {'; '.join(wrong)}. Give the model of https://mano.is.tue.mpg.de."
        )
    parents = (-1, *(int(p) for p in tree[0, 1:]))
    if parents[: SMPL22.num_joints] != SMPL22.parents or any(not 0 <= p < c for c, p in enumerate(parents) if c):
        raise ValueError(f"{path} is no SMPL+H model: its joint tree {parents} is not that of SMPL+H.")
    return SmplhJoints(
        torch.from_numpy(regressor @ template).to(dtype),
        torch.from_numpy(np.einsum("jv,vcs->jcs", regressor, directions)).to(dtype),
        parents,
    )
