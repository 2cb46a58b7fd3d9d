"""Joints and keypoints of a body with a shape per frame, without its mesh.

All products with the mesh are precomputed: a keypoint is a weighted mean of skinned vertices, which is one product of
    the joint transforms with a row that depends linearly on the shape. Only the pose-dependent corrections of SMPL need
    the few vertices of the keypoints. The results are those of full skinning (Loper et al.,
"SMPL", 2015, eq. 2-12) followed by the choice of keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from hmr4d.body.body_model import COCO17, Body
from hmr4d.body.kinematics import forward_kinematics
from hmr4d.body.light_body import load_light_body, stick_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import SmplBody, load_smpl_body
from hmr4d.utils.precision import full_precision

NUM_BETAS = 10
STEP = 0.05  # change of lengths per shape coefficient of a body without its own shape space
BONE_GROUPS: tuple[
    Mapping[str, float], ...
] = (  # bones, by the names of their end joints, that a coefficient lengthens
    {"": 1.0},
    {"knee": 1.0, "ankle": 1.0},
    {"elbow": 1.0, "wrist": 1.0},
    {"spine": 1.0},
    {"collar": 1.0, "shoulder": 1.0},
    {"hip": 1.0},
    {"knee": 1.0, "ankle": -1.0},
    {"elbow": 1.0, "wrist": -1.0},
    {"neck": 1.0, "head": 1.0},
    {"foot": 1.0},
)


@dataclass(frozen=True, eq=False)
class Bulge:
    """How the surface below keypoints changes with the pose.

    Attributes:
        directions: (9 (J - 1), P, 3) meters per entry of the rotation matrices minus identity, of P vertices.
        weights: (P, J) skinning weights.
        mixing: (K, P) weights that average the vertices into keypoints.
    """

    directions: Tensor
    weights: Tensor
    mixing: Tensor


@dataclass(frozen=True, eq=False)
class KeypointBody:
    """Joints and keypoints as a differentiable function of shape, rotations and translation.

    Attributes:
        name: name of the body for `load_body`. licence: license of its mesh.
        parents: per joint, -1 for the root.
        rest_joints: (J, 3) meters, of the mean shape.
        joint_directions: (J, 3, S) meters per shape coefficient.
        rows: (K, 4 J) keypoints as products with the transforms of the joints, of the mean shape.
        row_directions: (S, K, 4 J) change per shape coefficient.
        bulge: pose-dependent correction, or None.
    """

    name: str
    licence: str
    parents: tuple[int, ...]
    rest_joints: Tensor
    joint_directions: Tensor
    rows: Tensor
    row_directions: Tensor
    bulge: Bulge | None = None

    @property
    def num_joints(self) -> int:
        return len(self.parents)

    @property
    def num_betas(self) -> int:
        return self.joint_directions.shape[-1]

    def shaped_joints(self, betas: Tensor) -> Tensor:
        """(..., J, 3) metres: rest joints at shapes (..., S)."""
        return self.rest_joints.to(betas) + (self.joint_directions.to(betas) @ betas[..., None, :, None])[..., 0]

    @full_precision
    def __call__(self, betas: Tensor, rotations: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
        """Joints and keypoints.

        Args:
            betas: (..., S) shape coefficients, also frame by frame.
            rotations: (..., J', 3, 3) of each joint in the frame of its parent; additional joints, such as hands, are
                ignored.
            translation: (..., 3) meters; the root is at its rest position plus this.

        Returns:
            Joints (..., J, 3) and keypoints (..., K, 3), meters, in the frame of the translation.

        Raises:
            ValueError: too few joints, or another number of coefficients.
        """
        if rotations.shape[-3] < self.num_joints or betas.shape[-1] != self.num_betas:
            raise ValueError(
                f"rotations has shape {tuple(rotations.shape)} and betas {tuple(betas.shape)}; body '{self.name}' "
                f"needs (..., {self.num_joints}, 3, 3) and (..., {self.num_betas})."
            )
        rotations = rotations[..., : self.num_joints, :, :]
        rest = self.shaped_joints(betas)
        offsets = torch.cat([rest[..., :1, :], rest[..., 1:, :] - rest[..., list(self.parents[1:]), :]], -2)
        world, joints = forward_kinematics(rotations, offsets, self.parents)
        transforms = torch.cat([world, joints[..., None]], -1).transpose(-3, -2).flatten(-2)  # (..., 3, 4 J)
        products = (transforms @ self._all_rows.to(betas)).unflatten(-1, (self.num_betas + 1, -1))
        keypoints = products[..., 0, :] + (betas[..., None, None, :] @ products[..., 1:, :])[..., 0, :]
        keypoints = keypoints.mT
        if self.bulge is not None:
            keypoints = keypoints + self._bulges(self.bulge, rotations, world)
        return joints + translation[..., None, :], keypoints + translation[..., None, :]

    def to(self, dtype: torch.dtype) -> KeypointBody:
        """The same with other floating-point numbers."""
        bulge = self.bulge and Bulge(*(t.to(dtype) for t in vars(self.bulge).values()))
        moved = {k: v.to(dtype) for k, v in vars(self).items() if k in self._tensors and isinstance(v, Tensor)}
        return replace(self, **moved, bulge=bulge)

    _tensors = ("rest_joints", "joint_directions", "rows", "row_directions")

    @cached_property
    def _all_rows(self) -> Tensor:
        """(4 J, (S + 1) K): rows of the mean shape and their changes, as one matrix."""
        return torch.cat([self.rows[None], self.row_directions]).flatten(0, 1).mT.contiguous()

    @staticmethod
    def _bulges(bulge: Bulge, rotations: Tensor, world: Tensor) -> Tensor:
        """(..., K, 3) meters that the pose moves keypoints by."""
        bend = (rotations[..., 1:, :, :] - torch.eye(3).to(rotations)).flatten(-3)
        moved = (bend @ bulge.directions.flatten(1).to(bend)).unflatten(-1, (-1, 3))  # (..., P, 3) at rest
        blended = (bulge.weights.to(bend) @ world.flatten(-2)).unflatten(-1, (3, 3))  # (..., P, 3, 3)
        return bulge.mixing.to(bend) @ (blended @ moved[..., None])[..., 0]


def keypoints_of_smpl(body: SmplBody, *, regressor: Tensor | None = None, num_betas: int = NUM_BETAS) -> KeypointBody:
    """COCO keypoints of a body of the SMPL family.

    Args:
        body: provides the shape directions; its own shape is not used.
        regressor: (K, V) weights that average vertices into keypoints; None: vertices of the face and joints.
        num_betas: S.

    Raises:
        ValueError: the regressor does not fit the mesh, or the face of the mesh is not known.
    """
    joint_rows: Sequence[int] = ()
    if regressor is None:
        if not body.face_vertices:
            raise ValueError(f"The face of this mesh of {body.num_vertices} vertices is not known; give a regressor.")
        chosen = list(body.face_vertices)
        mixing = torch.eye(len(chosen)).to(body.template)
        joint_rows = [body.joint_names.index(name) for name in COCO17[len(chosen) :]]
    else:
        if regressor.ndim != 2 or regressor.shape[1] != body.num_vertices:
            raise ValueError(f"regressor has shape {tuple(regressor.shape)}; expected (17, {body.num_vertices}).")
        chosen = regressor.any(0).nonzero()[:, 0].tolist()
        mixing = regressor[:, chosen].to(body.template)
    directions = body.shape_directions[..., :num_betas]
    joint_directions = body.joint_directions[..., :num_betas]
    weights, joints = body.all_weights[chosen], body.joint_regressor @ body.template
    rows = _mixed_rows(body.template[chosen], joints, weights, mixing, joint_rows, at_rest=1.0)
    changes = [
        _mixed_rows(directions[chosen, :, s], joint_directions[..., s], weights, mixing, joint_rows, at_rest=0.0)
        for s in range(directions.shape[-1])
    ]
    padded = torch.cat([mixing, mixing.new_zeros(len(joint_rows), len(chosen))])
    bulge = Bulge(body.pose_directions.unflatten(-1, (-1, 3))[:, chosen], weights, padded)
    return KeypointBody(
        body.name, body.licence, body.parents, joints, joint_directions, rows, torch.stack(changes), bulge
    )


def keypoints_of_body(body: Body) -> KeypointBody:
    """COCO keypoints of a body without shapes: its coefficients change lengths of bones, see BONE_GROUPS.

    Raises:
        ValueError: the body has other joints than SMPL-22, or no table of keypoints.
    """
    if body.parents != SMPL22.parents or body.coco17_weights is None:
        raise ValueError(f"Body '{body.name}' has no COCO keypoints on the SMPL-22 joints; use 'anny' or 'stick'.")
    joint_directions, row_directions = [], []
    for group in BONE_GROUPS:
        share = torch.tensor([sum(w for part, w in group.items() if part in name) for name in SMPL22.joint_names])
        longer, shorter = (body.with_bone_lengths(body.bone_lengths * (1 + sign * STEP * share)) for sign in (1, -1))
        joint_directions.append((longer.rest_joints - shorter.rest_joints) / 2)
        row_directions.append((_rows_of(longer) - _rows_of(shorter)) / 2)
    return KeypointBody(
        body.name,
        body.licence,
        body.parents,
        body.rest_joints,
        torch.stack(joint_directions, -1),
        _rows_of(body),
        torch.stack(row_directions),
    )


@lru_cache(maxsize=4)
def load_keypoint_body(name: str = "anny", **options: Any) -> KeypointBody:
    """A body by name: "anny" and "stick" need no files, "smpl" needs the file of the user; options as for
    `load_smpl_body`.

    Raises:
        ValueError: unknown name.
        FileNotFoundError: the licensed file is missing; the message explains how to get it.
    """
    if name == "smpl":
        return keypoints_of_smpl(load_smpl_body("smpl", **options))
    makers = {"anny": load_light_body, "stick": stick_body}
    if name not in makers:
        raise ValueError(f"Unknown body '{name}'; known here: {', '.join((*makers, 'smpl'))}.")
    return keypoints_of_body(makers[name](**options))


def _rows_of(body: Body) -> Tensor:
    """(K, 4 J) rows of the COCO keypoints of a body."""
    assert body.coco17_weights is not None  # checked by the caller
    dense = torch.zeros(body.num_vertices, body.num_joints).to(body.skin_weights)
    dense.scatter_add_(1, body.skin_indices, body.skin_weights)
    return _mixed_rows(body.rest_vertices, body.rest_joints, dense, body.coco17_weights, (), at_rest=1.0)


def _mixed_rows(
    vertices: Tensor, joints: Tensor, weights: Tensor, mixing: Tensor, joint_rows: Sequence[int], *, at_rest: float
) -> Tensor:
    """(K, 4 J): keypoints as weighted means of vertices (P, 3) on joints (J, 3) with weights (P, J), then the joints.

    `at_rest` is the factor of a joint's own position: 1 for a shape, 0 for a shape direction.
    """
    local = vertices[:, None] - joints  # (P, J, 3)
    local = torch.cat([local, torch.full_like(local[..., :1], at_rest)], -1) * weights[..., None]
    rows = (mixing @ local.flatten(1)).unflatten(-1, (-1, 4))  # (K, J, 4)
    own = rows.new_zeros(len(joint_rows), *rows.shape[1:])
    own[range(len(joint_rows)), list(joint_rows), 3] = at_rest
    return torch.cat([rows, own]).flatten(1)
