"""The pose of a body in every frame of a motion: joint rotations, translation and rest joints."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hmr4d.body.kinematics import posed_joints
from hmr4d.body.skeleton import SMPL22, Skeleton

OWN_BONES = "own"  # body name for the bones of the motion itself


@dataclass(frozen=True, eq=False)
class Pose:
    """Rotations of the joints of a skeleton over time, on bones of constant length.

    Joint frames are parallel to the world when nothing is rotated, as in a `Body`.

    Attributes:
        body: body model that the rotations belong to, a name that `load_body` knows, such as "smplh"; OWN_BONES if the
            rest joints are not those of a model.
        rotations: (L, J, 3, 3) of each joint in the frame of its parent; the root's in the world.
        translation: (L, 3) meters; the root is at its rest position plus this.
        rest_joints: (J, 3) meters; joint positions without rotation and translation.
        betas: (S,) shape coefficients of a body of the SMPL family for the rest joints; None: unknown.
        gender: of that body model.
    """

    body: str
    rotations: Tensor
    translation: Tensor
    rest_joints: Tensor
    betas: Tensor | None = None
    gender: str = "neutral"

    def __post_init__(self) -> None:
        """ValueError for shapes that do not belong together."""
        shape = tuple(self.rotations.shape)
        if len(shape) != 4 or shape[2:] != (3, 3) or not shape[0]:
            raise ValueError(f"rotations of a pose have shape {shape}; expected (L, J, 3, 3), at least one frame.")
        for name, wanted in (("translation", (shape[0], 3)), ("rest_joints", (shape[1], 3))):
            if (found := tuple(getattr(self, name).shape)) != wanted:
                raise ValueError(
                    f"{name} of a pose has shape {found}; expected {wanted} for rotations of shape {shape}."
                )
        if self.betas is not None and self.betas.ndim != 1:
            raise ValueError(
                f"betas of a pose have shape {tuple(self.betas.shape)}; expected (S,), one shape per clip."
            )

    @property
    def num_frames(self) -> int:
        return len(self.rotations)

    def joints(self, skeleton: Skeleton = SMPL22) -> Tensor:
        """(L, J, 3) meters, world: the joints by forward kinematics."""
        return posed_joints(self.rotations, self.translation, self.rest_joints, skeleton=skeleton)
