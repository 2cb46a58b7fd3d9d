"""Points in the world from their images in several calibrated views, as batched 3x3 solves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.geometry.cameras import MIN_DEPTH, world_to_camera
from hmr4d.utils.tensors import interpolate_gaps

LAGUERRE_STEPS = 8  # cubic convergence; image noise three times as large as the image needs 6
POLISH_STEPS = 2
MIN_CONDITION = 1e-4  # smallest over largest eigenvalue of the normal equations: two rays 1.1 degrees apart
PRIOR_PULL = 1e-2  # weight of the prior where rays leave a point open, in units of the mean eigenvalue
MIN_WEIGHT_DEPTH = 0.1  # meters; nearer points weigh no more
ERROR_SCALE = 0.05  # of the box side: reprojection errors beyond it count as outliers
ROUNDS = 4


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

    The rows are x P3 - P1 and y P3 - P2 of each view. The solution is the eigenvector of the smallest eigenvalue lambda
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


@dataclass(frozen=True)
class RobustPoints:
    """Triangulated points and their reliability.

    Attributes:
        points: (..., N, 3) world, meters; always finite.
        residual: (..., N) root mean square reprojection error over the views used, at unit depth; 0 without a view.
        ok: (..., N) bool: at least one view has the point in front of it, and rays or prior determine its depth. Points
            that are not ok have the position of the prior, or 0 without a prior.
        determined: (..., N) bool: ok without the prior.
        used: (..., V, N) bool: views with weight that have the point in front of them.
    """

    points: Tensor
    residual: Tensor
    ok: Tensor
    determined: Tensor
    used: Tensor


def triangulate_robust(
    points2d: Tensor,
    T_w2c: Tensor,
    weights: Tensor,
    *,
    prior: Tensor | None = None,
    scale: Tensor | None = None,
    rounds: int = ROUNDS,
) -> RobustPoints:
    """World points of perspective images by iteratively reweighted 3x3 least squares, all points at once in float64.

    Rows (R1 - x R3) X = x t3 - t1 and (R2 - y R3) X = y t3 - t2 of each view. The first solve takes `weights`; every
    further one multiplies them by 1 / max(z, 0.1)^2, z being the depth, which makes the algebraic error geometric, and
    by 1 / (1 + (e / (0.05 scale))^2)^2 for a reprojection error e, the weight of Geman and McClure's function (1987).
    Views with the point behind them are excluded from the next solve. The prior is used if the rays are nearly
    parallel. NaN and infinite images have weight 0.

    Args:
        points2d: (..., V, N, 2) image coordinates at unit depth (intrinsics removed).
        T_w2c: (..., V, 4, 4).
        weights: (..., V, N) non-negative, weights of squared residuals; 0 if the point is not visible in a view.
        prior: (..., N, 3) expected points in meters, NaN if unknown; used only for points that the rays do not
            determine.
        scale: (..., V, N) or (..., V, 1) side of the body's box at unit depth; None: equal trust in all views.
        rounds: reweighted solves; 0 gives plain weighted least squares.

    Returns:
        `RobustPoints` in the dtype of `points2d`.
    """
    x, T, w = points2d.double(), T_w2c.double(), weights.double()
    seen = x.isfinite().all(-1) & w.isfinite() & (w > 0)
    x, w = torch.where(seen[..., None], x, 0.0), torch.where(seen, w, 0.0)
    sigma = None if scale is None else ERROR_SCALE * scale.double()
    guess = (
        torch.full_like(x[..., 0, :, :1], torch.nan).expand(*x.shape[:-3], -1, 3) if prior is None else prior.double()
    )
    expected = guess.isfinite().all(-1)
    guess = torch.where(expected[..., None], guess, 0.0)
    normal, rhs = _view_equations(x, T)
    X, determined = _solve_views(normal, rhs, w, guess)
    for _ in range(rounds):
        error, depth = _reprojection(X, x, T)
        factor = (depth > 0) / depth.clamp(min=MIN_WEIGHT_DEPTH).square()
        if sigma is not None:
            factor = factor / (1 + (error / sigma).square()).square()
        X, determined = _solve_views(normal, rhs, w * factor, guess)
    error, depth = _reprojection(X, x, T)
    used = seen & (depth > 0)
    ok = used.any(-2) & (determined | expected) & X.isfinite().all(-1)
    residual = ((used * error.square()).sum(-2) / used.sum(-2).clamp(min=1)).sqrt()
    X = torch.where(ok[..., None], X, guess)
    dtype = points2d.dtype
    return RobustPoints(X.to(dtype), residual.to(dtype), ok, determined & ok, used)


def fill_in_time(joints3d: Tensor, ok: Tensor) -> Tensor:
    """Motion (..., L, J, 3) whose joints that are not `ok` (..., L, J) are interpolated in time.

    Linear between the nearest good frames, constant before the first and after the last; unchanged if a joint is never
    good.
    """
    filled = interpolate_gaps(joints3d.transpose(-2, -3), ok.transpose(-1, -2)).transpose(-2, -3)
    return torch.where((ok | ~ok.any(-2, keepdim=True))[..., None], joints3d, filled)


def _view_equations(x: Tensor, T: Tensor) -> tuple[Tensor, Tensor]:
    """Contribution of each view to the normal equations: A^T A (..., V, N, 3, 3) and A^T b (..., V, N, 3)."""
    P = T[..., None, :3, :]
    rows = P[..., :2, :] - x[..., None] * P[..., 2:, :]  # (..., V, N, 2, 4)
    A, b = rows[..., :3], -rows[..., 3]
    return torch.einsum("...ci,...cj->...ij", A, A), torch.einsum("...ci,...c->...i", A, b)


def _solve_views(normal: Tensor, rhs: Tensor, weights: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted solution X (..., N, 3), with the prior where underdetermined, and whether it is determined."""
    M = (weights[..., None, None] * normal).sum(-4)
    r = (weights[..., None] * rhs).sum(-3)
    size = _trace(M)[..., None] / 3
    empty = ~(size > 0)
    size = torch.where(empty, 1.0, size)
    M, r = M / size[..., None], r / size  # mean eigenvalue 1
    low, high = _eigenvalue_range(M)
    determined = (low >= MIN_CONDITION * high) & ~empty[..., 0]
    pull = torch.where(determined, 0.0, torch.where(empty[..., 0], 1.0, PRIOR_PULL))[..., None]
    eye = torch.eye(3, dtype=M.dtype, device=M.device)
    return _solve_symmetric(M + pull[..., None] * eye, r + pull * prior), determined


