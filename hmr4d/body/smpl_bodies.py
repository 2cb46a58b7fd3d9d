"""SMPL, SMPL+H and SMPL-X from the user's licensed files, behind the interface of all bodies.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015, eq. 2-12; Romero et al., "Embodied Hands", 2017, arXiv
2201.02610; Pavlakos et al., "Expressive Body Capture", 2019, arXiv 1904.05866. The numbers are those of the package
`smplx` for the same files, with flat hands at rest and a neutral face; a file is read without running anything in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.body_model import COCO17, Body
from hmr4d.body.light_body import largest_weights
from hmr4d.body.model_files import read_model_arrays
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_files import FAMILIES, MODEL_KEYS, check_smpl_arrays, find_models

_FACE = COCO17[:5]
_SMPLX_BETAS = (10, 300)  # shape coefficients of the short and the long files; facial expression follows them


@dataclass(frozen=True, eq=False, kw_only=True)
class SmplBody(Body):
    """A body of the SMPL family at one shape; its mesh also bulges with the pose.

    `skin_indices` and `skin_weights` are the four largest weights, for writers of files; the mesh itself is made with
    all of them.

    Attributes:
        betas: (S,) shape coefficients in use.
        template: (V, 3) meters, vertices of the mean shape.
        shape_directions: (V, 3, S') meters per coefficient.
        joint_regressor: (J, V) weights that average vertices of the rest pose into joints.
        pose_directions: (9 (J - 1), 3 V) meters per entry of the rotation matrices minus identity.
        all_weights: (V, J).
        face_vertices: nose, eyes, ears as for `Family`; empty if the mesh has not these vertices.
    """

    betas: Tensor
    template: Tensor
    shape_directions: Tensor
    joint_regressor: Tensor
    pose_directions: Tensor
    all_weights: Tensor
    face_vertices: tuple[int, ...]

    @cached_property
    def joint_directions(self) -> Tensor:
        """(J, 3, S') change of the rest joints in meters per shape coefficient."""
        return torch.einsum("jv,vcs->jcs", self.joint_regressor, self.shape_directions)

    def with_betas(self, betas: Tensor) -> SmplBody:
        """The body at another shape.

        Args:
            betas: (S,), S up to the number of shape directions; the others are 0.

        Raises:
            ValueError: more coefficients than the model has, or no vector of finite numbers.
        """
        most = self.shape_directions.shape[-1]
        if betas.ndim != 1 or len(betas) > most or not betas.isfinite().all():
            raise ValueError(f"betas has shape {tuple(betas.shape)}; expected (S,), S <= {most}, finite numbers.")
        betas = betas.detach().to(self.template)
        vertices = self.template + self.shape_directions[..., : len(betas)] @ betas
        return replace(self, betas=betas, rest_vertices=vertices, rest_joints=self.joint_regressor @ vertices)

    def vertices(self, rotations: Tensor, translation: Tensor | None = None) -> Tensor:
        """Positions (..., V, 3) of all vertices, pose-dependent bulges included; arguments as for `pose`."""
        return self._posed_vertices(slice(None), rotations, translation)

    def coco17(self, rotations: Tensor, translation: Tensor | None = None) -> Tensor:
        """The 17 COCO keypoints (..., 17, 3): vertices of the face and the joints; arguments as for `pose`.

        Raises:
            ValueError: the mesh is not the family's, so its face is not known.
        """
        if not self.face_vertices:
            raise ValueError(
                f"The mesh of this body has {self.num_vertices} vertices, unlike '{self.name}': its nose, eyes and "
                "ears are unknown. Pass their vertices as face_vertices."
            )
        face = self._posed_vertices(list(self.face_vertices), rotations, translation)
        joints = self.pose(rotations, translation)
        return torch.cat([face, joints[..., [self.joint_names.index(n) for n in COCO17[len(_FACE) :]], :]], -2)

    def _posed_vertices(self, which: slice | list[int], rotations: Tensor, translation: Tensor | None) -> Tensor:
        world, joints = self.joint_transforms(rotations, translation)
        bend = (rotations[..., 1:, :, :] - torch.eye(3).to(rotations)).flatten(-3)  # (..., 9 (J - 1))
        directions = self.pose_directions.unflatten(-1, (-1, 3))[:, which].flatten(1).to(rotations)
        vertices = self.rest_vertices[which].to(rotations) + (bend @ directions).unflatten(-1, (-1, 3))
        shifts = joints - (world @ self.rest_joints.to(rotations)[..., None])[..., 0]
        transforms = torch.cat([world, shifts[..., None]], -1).flatten(-2)  # (..., J, 12)
        blended = (self.all_weights[which].to(rotations) @ transforms).unflatten(-1, (3, 4))  # (..., V, 3, 4)
        return (blended[..., :3] @ vertices[..., None])[..., 0] + blended[..., 3]


def load_smpl_body(
    family: str,
    *,
    gender: str = "neutral",
    betas: Tensor | None = None,
    folder: str | Path | None = None,
    path: str | Path | None = None,
    face_vertices: Sequence[int] | None = None,
) -> SmplBody:
    """A body of the SMPL family.

    Args:
        family: "smpl" (24 joints), "smplh" (52) or "smplx" (55).
        gender: "neutral", "male" or "female".
        betas: (S,) shape coefficients; None is the mean shape.
        folder: folder of the models; None: `smpl_files.body_models_folder()`.
        path: path of the file, instead of gender and folder.
        face_vertices: nose, left eye, right eye, left ear, right ear, if the mesh differs from that of the family.

    Raises:
        FileNotFoundError: the model does not exist; the message explains how to get it.
        ValueError: the file is damaged or of another family, or there are too many betas.
    """
    about = FAMILIES[family]
    path = find_models([(family, gender)], folder)[0] if path is None else Path(path)
    arrays = read_model_arrays(path, MODEL_KEYS)
    parents = check_smpl_arrays(path, arrays, family)
    num_vertices = len(arrays["v_template"])
    values = {k: torch.from_numpy(np.array(arrays[k], np.float32)) for k in MODEL_KEYS[:1] + MODEL_KEYS[2:6]}
    num_betas = values["shapedirs"].shape[-1]
    if family == "smplx":
        num_betas = max(n for n in (0, *_SMPLX_BETAS) if n <= num_betas)
    indices, weights = largest_weights(values["weights"])
    face = about.face_vertices if face_vertices is None else tuple(face_vertices)
    body = SmplBody(
        name=family,
        joint_names=about.joint_names,
        parents=parents,
        rest_joints=values["J_regressor"] @ values["v_template"],
        rest_vertices=values["v_template"],
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        skin_indices=indices,
        skin_weights=weights,
        smpl22=tuple(range(SMPL22.num_joints)),
        licence=f"{about.title} model licence, {about.site}",
        drivers=tuple(j if j < SMPL22.num_joints else -1 for j in range(len(parents))),
        betas=torch.zeros(0),
        template=values["v_template"],
        shape_directions=values["shapedirs"][..., :num_betas],
        joint_regressor=values["J_regressor"],
        pose_directions=values["posedirs"].flatten(0, 1).mT.contiguous(),
        all_weights=values["weights"],
        face_vertices=face if len(face) == len(_FACE) and max(face) < num_vertices else (),
    )
    return body if betas is None else body.with_betas(betas)
