"""Text-to-motion metrics of both protocols against golden vectors."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.evaluation.published_protocol import published_model_scores
from hmr4d.metrics.frechet import Gaussian, frechet_distance
from hmr4d.metrics.intervals import replicate
from hmr4d.metrics.text_to_motion import (
    diversity,
    draw_pairs,
    expanded_distances,
    multimodality,
    pairwise_distances,
    ranked_hits,
    retrieval,
)
from tests.golden.vectors import assert_close, golden_file, numbered

SINGULAR_FID = 1e-3  # relative; fewer samples than dimensions, from the README of the vectors
REGULAR_FID = 1e-6  # relative
MULTIMODALITY_PAIRS = 10  # of the published model's file, from the README
LARGEST_SEED = 2000  # the seeds of the drawn pairs are not in the files


def arrays() -> dict[str, np.ndarray]:
    with np.load(golden_file("humanml3d/metrics.npz"), allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def read_json(name: str) -> Any:
    return json.loads(golden_file(f"humanml3d/{name}").read_text(encoding="utf-8"))


def normal_embeddings(seed: int, count: int, dim: int, shift: float) -> Tensor:
    """By the recipe of the README."""
    rs = np.random.RandomState(seed)
    A = rs.standard_normal((dim, dim)) / np.sqrt(dim)
    x = rs.standard_normal((count, dim))
    return torch.from_numpy((x @ A * 0.4 + shift + 0.2 * rs.standard_normal(dim)).astype(np.float32))


def seed_of(first: np.ndarray, second: np.ndarray, count: int) -> int:
    """The seed from which `draw_pairs` gives these pairs."""
    for seed in range(LARGEST_SEED):
        pairs = draw_pairs(count, len(first), np.random.RandomState(seed))
        if all(np.array_equal(a, b) for a, b in zip(pairs, (first, second), strict=True)):
            return seed
    pytest.fail(f"no seed below {LARGEST_SEED} draws the expected pairs")


@pytest.mark.parametrize("name", ["metrics.json", "metrics_scipy1.10.json"])
def test_frechet_distance(name: str):
    for case in read_json(name)["fid"]:
        real = normal_embeddings(case["seed_a"], case["N_a"], case["D"], 0.0)
        generated = real
        if not case["b_is_copy_of_a"]:
            generated = normal_embeddings(case["seed_b"], case["N_b"], case["D"], case["shift_b"])
        assert_close("probe_a", real[0, :3], np.array(case["probe_a"]), 1e-6)
        assert_close("probe_b", generated[0, :3], np.array(case["probe_b"]), 1e-6)
        result = frechet_distance(Gaussian.fit(real), Gaussian.fit(generated))
        singular = min(case["N_a"], case["N_b"]) <= case["D"]
        assert (result.note is not None) == singular
        assert result.real.rank == min(case["N_a"] - 1, case["D"])
        for key in ("fid", "fid_eig_reference"):
            got, expected = np.array(result.value), np.array(case[key])
            assert_close(f"{case['name']} {key}", got, expected, 1e-6, SINGULAR_FID if singular else REGULAR_FID)


def test_fid_of_stored_embeddings():
    data = arrays()
    sizes = (len(data["fid_a"]), len(data["fid_b"]))
    case = next(c for c in read_json("metrics.json")["fid"] if (c["N_a"], c["N_b"]) == sizes)
    real, generated = (Gaussian.fit(torch.from_numpy(data[name])) for name in ("fid_a", "fid_b"))
    assert_close("FID", np.array(frechet_distance(real, generated).value), np.array(case["fid"]), 1e-5)


def test_distances_and_ranking_of_the_first_pool():
    data = arrays()
    size = len(data["dist0"])
    text, motion = (torch.from_numpy(data[name][:size]) for name in ("text", "motion"))
    for distances in (expanded_distances(text, motion), pairwise_distances(text, motion)):
        assert_close("distances", distances, data["dist0"])
        assert np.array_equal(distances.argsort(dim=1, stable=True), data["argsort0"])
        top_k = data["topk_counts"].shape[1]
        assert ranked_hits(distances[None], top_k)[0].tolist() == data["topk_counts"][0].tolist()


def test_distances_of_coinciding_rows():
    """There the published formula is rounding error; ours is zero."""
    data = arrays()
    text = torch.from_numpy(data["text"][: len(data["self_dist_diag"])])
    assert expanded_distances(text, text).diagonal().nan_to_num().lt(0.1).all()
    assert pairwise_distances(text, text).diagonal().eq(0).all()


def test_retrieval():
    data = arrays()
    scalars = read_json("metrics.json")["scalars"]
    text, motion = torch.from_numpy(data["text"]), torch.from_numpy(data["motion"])
    size, top_k = len(data["dist0"]), len(data["R_precision"])
    ranked = retrieval(text, motion, pool_size=size, top_k=top_k)
    assert_close("R-precision", ranked.top_k, data["R_precision"], 1e-9)
    assert_close("R-precision", ranked.top_k, np.array(scalars["R_precision"]), 1e-9)
    assert_close("matching score", np.array(ranked.matching_score), data["matching_score"])
    assert ranked.num_used == len(text) // size * size
    distances = pairwise_distances(text, motion)
    assert_close("matching sum of all", distances.trace(), data["calc_matching_score"], 0, 1e-5)


def test_diversity_and_multimodality():
    data = arrays()
    for num_pairs in numbered(data, r"diversity_(\d+)"):
        embeddings = torch.from_numpy(data["fid_a"])
        rng = np.random.RandomState(seed_of(data["div_first"], data["div_second"], len(embeddings)))
        value = diversity(embeddings, rng=rng, num_pairs=num_pairs)
        assert_close("diversity", np.array(value), data[f"diversity_{num_pairs}"])
    for num_pairs in numbered(data, r"multimodality_(\d+)"):
        embeddings = torch.from_numpy(data["mm_emb"])
        seed = seed_of(data["mm_first"], data["mm_second"], embeddings.shape[1])
        value = multimodality(embeddings, rng=np.random.RandomState(seed), num_pairs=num_pairs)
        assert_close("multimodality", np.array(value), data[f"multimodality_{num_pairs}"])


def test_replication():
    data = arrays()
    values = [replicate(column.tolist()) for column in data["rep_values"].T]
    assert_close("mean of repeats", np.array([v.mean for v in values]), data["rep_mean"], 1e-12)
    assert_close("interval of repeats", np.array([v.interval for v in values]), data["rep_ci"], 1e-12)
    assert {v.repeats for v in values} == {len(data["rep_values"])}


def published_embeddings(case: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Text, generated, real by the recipe of the README."""
    rs, count = np.random.RandomState(case["data_seed"]), case["N"]
    A = rs.standard_normal((512, 512)) / 22.6
    text = (0.3 * rs.standard_normal((count, 512)) @ A).astype(np.float32)
    real = (0.35 * text + 0.6 * rs.standard_normal((count, 512))).astype(np.float32)
    generated = (0.25 * text + 0.6 * rs.standard_normal((count, 512)) + 0.02).astype(np.float32)
    assert np.allclose([text[0, 0], real[0, 0], generated[0, 0]], case["probe"], atol=1e-6)
    return torch.from_numpy(text), torch.from_numpy(generated), torch.from_numpy(real)


