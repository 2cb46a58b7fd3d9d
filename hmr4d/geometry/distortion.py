"""Lens distortion in OpenCV's polynomial and rational models, and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor

NEWTON_STEPS = 20
CONVERGED = 1e-6  # unit-depth coordinates; a thousandth of a pixel at a focal length of 1000
COEFFICIENT_COUNTS = (4, 5, 8)  # (k1, k2, p1, p2), with k3, with k4, k5, k6


def distort(pixels: Tensor, K4: Tensor, distortion: Tensor) -> Tensor:
    """Distorted position of points that a pinhole camera shows at `pixels`.

    Args:
        pixels: (..., N, 2).
        K4: (..., 4) fx, fy, cx, cy.
        distortion: (..., 4 | 5 | 8) k1, k2, p1, p2[, k3[, k4, k5, k6]], in OpenCV's order.

    Returns:
        (..., N, 2) pixels.

    Raises:
        ValueError: another number of coefficients.
    """
    focal, center = K4[..., None, :2], K4[..., None, 2:]
    return _bend((pixels - center) / focal, _eight(distortion)) * focal + center


def undistort(pixels: Tensor, K4: Tensor, distortion: Tensor) -> Tensor:
    """Inverse of `distort` by Newton's method in float64.

    Args:
        pixels, K4, distortion: as there.

    Returns: (..., N, 2) pixels of a pinhole camera; NaN if the model maps no nearby point to the given one, as far
        outside the image, where the polynomials fold back.
    """
    focal, center = K4[..., None, :2].double(), K4[..., None, 2:].double()
    coefficients = _eight(distortion.double())
    target = (pixels.double() - center) / focal
    x = target.clone()
    for _ in range(NEWTON_STEPS):
        step, regular = _newton_step(x, target, coefficients)
        x = x + torch.where(regular[..., None], step, torch.zeros_like(step))
    missed = (_bend(x, coefficients) - target).norm(dim=-1)
    found = (missed < CONVERGED) & _newton_step(x, target, coefficients)[1]
    return torch.where(found[..., None], x * focal + center, torch.nan).to(pixels.dtype)


def _eight(distortion: Tensor) -> Tensor:
    """(..., 1, 8) coefficients, zeros where a model has fewer."""
    count = distortion.shape[-1]
    if count not in COEFFICIENT_COUNTS:
        raise ValueError(f"Got {count} distortion coefficients; expected 4, 5 or 8: k1, k2, p1, p2, k3, k4, k5, k6.")
    return torch.nn.functional.pad(distortion, (0, 8 - count))[..., None, :]


def _bend(x: Tensor, coefficients: Tensor) -> Tensor:
    """Distorted unit-depth points (..., N, 2)."""
    _, _, p1, p2, *_ = coefficients.unbind(-1)
    a, b = x.unbind(-1)
    r2 = a * a + b * b
    radial = _radial(r2, coefficients)[0]
    u = a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a)
    v = b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b
    return torch.stack([u, v], -1)


def _radial(r2: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Radial factor and its derivative by the squared radius."""
    k1, k2, _, _, k3, k4, k5, k6 = coefficients.unbind(-1)
    above, below = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    d_above, d_below = k1 + r2 * (2 * k2 + 3 * r2 * k3), k4 + r2 * (2 * k5 + 3 * r2 * k6)
    return above / below, (d_above * below - above * d_below) / (below * below)


def _newton_step(x: Tensor, target: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Newton step (..., N, 2) towards the point that bends to `target`, and whether the map keeps orientation there."""
    _, _, p1, p2, *_ = coefficients.unbind(-1)
    a, b = x.unbind(-1)
    radial, slope = _radial(a * a + b * b, coefficients)
    ua = radial + 2 * a * a * slope + 2 * p1 * b + 6 * p2 * a
    ub = 2 * a * b * slope + 2 * p1 * a + 2 * p2 * b  # also the derivative of v by a
    vb = radial + 2 * b * b * slope + 6 * p1 * b + 2 * p2 * a
    determinant = ua * vb - ub * ub
    eu, ev = (target - _bend(x, coefficients)).unbind(-1)
    step = torch.stack([vb * eu - ub * ev, ua * ev - ub * eu], -1) / determinant[..., None]
    return step, determinant > 0
