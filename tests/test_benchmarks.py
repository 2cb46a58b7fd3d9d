"""Benchmarks that depend on the configurations still start."""

import runpy
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "benchmarks" / "bench.py"


@pytest.mark.parametrize(("name", "width"), [("small", 192), ("medium", 256)])
def test_bench_builds_the_networks_of_the_configurations(name: str, width: int) -> None:
    denoiser = runpy.run_path(str(BENCH))["network"](name, 384)
    assert denoiser.motion_head.in_features == width
