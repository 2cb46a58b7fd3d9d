"""Metrics of text-to-motion generation over the embeddings of an evaluator (Guo et al., CVPR 2022).

Functions take whole sets. Embeddings of texts and motions are rows (N, D) of one evaluator; row i of the texts belongs
to row i of the motions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hmr4d.metrics.frechet import FrechetDistance, Gaussian, checked_embeddings, frechet_distance

POOL_SIZE = 32  # texts and motions that are ranked against each other; published tables all use 32
TOP_K = 3
DIVERSITY_PAIRS = 300
MULTIMODALITY_PAIRS = 10


class Retrieval(NamedTuple):
    """Result of ranking motions by their distance to texts.

    Attributes:
        top_k: (K,) float64; fraction of texts whose own motion is among the 1, 2, ..., K nearest of its pool.
        matching_score: mean distance of a text and its own motion.
        num_used: pairs in full pools.
        num_dropped: pairs left over after the last full pool.
    """

    top_k: Tensor
    matching_score: float
    num_used: int
    num_dropped: int

    def row(self) -> dict[str, float]:
        """Values by metric name."""
        return {"matching_score": self.matching_score} | {
            f"r_precision_top_{k}": float(share) for k, share in enumerate(self.top_k, start=1)
        }


class Scores(NamedTuple):
    """Metric values by name, and notes about them."""

    values: dict[str, float]
    notes: tuple[str, ...] = ()


def pairwise_distances(text: Tensor, motion: Tensor) -> Tensor:
    """(..., N, M) float64 Euclidean distances of rows (..., N, D) and (..., M, D)."""
    return torch.cdist(text.double(), motion.double(), compute_mode="donot_use_mm_for_euclid_dist")


def expanded_distances(text: Tensor, motion: Tensor) -> Tensor:
    """(..., N, M) distances by the published formula: sqrt(-2 t.m + |t|^2 + |m|^2) in the type of the input.

    Equal to `pairwise_distances` up to rounding, but for rows that (nearly) coincide: there the rounding error decides
    between a small number, 0 and NaN.
    """
    inner = text @ motion.transpose(-1, -2)
    return (-2 * inner + text.square().sum(-1, keepdim=True) + motion.square().sum(-1)[..., None, :]).sqrt()


def ranked_hits(distances: Tensor, top_k: int) -> Tensor:
    """(P, top_k) counts of rows of distances (P, N, N) whose diagonal entry is among the 1, ..., top_k smallest."""
    order = distances.argsort(dim=-1, stable=True)[..., :top_k]
    own = torch.arange(distances.shape[-1], device=distances.device)[:, None]
    return (order == own).cumsum(-1).sum(-2)


def retrieval(text: Tensor, motion: Tensor, *, pool_size: int = POOL_SIZE, top_k: int = TOP_K) -> Retrieval:
    """R-precision and matching score over pools of successive pairs; the remainder after the last full pool is dropped.

    Other motions of the same caption count as wrong, as in the published protocol.

    Args:
        text: (N, D) embeddings.
        motion: (N, D) embeddings; row i belongs to row i of `text`.
        pool_size: pairs ranked against each other; the numbers depend on it.
        top_k: K.

    Raises:
        ValueError: sets of different sizes, fewer pairs than a pool, or embeddings that are not finite.
    """
    text, motion = checked_pairs(text, motion, pool_size)
    num_used = len(text) // pool_size * pool_size
    shape = (-1, pool_size, text.shape[1])
    distances = pairwise_distances(text[:num_used].reshape(shape), motion[:num_used].reshape(shape))
    hits = ranked_hits(distances, top_k).sum(0).double().cpu() / num_used
    own = float(distances.diagonal(dim1=-2, dim2=-1).mean())
    return Retrieval(hits, own, num_used, len(text) - num_used)


def diversity(embeddings: Tensor, *, rng: np.random.RandomState, num_pairs: int = DIVERSITY_PAIRS) -> float:
    """Mean Euclidean distance of pairs of embeddings (N, D).

    The first and the second of the pairs are two independent draws of `num_pairs` distinct rows, so that a row may be
    paired with itself. The legacy generator of NumPy is part of the protocol.

    Raises:
        ValueError: fewer rows than pairs, or embeddings that are not finite.
    """
    first, second = draw_pairs(len(checked_embeddings(embeddings, "embeddings")), num_pairs, rng)
    return _mean_distance(embeddings[first], embeddings[second])


def multimodality(embeddings: Tensor, *, rng: np.random.RandomState, num_pairs: int = MULTIMODALITY_PAIRS) -> float:
    """Mean distance of motions generated for one text: embeddings (S, R, D) of R motions for each of S texts.

    The pairs are drawn as in `diversity`, once for all texts.

    Raises:
        ValueError: another shape, fewer motions per text than pairs, or embeddings that are not finite.
    """
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings has shape {tuple(embeddings.shape)}; expected (texts, motions per text, D).")
    checked_embeddings(embeddings.flatten(0, 1), "embeddings")
    first, second = draw_pairs(embeddings.shape[1], num_pairs, rng)
    return _mean_distance(embeddings[:, first], embeddings[:, second])


def draw_pairs(count: int, num_pairs: int, rng: np.random.RandomState) -> tuple[Tensor, Tensor]:
    """Two independent draws (num_pairs,) of distinct indices below `count`, the first draw first.

    Raises:
        ValueError: fewer than `num_pairs` to draw from.
    """
    if count < num_pairs:
        raise ValueError(
            f"{num_pairs} pairs were requested for {count} motions; pass more motions or a smaller num_pairs."
        )
    first, second = (rng.choice(count, num_pairs, replace=False) for _ in range(2))
    return torch.from_numpy(first), torch.from_numpy(second)


def text_to_motion_scores(
    text: Tensor,
    motion: Tensor,
    reference: Gaussian,
    *,
    rng: np.random.RandomState,
    pool_size: int = POOL_SIZE,
    num_pairs: int = DIVERSITY_PAIRS,
) -> Scores:
    """One replication of the standard protocol for one set of motions, real or generated.

    Args:
        text: (N, D) embeddings of the captions.
        motion: (N, D) embeddings of the motions.
        reference: embeddings of the real motions, from a separate pass over the real set (other captions and crops), so
            that the real row has an FID above zero too.
        rng: draws the pairs of diversity.
        pool_size, num_pairs: see `retrieval` and `diversity`.
    """
    ranked = retrieval(text, motion, pool_size=pool_size)
    distance = frechet_distance(reference, Gaussian.fit(motion))
    values = {"fid": distance.value} | ranked.row() | {"diversity": diversity(motion, rng=rng, num_pairs=num_pairs)}
    return Scores(values, tuple(note for note in (distance.note, dropped_note(ranked)) if note))


def fid_of_halves(embeddings: Tensor, *, rng: np.random.RandomState) -> FrechetDistance:
    """Fréchet distance of two random halves of one set (N, D): the noise level at N / 2 samples."""
    order = torch.from_numpy(rng.permutation(len(embeddings)))
    half = len(embeddings) // 2
    return frechet_distance(*(Gaussian.fit(embeddings[part]) for part in (order[:half], order[half : 2 * half])))


def dropped_note(ranked: Retrieval) -> str | None:
    """A note about the pairs excluded from R-precision, or None."""
    if not ranked.num_dropped:
        return None
    total = ranked.num_used + ranked.num_dropped
    return f"R-precision and matching score exclude the last {ranked.num_dropped} of {total} pairs (no full pool)."


def checked_pairs(text: Tensor, motion: Tensor, pool_size: int) -> tuple[Tensor, Tensor]:
    """The two sets of embeddings (N, D) themselves.

    Raises:
        ValueError: shapes that differ, fewer rows than a pool, or values that are not finite.
    """
    if text.shape != motion.shape:
        raise ValueError(
            f"text has shape {tuple(text.shape)} and motion {tuple(motion.shape)}; give (N, D) embeddings of pairs."
        )
    if len(text) < pool_size:
        raise ValueError(
            f"The set has {len(text)} pairs, fewer than one pool of {pool_size}; "
            "score more motions, or set a smaller pool_size and compare with nothing that used another."
        )
    return checked_embeddings(text, "text"), checked_embeddings(motion, "motion")


def _mean_distance(first: Tensor, second: Tensor) -> float:
    """Mean Euclidean distance of rows."""
    return float((first.double() - second.double()).norm(dim=-1).mean())
