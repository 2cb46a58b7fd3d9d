"""Where on the floor a motion is put so that a rig sees it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.geometry.rigs import Rig, project
from hmr4d.utils.randomness import ItemRandom

PROBED_FRAMES = 8  # of the motion; candidates are judged by these
PROBE_MARGIN = 0.2  # metres of depth to spare for the frames between


@dataclass(frozen=True)
class PlacementRules:
    """When a place is good.

    Attributes:
        near, far: metres from V0, of the root's mean place.
        inside: share of V0's joints that lie in its image.
        seen: share of the frames in which each other view has the root in its image.
        min_depth: metres that every joint lies in front of every camera.
        candidates: places tried at once.
        rigs: rigs tried, one after the other, until one has a good place.
    """

    near: float = 2.0
    far: float = 12.0
    inside: float = 0.95
    seen: float = 0.8
    min_depth: float = 0.3
    candidates: int = 16
    rigs: int = 8


@dataclass(frozen=True)
class Place:
    """A place of a motion.

    Attributes:
        offset: (2,) x and z to add, metres.
        score: how well it is seen; at least 1 where the rules are met, negative where a joint is behind a camera.
    """

    offset: Tensor
    score: float


def find_place(joints3d: Tensor, root: tuple[int, ...], rig: Rig, rules: PlacementRules, rng: ItemRandom) -> Place:
    """The first good place of `rules.candidates` drawn evenly over the floor that V0 sees, or the best of them.

    Args:
        joints3d: (L, J, 3) metres, feet on the floor, the root's mean at x = z = 0.
        root: joints whose mean is the root.
        rig: (V, ...) views that are to see it.
        rules: what is good.
        rng: draws the candidates.
    """
    offsets = _candidates(rig, rules, rng)
    probe = joints3d[torch.linspace(0, len(joints3d) - 1, min(PROBED_FRAMES, len(joints3d))).round().long()]
    moved = probe + torch.stack([offsets[:, 0], torch.zeros_like(offsets[:, 0]), offsets[:, 1]], -1)[:, None, None]
    pixels, depth = project(rig, moved)  # (C, V, P, J, 2)
    seen = (pixels >= 0).all(-1) & (pixels <= rig.size[:, None, None] - 1).all(-1) & (depth > 0)
    score = seen[:, 0].float().mean((-1, -2)) / rules.inside
    if rig.num_views > 1:
        roots = _root_seen(pixels[:, 1:], rig.size[1:], root) & (depth[:, 1:] > 0).all(-1)
        score = torch.minimum(score, roots.float().mean(-1).amin(-1) / rules.seen)
    behind = depth.amin((-1, -2, -3)) < rules.min_depth + PROBE_MARGIN
    score = torch.where(behind, score - 2.0, score)
    good = (score >= 1).nonzero()
    best = int(good[0, 0]) if len(good) else int(score.argmax())
    return Place(offsets[best], float(score[best]))


def _candidates(rig: Rig, rules: PlacementRules, rng: ItemRandom) -> Tensor:
    """(C, 2) x and z, even over the part of the floor between `near` and `far` that is within V0's image in width."""
    u = rng.uniform(2, rules.candidates)
    depth = (rules.near**2 + (rules.far**2 - rules.near**2) * u[0]).sqrt()
    focal, center, width = rig.K4[0, 0], rig.K4[0, 2], rig.size[0, 0]
    return torch.stack([depth * (u[1] * width - center) / focal, -depth], -1)


def _root_seen(pixels: Tensor, size: Tensor, root: tuple[int, ...]) -> Tensor:
    """(C, V, P) whether the root of points (C, V, P, J, 2) lies in images of `size` (V, 2)."""
    place = pixels[..., list(root), :].mean(-2)
    return ((place >= 0) & (place <= size[:, None] - 1)).all(-1)
