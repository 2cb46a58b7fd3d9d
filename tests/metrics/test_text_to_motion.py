"""Text-to-motion metrics against slow plain computations, closed forms and misuse."""

import math

import numpy as np
import pytest
import torch

from hmr4d.evaluation.published_protocol import published_model_scores
from hmr4d.metrics.frechet import Gaussian, frechet_distance
from hmr4d.metrics.text_to_motion import (
    diversity,
    expanded_distances,
    fid_of_halves,
    multimodality,
    pairwise_distances,
    retrieval,
    text_to_motion_scores,
)


def embeddings(seed: int, count: int, dim: int, *, shift: float = 0.0) -> torch.Tensor:
    rs = np.random.RandomState(seed)
    return torch.from_numpy((rs.standard_normal((count, dim)) @ rs.standard_normal((dim, dim)) + shift).astype("f4"))


def plain_fid(a: np.ndarray, b: np.ndarray) -> float:
    """By the eigenvalues of the product of the covariances, which is not symmetric."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1])
    roots = np.sqrt(eigenvalues.astype(np.complex128)).real.sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + sum(np.trace(c) for c in covariances) - 2 * roots)


def plain_retrieval(text: np.ndarray, motion: np.ndarray, pool: int) -> dict[str, float]:
    """One pair at a time."""
    hits, distances, pools = np.zeros(3), [], len(text) // pool
    for start in range(0, pools * pool, pool):
        for i in range(start, start + pool):
            to_all = [math.dist(text[i], motion[j]) for j in range(start, start + pool)]
            own = to_all[i - start]
            distances.append(own)
            nearer = sum(d < own for d in to_all)
            hits += [nearer < k for k in (1, 2, 3)]
    found = dict(zip((f"r_precision_top_{k}" for k in (1, 2, 3)), hits / len(distances), strict=True))
    return found | {"matching_score": float(np.mean(distances))}


def plain_diversity(motion: np.ndarray, num_pairs: int, rs: np.random.RandomState) -> float:
    first = rs.choice(motion.shape[0], num_pairs, replace=False)
    second = rs.choice(motion.shape[0], num_pairs, replace=False)
    return float(np.mean([math.dist(motion[i], motion[j]) for i, j in zip(first, second, strict=True)]))


def test_all_scores_equal_a_slow_plain_computation():
    text, real = embeddings(0, 110, 6), embeddings(1, 140, 6)
    motion = text + 0.7 * embeddings(2, 110, 6)
    fitted = Gaussian.fit(real)
    scores = text_to_motion_scores(text, motion, fitted, rng=np.random.RandomState(7), num_pairs=50)
    expected = plain_retrieval(text.numpy(), motion.numpy(), 32) | {
        "fid": plain_fid(real.numpy(), motion.numpy()),
        "diversity": plain_diversity(motion.numpy(), 50, np.random.RandomState(7)),
    }
    assert scores.values == pytest.approx(expected, rel=1e-6)
    assert scores.notes == ("R-precision and matching score exclude the last 14 of 110 pairs (no full pool).",)


def test_published_protocol_equals_a_slow_plain_computation():
    text, real, generated = embeddings(3, 75, 6), embeddings(4, 75, 6), embeddings(5, 75, 6, shift=0.3)
    scores = published_model_scores(text, generated, real, seed=9)
    order = torch.randperm(75, generator=torch.Generator().manual_seed(9)).numpy()
    rs = np.random.RandomState(9)
    for row, motion in ((scores.generated, generated), (scores.ground_truth, real)):
        t, m = text.numpy()[order], motion.numpy()[order]
        expected = plain_retrieval(t, m, 32) | {"diversity": plain_diversity(m, 75, rs)}
        ranks = np.array([sum(math.dist(t[i], x) < math.dist(t[i], m[i]) for x in m) for i in range(75)])
        expected |= {f"r_precision_all_top_{k}": float((ranks < k).mean()) for k in (10, 20, 30)}
        assert {k: v for k, v in row.items() if not k.startswith("fid")} == pytest.approx(expected, rel=1e-5)
    assert scores.generated["fid"] == pytest.approx(plain_fid(real.numpy(), generated.numpy()), rel=1e-6)
    assert published_model_scores(text, generated, real, seed=10).generated["diversity"] != pytest.approx(
        scores.generated["diversity"], rel=1e-9
    )


def test_frechet_distance_of_a_scaled_and_shifted_set():
    x = embeddings(0, 200, 5).double()
    covariance = torch.cov(x.T)
    result = frechet_distance(
        Gaussian.fit(x), Gaussian.fit(3 * x - 2 * x.mean(0) + 1)
    )  # mean moves by 1, C becomes 9 C
    assert result.value == pytest.approx(5 + (1 + 9 - 2 * 3) * float(covariance.trace()), rel=1e-9)
    assert result.real.condition == pytest.approx(float(torch.linalg.cond(covariance)), rel=1e-6)


def test_frechet_distance_is_symmetric_and_zero_for_one_set():
    a, b = Gaussian.fit(embeddings(0, 60, 10)), Gaussian.fit(embeddings(1, 50, 10))
    assert frechet_distance(a, b).value == pytest.approx(frechet_distance(b, a).value, rel=1e-12)
    assert abs(frechet_distance(a, a).value) < 1e-9


def test_few_samples_are_finite_and_reported():
    result = frechet_distance(Gaussian.fit(embeddings(0, 12, 40)), Gaussian.fit(embeddings(1, 90, 40)))
    assert math.isfinite(result.value)
    assert (result.real.rank, result.real.condition) == (11, math.inf)
    assert result.generated.rank == 40
    assert result.note is not None
    assert "real set: 12 samples, rank 11 of 40" in result.note
    assert "generated" not in result.note


def test_halves_of_one_set_are_near_each_other():
    x = embeddings(0, 2001, 4)
    assert fid_of_halves(x, rng=np.random.RandomState(0)).value < 0.02 * float(torch.cov(x.T).trace())


def test_the_halves_are_of_equal_size_and_share_no_motion():
    x, rs = embeddings(0, 41, 3), np.random.RandomState(5)
    order = rs.permutation(41)
    expected = plain_fid(x[order[:20]].numpy(), x[order[20:40]].numpy())
    assert fid_of_halves(x, rng=np.random.RandomState(5)).value == pytest.approx(expected, rel=1e-6)


def test_one_full_pool_and_two_samples_are_enough():
    x = embeddings(0, 32, 4)
    found = retrieval(x, x)
    assert (found.num_used, found.num_dropped, found.top_k.tolist()) == (32, 0, [1.0, 1.0, 1.0])
    assert Gaussian.fit(x[:2]).num_samples == 2


def test_the_distance_formulas_agree_but_for_coinciding_rows():
    a, b = embeddings(0, 20, 8), embeddings(1, 30, 8)
    assert torch.allclose(expanded_distances(a, b).double(), pairwise_distances(a, b), rtol=1e-4)
    same = pairwise_distances(a, a)
    assert same.diagonal().eq(0).all()


def test_equal_motions_share_the_ranks():
    """A model that always makes the same motion gets chance, not a full score."""
    text = embeddings(0, 64, 4)
    assert retrieval(text, torch.ones(64, 4)).top_k.tolist() == pytest.approx([1 / 32, 2 / 32, 3 / 32])


def test_multimodality_draws_once_for_all_texts():
    x = embeddings(0, 15 * 6, 4).view(15, 6, 4)
    rs = np.random.RandomState(1)
    first, second = rs.choice(6, 3, replace=False), rs.choice(6, 3, replace=False)
    expected = np.mean([[math.dist(s[i], s[j]) for i, j in zip(first, second, strict=True)] for s in x.numpy()])
    assert multimodality(x, rng=np.random.RandomState(1), num_pairs=3) == pytest.approx(expected, rel=1e-6)


def test_misuse_is_named():
    x, rng = embeddings(0, 40, 4), np.random.RandomState(0)
    broken = x.clone()
    broken[7, 2] = math.nan
    for call, message in (
        (lambda: retrieval(x[:31], x[:31]), "31 pairs, fewer than one pool of 32"),
        (lambda: published_model_scores(x[:20], x[:20], x[:20]), "20 pairs, fewer than one pool of 32"),
        (lambda: retrieval(x, x[:39]), r"\(40, 4\) and motion \(39, 4\)"),
        (lambda: retrieval(x, broken), "motion: 1 of 40 rows contain NaN or infinity .first: row 7"),
        (lambda: Gaussian.fit(broken), "1 of 40 rows"),
        (lambda: Gaussian.fit(x[:1]), "at least 2"),
        (lambda: Gaussian.fit(x[0]), r"expected \(N, D\)"),
        (lambda: frechet_distance(Gaussian.fit(x), Gaussian.fit(x[:, :3])), "4 values and generated ones 3"),
        (lambda: diversity(x, rng=rng), "300 pairs were requested for 40 motions"),
        (lambda: multimodality(x, rng=rng), "texts, motions per text"),
        (lambda: multimodality(broken.view(10, 4, 4), rng=rng, num_pairs=1), "1 of 40 rows"),
        (lambda: multimodality(x.view(10, 4, 4), rng=rng), "10 pairs were requested for 4 motions"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