def our_name(published: str) -> str | None:
    """Metric name of ours; None for the FID against a file that is not part of the vectors."""
    name = published.removeprefix("gt_").lower()
    if name.startswith("fid"):
        return "fid" if name == "fid_our" else None
    return re.sub(r"^all_r_precision_top", "r_precision_all_top", name)


def test_published_model_protocol():
    cases = [case for case in read_json("m2t3_metrics.json").values() if "metrics" in case]
    assert cases
    for case in cases:
        permutation = torch.randperm(case["N"], generator=torch.Generator().manual_seed(42))
        assert permutation[: len(case["perm_first10"])].tolist() == case["perm_first10"]
        embeddings = published_embeddings(case)
        scores = published_model_scores(*embeddings)
        checked = 0
        for published, value in case["metrics"].items():
            if (name := our_name(published)) is None:
                continue
            row = scores.ground_truth if published.startswith("gt_") else scores.generated
            relative = SINGULAR_FID if name == "fid" and case["N"] <= 512 else 0.0
            assert_close(f"published protocol, {published}", np.array(row[name]), np.array(value), rtol=relative)
            checked += 1
        assert checked == len(scores.generated) + len(scores.ground_truth) - 1  # fid_halves is ours


def test_published_multimodality():
    case = read_json("m2t3_metrics.json")["multimodality"]
    embeddings = np.random.RandomState(case["data_seed"]).standard_normal(case["shape"]).astype(np.float32)
    rng = np.random.RandomState(case["np_seed"])
    value = multimodality(torch.from_numpy(embeddings), rng=rng, num_pairs=MULTIMODALITY_PAIRS)
    assert_close("published multimodality", np.array(value), np.array(case["value"]))
