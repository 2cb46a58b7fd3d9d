"""Every metric over a set that is shared out to processes: python gathering.py RANK WORLD_SIZE FOLDER.

Run by test_gathering.py. The set is dealt out as a distributed sampler does: in turns, with copies of the first rows so
that all shares have one size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from hmr4d.evaluation.published_protocol import PublishedModelScores
from hmr4d.metrics.text_to_motion import FID, Diversity, MatchingScore, MultiModality, RPrecision

COUNT, DIM, REPEATS, BATCH = 75, 8, 4, 16


def collect(rank: int, world_size: int) -> dict[str, Any]:
    """Values of all metrics; the same for every number of processes."""
    generator = torch.Generator().manual_seed(0)
    text, real, generated = (torch.randn(COUNT, DIM, generator=generator) for _ in range(3))
    many = torch.randn(COUNT, REPEATS, DIM, generator=generator)
    fid, precision, matching, published = FID(), RPrecision(), MatchingScore(), PublishedModelScores()
    diversity, modality = Diversity(num_pairs=40), MultiModality(num_pairs=3)
    dealt = torch.arange(-(-COUNT // world_size) * world_size) % COUNT
    for index in dealt[rank::world_size].split(BATCH):
        fid.update(generated[index], real=False, index=index)
        precision.update(text[index], generated[index], index=index)
        matching.update(text[index], generated[index], index=index)
        published.update(text[index], generated[index], real[index], index=index)
        diversity.update(generated[index], index=index)
        modality.update(many[index], index=index)
    if rank == world_size - 1:  # the other processes have no real motions at all
        fid.update(real, real=True)
    metrics = (fid, precision, matching, diversity, modality)
    values: dict[str, Any] = {type(metric).__name__: metric.compute().tolist() for metric in metrics}
    return values | {"published": published.compute()._asdict()}


if __name__ == "__main__":
    this, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=this, world_size=size)
    (folder / f"{this}.json").write_text(json.dumps(collect(this, size)), encoding="utf-8")
    torch.distributed.destroy_process_group()
