"""Fréchet distance between sets of embeddings: the FID of Heusel et al. 2017, arXiv 1706.08500, eq. 6.

|mean_1 - mean_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1 C_2)^(1/2), with sample covariances (N - 1), all in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of a set of embeddings.

    Attributes:
        mean: (D,) float64.
        covariance: (D, D) float64, symmetric, of the sample (divided by N - 1).
        num_samples: N.
    """

    mean: Tensor
    covariance: Tensor
    num_samples: int

    @classmethod
    def fit(cls, embeddings: Tensor) -> Gaussian:
        """Of embeddings (N, D) of any float type.

        Raises:
            ValueError: not (N >= 2, D), or a value that is not finite.
        """
        x = checked_embeddings(embeddings, "embeddings").cpu().double()
        if len(x) < 2:
            raise ValueError(f"A covariance of {len(x)} embeddings is not defined; give at least 2.")
        centered = x - x.mean(0)
        return cls(x.mean(0), centered.T @ centered / (len(x) - 1), len(x))

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)


class Condition(NamedTuple):
    """How well a covariance is determined.

    Attributes:
        num_samples: number of samples N.
        dim: D.
        rank: number of eigenvalues above D * eps * the largest.
        condition: largest / smallest eigenvalue; infinite when the rank is below D.
    """

    num_samples: int
    dim: int
    rank: int
    condition: float


class FrechetDistance(NamedTuple):
    """A Fréchet distance and the condition of its covariances.

    Attributes:
        value: the distance.
        real, generated: condition of the two covariances.
    """

    value: float
    real: Condition
    generated: Condition

    @property
    def note(self) -> str | None:
        """A warning if a covariance has less than full rank, else None."""
        poor = [(n, c) for n, c in (("real", self.real), ("generated", self.generated)) if c.rank < c.dim]
        if not poor:
            return None
        sets = " and ".join(f"{name} set: {c.num_samples} samples, rank {c.rank} of {c.dim}" for name, c in poor)
        return f"FID is biased upward ({sets}); compare it only with FIDs of sets of the same sizes."


def frechet_distance(real: Gaussian, generated: Gaussian) -> FrechetDistance:
    """Fréchet distance between two Gaussians.

    With C_i = F_i F_i^T the trace of (C_1 C_2)^(1/2) is the sum of the singular values of F_1^T F_2. So no matrix is
    inverted and no root of a difference is computed: singular covariances need no regularization, and no imaginary
    parts can occur.

    Raises:
        ValueError: the two have different dimensions.
    """
    if real.dim != generated.dim:
        raise ValueError(
            f"Real embeddings have {real.dim} values and generated ones {generated.dim}; embed both with one evaluator."
        )
    factor_real, condition_real = _factor(real)
    factor_generated, condition_generated = _factor(generated)
    overlap = torch.linalg.svdvals(factor_real.T @ factor_generated).sum()
    means = (real.mean - generated.mean).square().sum()
    value = means + real.covariance.trace() + generated.covariance.trace() - 2 * overlap
    return FrechetDistance(float(value), condition_real, condition_generated)


def checked_embeddings(embeddings: Tensor, name: str) -> Tensor:
    """The embeddings (N, D) themselves.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(embeddings.shape)}; expected (N, D): one embedding per row.")
    bad = ~embeddings.isfinite().all(1)
    if bad.any():
        raise ValueError(
            f"{name}: {int(bad.sum())} of {len(embeddings)} rows contain NaN or infinity (first: row "
            f"{int(bad.nonzero()[0])}); check the motions for NaN."
        )
    return embeddings


def _factor(gaussian: Gaussian) -> tuple[Tensor, Condition]:
    """F (D, D) with F F^T = covariance, and the condition of the covariance."""
    values, vectors = torch.linalg.eigh(gaussian.covariance)
    values = values.clamp(min=0)
    smallest, largest = float(values[0]), float(values[-1])
    rank = int((values > gaussian.dim * torch.finfo(values.dtype).eps * largest).sum())
    condition = largest / smallest if rank == gaussian.dim else float("inf")
    return vectors * values.sqrt(), Condition(gaussian.num_samples, gaussian.dim, rank, condition)
