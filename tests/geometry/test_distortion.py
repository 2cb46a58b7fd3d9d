"""Lens distortion and its inverse."""

from __future__ import annotations

import pytest
import torch

from hmr4d.geometry.distortion import distort, undistort

K4 = torch.tensor([1000.0, 1010.0, 950.0, 530.0], dtype=torch.float64)
LENSES = {
    "none": [0.0, 0.0, 0.0, 0.0],
    "barrel": [-0.28, 0.09, 0.0008, -0.0005],
    "five": [0.05, -0.12, 0.001, 0.002, 0.04],
    "rational": [0.5, -0.1, 0.0002, 0.0003, 0.01, 0.55, -0.05, 0.02],
}


def image_points() -> torch.Tensor:
    u, v = torch.linspace(0, 1919, 13).double(), torch.linspace(0, 1079, 9).double()
    return torch.cartesian_prod(u, v)


@pytest.mark.parametrize("lens", LENSES)
def test_undistorting_inverts_distorting(lens: str) -> None:
    coefficients = torch.tensor(LENSES[lens], dtype=torch.float64)
    flat = undistort(image_points(), K4, coefficients)
    assert flat.isfinite().all()
    assert torch.allclose(distort(flat, K4, coefficients), image_points(), atol=1e-6)


def test_a_hand_computed_point() -> None:
    """x = y = 0.5: r2 = 0.5, radial = 1 + 0.1 r2 = 1.05, tangential u: 2 p1 x y + p2 (r2 + 2 x x) = 0.02 * 0.5."""
    lens = torch.tensor([0.1, 0.0, 0.02, 0.0], dtype=torch.float64)
    square = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    got = distort(torch.tensor([[0.5, 0.5]]).double(), square, lens)
    assert torch.allclose(got, torch.tensor([[0.525 + 0.01, 0.525 + 0.02]]).double())


def test_float32_pixels_in_float32_out() -> None:
    lens = torch.tensor(LENSES["five"])
    flat = undistort(image_points().float(), K4.float(), lens)
    assert flat.dtype == torch.float32
    assert torch.allclose(distort(flat, K4.float(), lens), image_points().float(), atol=1e-3)


def test_points_that_no_ray_reaches_are_nan_and_leave_the_others_alone() -> None:
    """With k1 = -0.3 the radius 1 - 0.3 r2 grows no further than 0.703 at unit depth."""
    lens = torch.tensor([-0.3, 0.0, 0.0, 0.0], dtype=torch.float64)
    square = torch.tensor([1000.0, 1000.0, 0.0, 0.0], dtype=torch.float64)
    got = undistort(torch.tensor([[600.0, 0.0], [800.0, 0.0], [2500.0, 100.0]]).double(), square, lens)
    assert got.isfinite().all(-1).tolist() == [True, False, False]
    assert got[0, 0] > 600


def test_cameras_in_batches() -> None:
    lenses = torch.tensor([LENSES["barrel"], LENSES["none"]], dtype=torch.float64)
    points = image_points().expand(2, -1, 2)
    both = undistort(points, K4.expand(2, 4), lenses)
    assert torch.allclose(both[0], undistort(points[0], K4, lenses[0]))
    assert torch.allclose(both[1], points[1])


def test_wrong_count_of_coefficients() -> None:
    with pytest.raises(ValueError, match="Got 3 distortion coefficients; expected 4, 5 or 8"):
        undistort(image_points(), K4, torch.zeros(3).double())
