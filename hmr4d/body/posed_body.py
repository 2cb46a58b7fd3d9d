"""A body that follows a motion: joints in, a mesh for every frame out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmr4d.body.body_model import Body, load_body
from hmr4d.body.inverse_kinematics import clip_rest_joints, solve_pose

FRAMES_TO_SOLVE = 4096  # at once; bounds the memory of long motions
FRAMES_TO_MEASURE = 8192  # of a longer motion; its bones are measured in so many frames, evenly spread
FRAMES_OF_MESH = 32
SINKING_SHARE = 0.05  # of the frames may reach under the floor: a single bad one shall not lift a whole motion


@dataclass(frozen=True)
class PosedBody:
    """One body in every frame of a motion.

    Attributes:
        body: whose bones are those of the motion.
        rotations: (L, J, 3, 3) of its joints in the frames of their parents.
        translation: (L, 3) metres, as in `Body.pose`.
    """

    body: Body
    rotations: Tensor
    translation: Tensor

    @property
    def num_frames(self) -> int:
        return len(self.rotations)

    def joints22(self) -> Tensor:
        """(L, 22, 3) metres; the SMPL joints."""
        return self.body.pose(self.rotations, self.translation)[:, list(self.body.smpl22)]

    def meshes(self) -> Iterator[Tensor]:
        """Yields the vertices (V, 3) of frame after frame, metres; few frames are in memory at a time."""
        for start in range(0, self.num_frames, FRAMES_OF_MESH):
            block = slice(start, start + FRAMES_OF_MESH)
            yield from self.body.vertices(self.rotations[block], self.translation[block])

    def bounds(self) -> Tensor:
        """(L, 2, 3) metres; least and greatest x, y and z of the mesh in every frame."""
        return torch.stack([torch.stack(torch.aminmax(mesh, dim=0)) for mesh in self.meshes()])

    def raised(self, height: float) -> PosedBody:
        """The same, `height` metres higher."""
        return replace(self, translation=self.translation + self.translation.new_tensor([0.0, height, 0.0]))


def pose_after(joints3d: Tensor, body: Body | None = None) -> PosedBody:
    """A body that moves like a motion: its bones take the lengths they have in the motion, its mesh goes along.

    Args:
        joints3d: (L, 22, 3) metres, y up.
        body: anyone's. None: the free light body.

    Raises:
        ValueError: a motion that is not finite, has other joints, or bones without length.
    """
    body = load_body() if body is None else body
    joints3d = joints3d.float()
    measured = joints3d[:: -(-len(joints3d) // FRAMES_TO_MEASURE)]
    rest = clip_rest_joints(measured, body.rest_joints[list(body.smpl22)])
    body = body.with_rest_joints(rest)
    solved = [solve_pose(block, rest).rotations for block in joints3d.split(FRAMES_TO_SOLVE)]
    rotations = torch.cat([body.from_smpl22(block) for block in solved])
    return PosedBody(body, rotations, joints3d[:, 0] - body.pose(rotations)[:, body.smpl22[0]])


def sinking(bounds: Tensor) -> float:
    """Metres by which a mesh with bounds (L, 2, 3) must be raised to stand on the floor y = 0; 0 if it does not sink.

    Motions whose lowest joint was put on the floor sink by the thickness of a foot. Allows for few bad frames.
    """
    return max(0.0, -float(bounds[:, 0, 1].double().quantile(SINKING_SHARE)))
