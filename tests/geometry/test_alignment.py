"""Alignment of points: known similarities come back, reflections never do, degenerate points stay finite."""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from hmr4d.geometry.alignment import align_points


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_similarity_is_restored() -> None:
    x = points(4, 5, 9)
    R = roma.rotvec_to_rotmat(points(4, 5, seed=1))
    scale, t = 0.5 + points(4, 5, seed=2)[..., 0].abs(), points(4, 5, seed=3)
    y = scale[..., None, None] * (x @ R.mT) + t[..., None, :]
    fit = align_points(x, y)
    torch.testing.assert_close(fit.scale, scale)
    torch.testing.assert_close(fit.R, R)
    torch.testing.assert_close(fit.t, t)
    torch.testing.assert_close(fit.apply(x), y)
    assert torch.equal(align_points(x, y, with_scale=False).scale, torch.ones(4, 5, dtype=torch.float64))


def test_a_mirror_image_is_not_turned_inside_out() -> None:
    x = points(9)
    y = x * torch.tensor([-1.0, 1.0, 1.0])
    fit = align_points(x, y)
    torch.testing.assert_close(torch.linalg.det(fit.R), torch.tensor(1.0, dtype=torch.float64))
    error = (fit.apply(x) - y).square().sum()
    for seed in range(20):  # no other proper similarity does better
        other = fit._replace(R=roma.rotvec_to_rotmat(0.1 * points(seed=seed)) @ fit.R)
        assert (other.apply(x) - y).square().sum() >= error


def test_points_of_no_weight_do_not_count() -> None:
    x, y = points(9), points(9, seed=1)
    weights = torch.tensor([1.0, 2, 1, 3, 1, 1, 0, 0, 0])
    fit = align_points(x, y, weights)
    other = align_points(x + 5 * (weights == 0)[:, None], y, weights)
    torch.testing.assert_close(fit, other)
    doubled = torch.cat([x[:6], x[[1, 3, 3]]]), torch.cat([y[:6], y[[1, 3, 3]]])
    torch.testing.assert_close(fit, align_points(*doubled))


def test_points_that_coincide_are_moved_only() -> None:
    x, y = torch.ones(3, 4, 3), torch.full((3, 4, 3), 2.0)
    fit = align_points(x, y)
    assert torch.equal(fit.R, torch.eye(3).expand(3, 3, 3))
    assert torch.equal(fit.apply(x), y)
    nothing = align_points(x, y, torch.zeros(3, 4))
    assert torch.equal(nothing.apply(x), x)


def test_the_size_of_weights_does_not_matter() -> None:
    x, y = points(9), points(9, seed=1)
    weights = torch.rand(9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(align_points(x, y, weights), align_points(x, y, 0.01 * weights))
