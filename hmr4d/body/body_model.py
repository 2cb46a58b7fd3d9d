"""One interface for all bodies: a skeleton, a mesh on it, and their positions for joint rotations.

All bodies share conventions: meters, y up, rest pose with arms spread (T-pose), facing +z, the left side at +x. In the
    rest pose every joint frame equals the world frame, as in SMPL: joint rotations are in the frame of the parent, and
    zero rotations give the rest pose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from hmr4d.body.kinematics import forward_kinematics
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rotations import quat_wxyz_between, quat_wxyz_to_matrix

STIFFNESS = 1e-3  # stiffness of the mesh at a joint with one bone, relative to the squared length of the bone
BRANCH_STIFFNESS = 0.5  # at a joint with several bones: pelvis and chest follow hips and collars half-way
COCO17 = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

BodyT = TypeVar("BodyT", bound="Body")


@dataclass(frozen=True, eq=False)
class Body:
    """One person's body: skeleton, mesh and skinning weights. Immutable.

    Attributes:
        name: "anny", "smplh", ...
        joint_names: one per joint; the 22 SMPL joints have the names of `SMPL22`, at any index.
        parents: parent per joint, -1 for the root; a parent precedes its children.
        rest_joints: (J, 3) meters.
        rest_vertices: (V, 3) meters.
        faces: (F, 3) int64 vertex indices, counter-clockwise when seen from outside.
        skin_indices: (V, 4) int64 joints that move a vertex; 0 where the weight is 0.
        skin_weights: (V, 4) non-negative, largest first, sum 1.
        smpl22: own joint of each SMPL-22 joint.
        drivers: SMPL-22 joint whose rotation each own joint takes, -1 for none; see `from_smpl22`.
        licence: license of the mesh.
        coco17_weights: (17, V) weights that average vertices into the COCO keypoints, or None.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    rest_joints: Tensor
    rest_vertices: Tensor
    faces: Tensor
    skin_indices: Tensor
    skin_weights: Tensor
    smpl22: tuple[int, ...]
    drivers: tuple[int, ...]
    licence: str
    coco17_weights: Tensor | None = None

    @property
    def num_joints(self) -> int:
        return len(self.joint_names)

    @property
    def num_vertices(self) -> int:
        return len(self.rest_vertices)

    @cached_property
    def offsets(self) -> Tensor:
        """(J, 3) meters from each joint's parent to the joint in the rest pose; the root's own rest position."""
        return torch.stack(
            [
                self.rest_joints[j] - self.rest_joints[p] if p >= 0 else self.rest_joints[j]
                for j, p in enumerate(self.parents)
            ]
        )

    @cached_property
    def bone_lengths(self) -> Tensor:
        """(J,) meters from each joint to its parent; 0 for the root."""
        lengths = self.offsets.norm(dim=-1).clone()
        lengths[self.parents.index(-1)] = 0.0
        return lengths

    def joint_transforms(self, rotations: Tensor, translation: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """World rotations (..., J, 3, 3) and positions (..., J, 3) of all joints; arguments as for `pose`."""
        self._check(rotations, translation)
        world, joints = forward_kinematics(rotations, self.offsets.to(rotations), self.parents)
        return world, joints if translation is None else joints + translation[..., None, :]

    def pose(self, rotations: Tensor, translation: Tensor | None = None) -> Tensor:
        """Positions of all joints.

        Args:
            rotations: (..., J, 3, 3) of each joint in the frame of its parent; the root's in the world.
            translation: (..., 3) meters added to all joints, like `transl` of SMPL: the root is at its rest position
                plus this. None: zero.

        Returns:
            (..., J, 3) meters, in the dtype of `rotations`.

        Raises:
            ValueError: the shapes do not fit this body.
        """
        return self.joint_transforms(rotations, translation)[1]

    def vertices(self, rotations: Tensor, translation: Tensor | None = None) -> Tensor:
        """Positions (..., V, 3) of all vertices by linear blend skinning; arguments as for `pose`."""
        return self._skin(self._skinning_matrix, rotations, translation)

    def coco17(self, rotations: Tensor, translation: Tensor | None = None) -> Tensor:
        """The 17 COCO keypoints (..., 17, 3) on the moved mesh; arguments as for `pose`.

        Raises:
            ValueError: this body has no table of keypoints.
        """
        if self.coco17_weights is None:
            raise ValueError(f"Body '{self.name}' has no COCO keypoints; use a body with them, for example 'anny'.")
        return self._skin(self.coco17_weights @ self._skinning_matrix, rotations, translation)

    def from_smpl22(self, rotations: Tensor) -> Tensor:
        """Rotations (..., J, 3, 3) of all own joints from those of the SMPL-22 joints (..., 22, 3, 3).

        Joints that no SMPL joint drives (fingers, jaw, the upper half of a divided bone) keep their rest rotation.
        """
        if rotations.shape[-3:] != (SMPL22.num_joints, 3, 3):
            raise ValueError(f"rotations has shape {tuple(rotations.shape)}, expected (..., 22, 3, 3): matrices.")
        still = torch.eye(3).to(rotations).expand(*rotations.shape[:-3], 1, 3, 3)
        source = [SMPL22.num_joints if d < 0 else d for d in self.drivers]
        return torch.cat([rotations, still], -3)[..., source, :, :]

    def with_bone_lengths(self: BodyT, lengths: Tensor) -> BodyT:
        """The same body with other bone lengths; bone directions are kept, and the mesh is adapted.

        The part of the mesh at a joint is moved by the linear map that takes the joint's rest bones to the new ones
        (all of them in the least-squares sense) and otherwise scales with the whole body, so that limbs get longer, not
        thicker, and a common scale of all lengths scales the body. The lowest vertex keeps its height.

        Args:
            lengths: (J,) meters from each joint to its parent, or (22,) from each SMPL-22 joint to its parent; joints
                between or beyond SMPL joints are then moved along. The root's value is not used.

        Raises:
            ValueError: wrong number of lengths, or one that is not positive.
        """
        return self._with_offsets(self.offsets * self._length_ratios(lengths.detach().to(self.rest_joints))[:, None])

    def with_rest_joints(self: BodyT, joints: Tensor) -> BodyT:
        """The same body with other bones, in length and direction; the mesh is adapted as in `with_bone_lengths`.

        Args:
            joints: (22, 3) meters, the SMPL joints in the rest pose; joints between or beyond them are moved along.
                Only differences between joints matter.

        Raises:
            ValueError: wrong shape, or a bone of no length.
        """
        if joints.shape != (SMPL22.num_joints, 3):
            raise ValueError(f"joints has shape {tuple(joints.shape)}, expected (22, 3): the SMPL joints at rest.")
        joints = joints.detach().to(self.rest_joints)
        old = self.rest_joints[list(self.smpl22)]
        lengths = torch.zeros_like(joints[:, 0])
        turns = torch.eye(3).to(joints).repeat(self.num_joints, 1, 1)
        for parent, child in SMPL22.bones:
            before, after = old[child] - old[parent], joints[child] - joints[parent]
            lengths[child] = after.norm()
            axis = torch.linalg.cross(before, torch.eye(3).to(before)[before.abs().argmin()])
            turn = quat_wxyz_to_matrix(quat_wxyz_between(before, after, antiparallel_axis=tuple(axis.tolist())))
            turns[self._joints_between(parent, child)] = turn
        ratios = self._length_ratios(lengths)[:, None]
        return self._with_offsets((turns @ (self.offsets * ratios)[..., None])[..., 0])

    def to(self: BodyT, target: torch.device | str | torch.dtype) -> BodyT:
        """The same body on another device, or with other floating-point numbers."""
        is_dtype = isinstance(target, torch.dtype)
        moved = {
            name: value.to(target)
            for name, value in vars(self).items()
            if name in self.__dataclass_fields__
            and isinstance(value, Tensor)
            and (value.is_floating_point() or not is_dtype)
        }
        return replace(self, **moved)

    # ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _skinning_matrix(self) -> Tensor:
        """(V, 4 J): weight times homogeneous rest position relative to each joint, so that skinning is one product."""
        local = self.rest_vertices[:, None] - self.rest_joints[self.skin_indices]
        local = torch.cat([local, torch.ones_like(local[..., :1])], -1) * self.skin_weights[..., None]
        matrix = local.new_zeros(self.num_vertices, self.num_joints, 4)
        index = self.skin_indices[..., None].expand_as(local)
        return matrix.scatter_add_(1, index, local).flatten(1)

    def _skin(self, matrix: Tensor, rotations: Tensor, translation: Tensor | None) -> Tensor:
        """Points (..., P, 3) of rows (P, 4 J) like those of the skinning matrix."""
        world, joints = self.joint_transforms(rotations, translation)
        transforms = torch.cat([world, joints[..., None]], -1)  # (..., J, 3, 4)
        columns = transforms.transpose(-3, -2).flatten(-2)  # (..., 3, 4 J)
        return (columns @ matrix.to(rotations).mT).mT.contiguous()

    def _reshaped(self: BodyT, rest_joints: Tensor, rest_vertices: Tensor) -> BodyT:
        return replace(self, rest_joints=rest_joints, rest_vertices=rest_vertices)

    def _with_offsets(self: BodyT, new: Tensor) -> BodyT:
        """This body with other offsets (J, 3) meters; the root's own is not used."""
        old = self.offsets
        scale = float(new[1:].norm(dim=-1).sum() / old[1:].norm(dim=-1).sum())
        joints = torch.zeros_like(new)
        for j, parent in enumerate(self.parents):
            joints[j] = new[j] + joints[parent] if parent >= 0 else old[j]
        maps = torch.stack([self._bone_map(j, old, new, scale) for j in range(self.num_joints)])
        local = self.rest_vertices[:, None] - self.rest_joints[self.skin_indices]  # (V, 4, 3)
        moved = (maps[self.skin_indices] @ local[..., None])[..., 0] + joints[self.skin_indices]
        vertices = (self.skin_weights[..., None] * moved).sum(1)
        lift = torch.zeros_like(joints[0])
        lift[1] = self.rest_vertices[:, 1].min() - vertices[:, 1].min()
        return self._reshaped(joints + lift, vertices + lift)

    def _length_ratios(self, lengths: Tensor) -> Tensor:
        """(J,) new over old length of every bone."""
        if lengths.shape not in ((self.num_joints,), (SMPL22.num_joints,)):
            raise ValueError(
                f"lengths has shape {tuple(lengths.shape)}, body '{self.name}' needs ({self.num_joints},) for its own "
                "joints or (22,) for the SMPL joints."
            )
        is_own = lengths.shape == (self.num_joints,)
        parents = self.parents if is_own else SMPL22.parents
        names = self.joint_names if is_own else SMPL22.joint_names
        bones = [j for j, p in enumerate(parents) if p >= 0]
        if wrong := [names[j] for j in bones if not (lengths[j] > 0 and lengths[j].isfinite())]:
            raise ValueError(f"Bone lengths must be positive numbers of meters; those to {', '.join(wrong)} are not.")
        if is_own:
            old = torch.where(self.bone_lengths > 0, self.bone_lengths, torch.ones_like(lengths))
            return torch.where(self.bone_lengths > 0, lengths / old, torch.ones_like(lengths))
        ends = self.rest_joints[list(self.smpl22)]
        old = torch.stack([(ends[j] - ends[parents[j]]).norm() for j in bones])
        ratios = torch.full_like(self.bone_lengths, float(lengths[bones].sum() / old.sum()))
        for bone, length in zip(bones, old, strict=True):
            ratios[self._joints_between(parents[bone], bone)] = lengths[bone] / length
        return ratios

    def _joints_between(self, parent: int, child: int) -> list[int]:
        """Own joints from SMPL-22 joint `child` up to, but without, its SMPL-22 parent."""
        joints = [self.smpl22[child]]
        while (above := self.parents[joints[-1]]) != self.smpl22[parent]:
            joints.append(above)
        return joints

    def _bone_map(self, joint: int, old: Tensor, new: Tensor, scale: float) -> Tensor:
        """(3, 3) map of the rest bones from a joint onto the new ones, near `scale` times the identity."""
        identity = torch.eye(3).to(old)
        children = [c for c, p in enumerate(self.parents) if p == joint]
        before, change = old[children].mT, (new[children] - scale * old[children]).mT  # (3, children)
        squared = (before**2).sum()
        if squared == 0:
            return scale * identity
        stiffness = STIFFNESS if len(children) == 1 else BRANCH_STIFFNESS
        inverse = torch.linalg.inv(before @ before.mT + stiffness * squared * identity)
        return scale * identity + change @ before.mT @ inverse

    def _check(self, rotations: Tensor, translation: Tensor | None) -> None:
        if rotations.shape[-3:] != (self.num_joints, 3, 3):
            raise ValueError(
                f"rotations has shape {tuple(rotations.shape)}, body '{self.name}' needs (..., {self.num_joints}, 3, 3)"
                ": one matrix per joint. from_smpl22() computes them from those of the 22 SMPL joints."
            )
        if translation is not None and translation.shape != (*rotations.shape[:-3], 3):
            raise ValueError(
                f"translation has shape {tuple(translation.shape)}, expected {(*rotations.shape[:-3], 3)} as rotations "
                f"has shape {tuple(rotations.shape)}."
            )
