"""Metrics over a whole set do not depend on processes and order, and refuse sets that are not clear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hmr4d.metrics.pose_errors import PoseErrorMetric
from tests.metrics.gathering import COUNT, FPS, collect, sequence


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("gathering.py"))]
    running = [
        subprocess.Popen([*command, str(rank), "2", str(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    alone = collect(0, 1)
    try:
        errors = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], errors
    for rank in range(2):
        together = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        assert together == pytest.approx(alone, rel=1e-9), rank


def test_the_order_of_arrival_does_not_matter_with_an_index() -> None:
    metric = PoseErrorMetric(FPS, root_joints=(0,))
    for number in reversed(range(COUNT)):
        metric.update(*sequence(number), index=number)
    assert {name: float(value) for name, value in metric.compute().items()} == collect(0, 1)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_set_without_rows_and_one_with_an_index_for_some_rows_only_are_refused() -> None:
    metric = PoseErrorMetric(FPS, root_joints=(0,))
    with pytest.raises(ValueError, match="got no sums; call update"):
        metric.compute()
    metric.update(*sequence(0), index=0)
    metric.update(*sequence(1))
    with pytest.raises(ValueError, match="1 of 2 rows of sums have no index"):
        metric.compute()


def test_reset_forgets_everything() -> None:
    metric, fresh = (PoseErrorMetric(FPS, root_joints=(0,)) for _ in range(2))
    metric.update(*sequence(0))
    metric.reset()
    for one in (metric, fresh):
        one.update(*sequence(1))
    assert metric.compute() == fresh.compute()
