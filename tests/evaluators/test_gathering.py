"""Metrics over several processes equal those of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hmr4d.metrics.text_to_motion import FID, RPrecision
from tests.evaluators.gathering import collect


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path: Path):
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("gathering.py"))]
    running = [
        subprocess.Popen([*command, str(rank), "2", str(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    alone = json.loads(json.dumps(collect(0, 1)))
    notes = alone["published"].pop("notes")
    try:
        errors = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], errors
    for rank in range(2):
        together = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        assert together["published"].pop("notes") == notes, rank
        assert numbers(together) == pytest.approx(numbers(alone), rel=1e-9), rank


def numbers(values: Any, name: str = "") -> dict[str, float]:
    """Numbers of a nested result by their path."""
    if isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        return {k: v for key, inner in items for k, v in numbers(inner, f"{name}/{key}").items()}
    return {name: values}


def test_order_of_arrival_does_not_matter_with_an_index():
    generator = torch.Generator().manual_seed(3)
    text, motion = (torch.randn(70, 5, generator=generator) for _ in range(2))
    in_order, shuffled = RPrecision(), RPrecision()
    in_order.update(text, motion)
    for index in torch.randperm(70, generator=generator).split(11):
        shuffled.update(text[index], motion[index], index=index)
    assert torch.equal(in_order.compute(), shuffled.compute())


def test_an_index_for_some_rows_only_is_refused():
    metric = FID()
    metric.update(torch.randn(4, 3), real=True, index=torch.arange(4))
    metric.update(torch.randn(4, 3), real=True)
    metric.update(torch.randn(4, 3), real=False)
    with pytest.raises(ValueError, match="4 of 8 rows of real have no index"):
        metric.compute()
    with pytest.raises(ValueError, match="one index per row"):
        metric.update(torch.randn(4, 3), real=True, index=torch.arange(3))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_compute_without_update_says_what_to_do():
    with pytest.raises(ValueError, match="got no real; call update"):
        FID().compute()


def test_reset_forgets_everything():
    metric = RPrecision(pool_size=4, top_k=1)
    metric.update(torch.eye(4), torch.eye(4).flip(0))
    metric.reset()
    metric.update(torch.eye(4), torch.eye(4))
    assert float(metric.compute()) == 1.0
