"""Boxes around the root."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.representation.bbox import (
    BOX_MARGIN,
    bbox,
    fixed_box,
    largest_box,
    normalize_points,
)


def tracks(*leading: int) -> Tensor:
    """(*leading, 23, 2) pixels."""
    return 112 + 60 * torch.randn(*leading, 23, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("per_frame", [True, False])
def test_the_farthest_point_lies_at_the_margin(per_frame: bool) -> None:
    points = tracks(4, 10)
    normalized = normalize_points(points, bbox(points, per_frame=per_frame))
    assert not normalized[..., 0, :].any()
    reach = normalized.abs().amax((-1, -2))
    limit = torch.full((4, 10 if per_frame else 1), 1 / BOX_MARGIN)
    assert torch.allclose(reach if per_frame else reach.amax(-1, keepdim=True), limit, atol=1e-6)


@pytest.mark.parametrize("per_frame", [True, False])
def test_place_and_size_in_the_image_do_not_matter(per_frame: bool) -> None:
    points = tracks(10).double()
    walk = torch.linspace(0, 300, 10).double()[:, None, None]

    def framed(x: Tensor) -> Tensor:
        return normalize_points(x, bbox(x, per_frame=per_frame))

    assert torch.allclose(framed(0.3 * points + walk), framed(points), atol=1e-12)


def test_largest_box_is_the_largest_in_every_number() -> None:
    boxes = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(largest_box(boxes), torch.from_numpy(boxes.numpy().max(0)))


def test_fixed_box_has_the_size_requested() -> None:
    points = tracks(6)
    box = fixed_box(points, 0.75)
    assert torch.equal(box[:, 2], torch.full((6,), 0.75))
    assert torch.equal(box[:, :2], points[:, 0])
    # A box of size s is 200 s pixels wide; half of that is one unit.
    assert torch.allclose(normalize_points(points, box), (points - points[:, :1]) / 75.0, atol=1e-6)


def test_gradients_are_finite_for_a_point_body() -> None:
    points = torch.full((3, 23, 2), 5.0, requires_grad=True)
    normalize_points(points, fixed_box(points, 0.5)).sum().backward()
    assert torch.isfinite(points.grad).all()
