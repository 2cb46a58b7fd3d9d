"""Made-up motions of which every rotation is known: turns, bows, raised arms, a person who lies down, and nonsense."""

from __future__ import annotations

import math

import roma
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22

FPS = 30.0
_HINGES = {"left_knee": (0, 1), "right_knee": (0, 1), "left_elbow": (1, -1), "right_elbow": (1, 1)}  # axis, direction


def wander(num_frames: int, generator: torch.Generator, *shape: int, scale: float) -> Tensor:
    """(L, *shape) smooth random curves of about `scale`, by cubic B-splines of a knot every 40 frames."""
    knots = scale * torch.randn(num_frames // 40 + 4, *shape, generator=generator)
    time = torch.arange(num_frames) / 40
    first = time.long()
    u = (time - first).reshape(-1, *(1,) * len(shape))
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    return sum((w * knots[first + k] for k, w in enumerate(weights)), torch.zeros(())) / 4


def person(num_frames: int, seed: int, amount: float = 1.0) -> Tensor:
    """(L, 22, 3) axis-angle of a standing person with hanging arms who moves a little."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.full((22, 1), 0.12)
    for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder"):
        scale[SMPL22.index(name)] = 0.25
    pose = amount * scale * wander(num_frames, generator, 22, 3, scale=1.0)
    for name, (axis, direction) in _HINGES.items():
        bend = 0.25 + wander(num_frames, generator, scale=0.4).abs()
        pose[:, SMPL22.index(name)] = 0.0
        pose[:, SMPL22.index(name), axis] = direction * bend
    pose[:, SMPL22.index("left_shoulder"), 2] -= 1.1
    pose[:, SMPL22.index("right_shoulder"), 2] += 1.1
    return pose


def _to(end: float, num_frames: int) -> Tensor:
    """(L,) from 0 to `end`, slow at both ends."""
    time = torch.linspace(0, 1, num_frames)
    return end * (3 * time**2 - 2 * time**3)


def _about(axis: int, angle: Tensor) -> Tensor:
    return roma.rotvec_to_rotmat(torch.nn.functional.one_hot(torch.tensor(axis), 3) * angle[:, None])


def true_motions(num_frames: int = 120, seed: int = 0) -> dict[str, Tensor]:
    """Rotations (L, 22, 3, 3) against the parent, by name."""
    matrices = roma.rotvec_to_rotmat
    shoulders, spine = list(SMPL22.indices("left_shoulder", "right_shoulder")), [3, 6, 9]
    motions: dict[str, Tensor] = {}
    motions["two turns"] = matrices(person(num_frames, seed))
    motions["two turns"][:, 0] = _about(1, _to(4 * math.pi, num_frames)) @ motions["two turns"][:, 0]
    pose = person(num_frames, seed + 1)
    pose[:, shoulders, 2] = torch.stack([_to(2.8, num_frames) - 1.3, 1.3 - _to(2.8, num_frames)], -1)
    motions["arms overhead"] = matrices(pose)
    pose = person(num_frames, seed + 2)
    pose[:, spine, 0] += _to(0.5, num_frames)[:, None]
    pose[:, 0, 0] += _to(0.7, num_frames)
    motions["bow"] = matrices(pose)
    motions["lies down and rolls over"] = matrices(person(num_frames, seed + 3))
    root = motions["lies down and rolls over"][:, 0]
    lying = _about(0, -_to(math.pi / 2, num_frames)) @ _about(1, _to(math.pi, num_frames))
    motions["lies down and rolls over"][:, 0] = _about(1, _to(2.0, num_frames)) @ lying @ root
    pose = person(num_frames, seed + 4, 0.3)
    pose[:, list(SMPL22.indices("left_knee", "left_elbow", "right_elbow"))] = 0.0
    swinging = matrices(pose)
    down = _about(2, torch.full((num_frames,), -1.5))
    circle = _about(0, torch.linspace(0, -4 * math.pi, num_frames))
    swinging[:, shoulders] = torch.stack([circle @ down, circle @ down.mT], 1)
    swinging[:, SMPL22.index("left_hip")] = _about(0, -2.7 * torch.linspace(0, math.pi, num_frames).sin())
    motions["straight arms circle, straight leg kicks high"] = swinging
    generator = torch.Generator().manual_seed(seed + 5)
    motions["no person moves like this"] = matrices(wander(num_frames, generator, 22, 3, scale=0.5))
    return motions


def steps(rotations: Tensor) -> Tensor:
    """(L - 1, J) radians that joints turn by from frame to frame."""
    return roma.rotmat_geodesic_distance(rotations[1:], rotations[:-1])
