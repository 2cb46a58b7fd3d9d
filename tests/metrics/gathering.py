"""A metric over a set that is shared out to processes: python gathering.py RANK WORLD_SIZE FOLDER.

Run by test_rows.py. The set is dealt out as a distributed sampler does: in turns, with copies of the first sequences so
that all shares have one size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from hmr4d.metrics.pose_errors import PoseErrorMetric

COUNT, JOINTS, FPS = 7, 6, 20.0


def sequence(number: int) -> tuple[Tensor, Tensor]:
    """Two motions (L, J, 3) in meters; the length depends on the number."""
    generator = torch.Generator().manual_seed(number)
    target = torch.randn(8 + number, JOINTS, 3, generator=generator)
    return target + 0.1 * torch.randn(target.shape, generator=generator), target


def collect(rank: int, world_size: int) -> dict[str, float]:
    """Values of the metric; the same for every number of processes."""
    metric = PoseErrorMetric(FPS, root_joints=(0,))
    dealt = torch.arange(-(-COUNT // world_size) * world_size) % COUNT
    for number in dealt[rank::world_size].tolist():
        metric.update(*sequence(number), index=number)
    return {name: float(value) for name, value in metric.compute().items()}


if __name__ == "__main__":
    this, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=this, world_size=size)
    (folder / f"{this}.json").write_text(json.dumps(collect(this, size)), encoding="utf-8")
    torch.distributed.destroy_process_group()
