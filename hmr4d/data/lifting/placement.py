"""Placement of a motion on the floor such that a rig sees it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.geometry.rigs import Rig, project
from hmr4d.utils.randomness import ItemRandom

PROBED_FRAMES = 8  # number of frames for rating candidates
PROBE_MARGIN = 0.2  # margin in meters of depth for the frames between


@dataclass(frozen=True)
class PlacementRules:
    """Criteria of a good position.

    Attributes:
        near, far: meters from V0, limits of the mean root position. inside: minimum fraction of V0's joints in its
            image. seen: minimum fraction of the frames with the root in the image of each other view. min_depth:
            minimum depth in meters of every joint in every camera. candidates: positions tried at once. rigs: maximum
            number of rigs to try.
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
    """A position of a motion.

    Attributes:
        offset: (2,) x and z to add, meters.
        score: visibility; at least 1 if the criteria are met, negative if a joint is behind a camera.
    """

    offset: Tensor
    score: float


def find_place(joints3d: Tensor, root: tuple[int, ...], rig: Rig, rules: PlacementRules, rng: ItemRandom) -> Place:
    """The first good position of `rules.candidates` uniform on the floor seen by V0, or the best of them.

    Args:
        joints3d: (L, J, 3) meters, feet on the floor, the root's mean at x = z = 0.
        root: joints whose mean is the root.
        rig: (V, ...) views. rules: criteria.
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
