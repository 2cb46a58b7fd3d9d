"""Points in the world from their images in several calibrated views, as batched 3x3 solves."""

from __future__ import annotations

import torch
from torch import Tensor

LAGUERRE_STEPS = 8  # cubic convergence; image noise three times as large as the image needs 6
POLISH_STEPS = 2


def triangulate_orthographic(points2d: Tensor, T_w2c: Tensor, weights: Tensor | None = None) -> Tensor:
    """Least-squares world points of orthographic images.

    Each view gives the rows R_w2c[0:2] X = p - t_xy; all points share the matrix unless weighted.

    Args:
        points2d: (..., V, N, 2) camera-plane coordinates, same length unit as the world.
        T_w2c: (..., V, 4, 4).
        weights: (..., V, N) non-negative, or None for equal weights.

    Returns:
        (..., N, 3).
    """
    A = T_w2c[..., :2, :3]  # (..., V, 2, 3)
    b = points2d - T_w2c[..., None, :2, 3]  # (..., V, N, 2)
    if weights is None:
        normal = torch.einsum("...vci,...vcj->...ij", A, A)
        rhs = torch.einsum("...vci,...vnc->...in", A, b)
        return torch.linalg.solve(normal, rhs).transpose(-1, -2)
    normal = torch.einsum("...vn,...vci,...vcj->...nij", weights, A, A)
    rhs = torch.einsum("...vn,...vci,...vnc->...ni", weights, A, b)
    return torch.linalg.solve(normal, rhs)


def triangulate_perspective(points2d: Tensor, T_w2c: Tensor, weights: Tensor | None = None) -> Tensor:
    """World points of perspective images by the direct linear transform.

    The rows are x P3 - P1 and y P3 - P2 of each view. The answer is the eigenvector of the smallest eigenvalue lambda
    of M = A^T A = [[M33, m], [m^T, c]], scaled to (X, 1); it solves (M33 - lambda) X = -m with lambda = c + m.X.
    Laguerre steps from zero, which cannot pass the smallest root of the characteristic polynomial, find lambda; 3x3
    solves then polish it. Works in float64 inside, because M squares the condition number.

    Args:
        points2d: (..., V, N, 2) image coordinates at unit depth (intrinsics removed).
        T_w2c: (..., V, 4, 4).
        weights: (..., V, N) non-negative row weights, or None.

    Returns:
        (..., N, 3) in the dtype of `points2d`.
    """
    P = T_w2c[..., None, :3, :].double()  # (..., V, 1, 3, 4)
    A = points2d.double()[..., None] * P[..., 2:, :] - P[..., :2, :]  # (..., V, N, 2, 4)
    if weights is not None:
        A = A * weights.double()[..., None, None]
    M = torch.einsum("...vnci,...vncj->...nij", A, A)
    M33, m, c = M[..., :3, :3], M[..., :3, 3], M[..., 3, 3]
    eye = torch.eye(3, dtype=M.dtype, device=M.device)
    eigenvalue = _smallest_eigenvalue(M)
    for _ in range(POLISH_STEPS):
        X = torch.linalg.solve(M33 - eigenvalue[..., None, None] * eye, -m)
        error = c + (m * X).sum(-1) - eigenvalue
        eigenvalue = eigenvalue + error / (1.0 + (X * X).sum(-1))
    return torch.linalg.solve(M33 - eigenvalue[..., None, None] * eye, -m).to(points2d.dtype)


def _smallest_eigenvalue(M: Tensor) -> Tensor:
    """(...) smallest eigenvalue of positive semidefinite M (..., 4, 4) with regular upper left 3x3 block."""
    M33, m, c = M[..., :3, :3], M[..., :3, 3], M[..., 3, 3]
    inverse, determinant = torch.linalg.inv(M33), torch.linalg.det(M33)
    X = -(inverse @ m[..., None])[..., 0]
    rest = (c + (m * X).sum(-1)).clamp(min=0.0)  # Schur complement of M33
    # Elementary symmetric polynomials of the eigenvalues; the last two from the block, where nothing cancels.
    e1 = _trace(M)
    e2 = (e1 * e1 - (M * M).sum((-1, -2))) / 2
    e3 = determinant * (_trace(inverse) * rest + 1.0 + (X * X).sum(-1))
    e4 = determinant * rest
    root = torch.zeros_like(c)
    for _ in range(LAGUERRE_STEPS):
        value = (((root - e1) * root + e2) * root - e3) * root + e4
        slope = ((4 * root - 3 * e1) * root + 2 * e2) * root - e3
        bend = (12 * root - 6 * e1) * root + 2 * e2
        spread = (3 * (3 * slope * slope - 4 * value * bend)).clamp(min=0.0).sqrt()
        root = root + 4 * value / (spread - slope)
    return root


def _trace(M: Tensor) -> Tensor:
    return M.diagonal(dim1=-2, dim2=-1).sum(-1)
