"""The protocol of the published Motion-2-to-3 table, where it differs from the standard one.

All embeddings are shuffled once, and the pools follow this order. Small sets also get R-precision over the whole set.
One legacy random generator draws the diversity pairs, first of the generated, then of the real motions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hmr4d.metrics.frechet import Gaussian, frechet_distance
from hmr4d.metrics.text_to_motion import (
    DIVERSITY_PAIRS,
    POOL_SIZE,
    TOP_K,
    Retrieval,
    checked_pairs,
    diversity,
    dropped_note,
    expanded_distances,
    fid_of_halves,
    ranked_hits,
)

ALL_BELOW = 1000  # sets smaller than this also get R-precision over the whole set
ALL_TOP_K = (10, 20, 30)


class PublishedScores(NamedTuple):
    """Rows of the published table, values by metric name, and notes about them."""

    generated: dict[str, float]
    ground_truth: dict[str, float]
    notes: tuple[str, ...] = ()


def published_model_scores(text: Tensor, generated: Tensor, ground_truth: Tensor, *, seed: int = 42) -> PublishedScores:
    """Scores of one set by the protocol of the published model.

    `fid` compares the generated motions with the real motions of the same run. The published callback has no FID of the
    real motions; here their row has `fid_halves`, the FID between two random halves.

    Args:
        text: (N, D) embeddings of the captions.
        generated: (N, D) embeddings of the generated motions.
        ground_truth: (N, D) embeddings of the real motions.
        seed: seed of the permutation (PyTorch) and of the diversity pairs (NumPy).

    Raises:
        ValueError: the shapes differ, there are fewer than 32 motions, or an embedding is not finite.
    """
    for motion in (generated, ground_truth):
        checked_pairs(text, motion, POOL_SIZE)
    distance = frechet_distance(Gaussian.fit(ground_truth), Gaussian.fit(generated))
    halves = fid_of_halves(ground_truth, rng=np.random.RandomState(seed))
    order = torch.randperm(len(text), generator=torch.Generator().manual_seed(seed)).to(text.device)
    rng = np.random.RandomState(seed)
    rows: list[dict[str, float]] = []
    for motion, fid in ((generated, {"fid": distance.value}), (ground_truth, {"fid_halves": halves.value})):
        ranked = _shuffled_retrieval(text[order], motion[order])
        varied = diversity(motion[order], rng=rng, num_pairs=min(DIVERSITY_PAIRS, len(motion)))
        rows.append(fid | ranked.row() | _whole_set_precision(text, motion) | {"diversity": varied})
    halves_note = f"Halves of the real set: {halves.note}" if halves.note else None
    notes = (distance.note, halves_note, dropped_note(ranked))
    return PublishedScores(rows[0], rows[1], tuple(note for note in notes if note))


def _distances(text: Tensor, motion: Tensor) -> Tensor:
    """Distances by the published formula. Rounding can make the distance of a very close pair NaN; it becomes 0."""
    return expanded_distances(text.float(), motion.float()).nan_to_num(nan=0.0)


def _shuffled_retrieval(text: Tensor, motion: Tensor) -> Retrieval:
    """Retrieval in successive pools of the shuffled pairs (N, D), in float32 as published."""
    used = len(text) // POOL_SIZE * POOL_SIZE
    shape = (-1, POOL_SIZE, text.shape[1])
    distances = _distances(text[:used].reshape(shape), motion[:used].reshape(shape))
    hits = ranked_hits(distances, TOP_K).sum(0).double().cpu() / used
    own = float(distances.diagonal(dim1=-2, dim2=-1).double().mean())
    return Retrieval(hits, own, used, len(text) - used)


def _whole_set_precision(text: Tensor, motion: Tensor) -> dict[str, float]:
    """R-precision with the whole set as one pool; empty for sets of 1000 and more."""
    if len(text) >= ALL_BELOW:
        return {}
    hits = ranked_hits(_distances(text, motion), max(ALL_TOP_K)).double() / len(text)
    return {f"r_precision_all_top_{k}": float(hits[min(k, len(text)) - 1]) for k in ALL_TOP_K}
