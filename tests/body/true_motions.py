"""Made-up motions of which every rotation is known: turns, bows, cartwheels, a person who lies down, and nonsense."""

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


def floor_motions(num_frames: int = 120, seed: int = 0) -> dict[str, Tensor]:
    """More of them (L, 22, 3, 3): head over heels, on hands and knees, and sitting down."""
    still, there_and_back = torch.ones(num_frames), torch.linspace(0, math.pi, num_frames).sin()
    hips, knees, shoulders = (
        list(SMPL22.indices(f"left_{part}", f"right_{part}")) for part in ("hip", "knee", "shoulder")
    )
    motions: dict[str, Tensor] = {}
    pose = person(num_frames, seed + 10, 0.5)
    pose[:, shoulders, 2] += torch.tensor([2.4, -2.4])
    pose[:, hips, 2] += torch.tensor([0.7, -0.7])
    motions["cartwheel"] = roma.rotvec_to_rotmat(pose)
    wheel = _about(2, -_to(2 * math.pi, num_frames)) @ _about(1, _to(0.5, num_frames))
    motions["cartwheel"][:, 0] = wheel @ motions["cartwheel"][:, 0]
    pose = person(num_frames, seed + 11, 0.5)
    pose[:, hips, 0] -= 1.8 * there_and_back[:, None]
    pose[:, knees, 0] += 1.8 * there_and_back[:, None]
    motions["somersault"] = roma.rotvec_to_rotmat(pose)
    motions["somersault"][:, 0] = _about(0, _to(2 * math.pi, num_frames)) @ motions["somersault"][:, 0]
    pose = person(num_frames, seed + 12, 0.5)
    pose[:, [3, 6, 9], 0] += 0.5 * there_and_back[:, None]
    pose[:, 0, 0] += 1.2 * there_and_back
    pose[:, hips, 0] -= 0.6 * there_and_back[:, None]
    motions["touches the toes"] = roma.rotvec_to_rotmat(pose)
    pose = person(num_frames, seed + 13, 0.6)
    pose[:, hips, 0] -= _to(1.6, num_frames)[:, None]
    pose[:, knees, 0] += _to(1.5, num_frames)[:, None]
    motions["sits down"] = roma.rotvec_to_rotmat(pose)
    crawl, swing = roma.rotvec_to_rotmat(person(num_frames, seed + 14, 0.6)), torch.linspace(0, 19, num_frames).sin()
    crawl[:, 0] = _about(1, _to(1.5, num_frames)) @ _about(0, 1.4 * still)
    for side, sign in (("left", 1), ("right", -1)):
        crawl[:, SMPL22.index(f"{side}_hip")] = _about(0, -1.5 + 0.4 * sign * swing) @ _about(2, 0.1 * sign * still)
        crawl[:, SMPL22.index(f"{side}_knee")] = _about(0, 1.5 - 0.3 * sign * swing)
        crawl[:, SMPL22.index(f"{side}_shoulder")] = _about(1, -1.5 * sign * still) @ _about(2, 0.4 * swing)
        crawl[:, SMPL22.index(f"{side}_elbow")] = _about(1, -sign * (0.2 + 0.1 * sign * swing))
    motions["crawls"] = crawl
    return motions


def steps(rotations: Tensor) -> Tensor:
    """(L - 1, J) radians that joints turn by from frame to frame."""
    return roma.rotmat_geodesic_distance(rotations[1:], rotations[:-1])