def _solve_symmetric(M: Tensor, r: Tensor) -> Tensor:
    """X (..., 3) of M X = r for symmetric regular M (..., 3, 3), by cofactors."""
    a, b, c = M.unbind(-2)
    bc, ca, ab = torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)
    solution = bc * r[..., :1] + ca * r[..., 1:2] + ab * r[..., 2:]
    return solution / (a * bc).sum(-1, keepdim=True)


def _eigenvalue_range(M: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest eigenvalue (...) of symmetric M (..., 3, 3), from the cubic's three real roots."""
    mean = _trace(M) / 3
    D = M - mean[..., None, None] * torch.eye(3, dtype=M.dtype, device=M.device)
    spread = ((D * D).sum((-1, -2)) / 6).sqrt()
    a, b, c = D.unbind(-2)
    determinant = (a * torch.linalg.cross(b, c)).sum(-1)
    cosine = determinant / (2 * spread**3).clamp(min=torch.finfo(M.dtype).tiny)
    angle = cosine.clamp(-1.0, 1.0).acos() / 3
    return mean + 2 * spread * (angle + 2 * torch.pi / 3).cos(), mean + 2 * spread * angle.cos()


def _reprojection(X: Tensor, x: Tensor, T: Tensor) -> tuple[Tensor, Tensor]:
    """Distance at unit depth (..., V, N) between images of X (..., N, 3) and x, and depth (..., V, N)."""
    points_c = world_to_camera(X[..., None, :, :], T)
    depth = points_c[..., 2]
    image = points_c[..., :2] / torch.where(depth.abs() < MIN_DEPTH, MIN_DEPTH, depth)[..., None]
    return (image - x).norm(dim=-1), depth


def _smallest_eigenvalue(M: Tensor) -> Tensor:
    """(...) smallest eigenvalue of positive semidefinite M (..., 4, 4) with regular upper left 3x3 block."""
    M33, m, c = M[..., :3, :3], M[..., :3, 3], M[..., 3, 3]
    inverse, determinant = torch.linalg.inv(M33), torch.linalg.det(M33)
    X = -(inverse @ m[..., None])[..., 0]
    rest = (c + (m * X).sum(-1)).clamp(min=0.0)  # Schur complement of M33
    # Elementary symmetric polynomials of the eigenvalues; the last two from the block, without cancellation.
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
