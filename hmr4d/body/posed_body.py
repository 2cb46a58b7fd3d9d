"""A body in every frame of a motion: its pose, its joints and its mesh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmr4d.body.body_model import Body

FRAMES_OF_MESH = 32


@dataclass(frozen=True)
class PosedBody:
    """One body in every frame of a motion.

    Attributes:
        body: body with the bones of the motion.
        rotations: (L, J, 3, 3) of its joints relative to their parents.
        translation: (L, 3) meters, as in `Body.pose`.
    """

    body: Body
    rotations: Tensor
    translation: Tensor

    @property
    def num_frames(self) -> int:
        return len(self.rotations)

    def joints22(self) -> Tensor:
        """(L, 22, 3) meters; the SMPL joints."""
        return self.body.pose(self.rotations, self.translation)[:, list(self.body.smpl22)]

    def meshes(self) -> Iterator[Tensor]:
        """Yields the vertices (V, 3) frame by frame, in meters; only few frames are in memory at a time."""
        for start in range(0, self.num_frames, FRAMES_OF_MESH):
            block = slice(start, start + FRAMES_OF_MESH)
            yield from self.body.vertices(self.rotations[block], self.translation[block])

    def bounds(self) -> Tensor:
        """(L, 2, 3) meters; least and greatest x, y and z of the mesh in every frame."""
        return torch.stack([torch.stack(torch.aminmax(mesh, dim=0)) for mesh in self.meshes()])

    def raised(self, height: float) -> PosedBody:
        """The same, `height` meters higher."""
        return replace(self, translation=self.translation + self.translation.new_tensor([0.0, height, 0.0]))
