"""Benchmarks that depend on the configurations still start."""

import runpy
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize(("name", "width"), [("small", 192), ("medium", 256)])
def test_bench_builds_the_networks_of_the_configurations(name: str, width: int) -> None:
    denoiser = runpy.run_path(str(BENCHMARKS / "bench.py"))["network"](name, 384)
    assert denoiser.motion_head.in_features == width


def test_errors_drawn_from_sigmas_are_ranked_as_well_as_their_spread_allows() -> None:
    attainable = runpy.run_path(str(BENCHMARKS / "lifting_cameras.py"))["attainable"]
    generator, found = torch.Generator().manual_seed(1), {}
    for spread in (0.4, 1.0):
        sizes = [0.05 * torch.exp(spread * torch.randn(30, 22, generator=generator)) for _ in range(20)]
        found[spread] = attainable([{"sigma_along": size, "sigma_across": size / 1000} for size in sizes])
    # A single normal error whose standard deviation is known and has a logarithm that varies by 0.4 or 1.
    assert found[0.4]["attainable"] == pytest.approx(0.39, abs=0.03)
    assert found[1.0]["attainable"] == pytest.approx(0.69, abs=0.03)
    assert found[1.0]["attainable, own likelihood"] < found[1.0]["attainable"]
    assert 0 < found[1.0]["attainable by chance"] < 0.1
