"""Rows of tensors collected over batches and processes: what every metric over a whole set keeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

NO_INDEX = -1


class RowMetric(Metric):
    """Base of metrics that need all rows of a set at once.

    Every process appends its rows; `compute` sees those of all processes. Rows with an index (their position in the
    data set) are sorted by it and counted once, so that the result depends neither on the number of processes nor on
    the copies of a distributed sampler. Without indices, the rows keep their order, process after process.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self) -> None:
        super().__init__(dist_sync_fn=gather_rows)

    def _declare(self, name: str) -> None:
        """Adds the two states of a set of rows."""
        self.add_state(name, default=[], dist_reduce_fx="cat")
        self.add_state(f"{name}_index", default=[], dist_reduce_fx="cat")

    def _append(self, name: str, rows: Tensor, index: Tensor | None) -> None:
        """Keeps rows (n, ...) and, where given, their indices (n,) >= 0."""
        if index is None:
            index = rows.new_full((len(rows),), NO_INDEX, dtype=torch.int64)
        if index.shape != rows.shape[:1]:
            raise ValueError(
                f"{len(rows)} rows have indices of shape {tuple(index.shape)}; expected one index per row."
            )
        getattr(self, name).append(rows.detach())
        getattr(self, f"{name}_index").append(index.to(device=rows.device, dtype=torch.int64))

    def _rows(self, name: str) -> Tensor:
        """All rows (N, ...) of a set, ordered by index where there is one.

        Raises:
            ValueError: there are no rows, or only some of them have an index.
        """
        if len(getattr(self, name)) == 0:
            raise ValueError(f"{type(self).__name__} got no {name}; call update before compute.")
        rows, index = dim_zero_cat(getattr(self, name)), dim_zero_cat(getattr(self, f"{name}_index"))
        without = index == NO_INDEX
        if without.all():
            return rows
        if without.any():
            raise ValueError(f"{int(without.sum())} of {len(rows)} rows of {name} have no index; pass all or none.")
        order = index.argsort(stable=True)
        ordered = index[order]
        first = torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1]])
        return rows[order[first]]


def gather_rows(rows: Tensor, group: Any = None) -> list[Tensor]:
    """The rows of all processes; processes without rows need not know their width and type."""
    described: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(described, (tuple(rows.shape), rows.dtype), group=group)
    known = next(((shape, dtype) for shape, dtype in described if shape[0] > 0), None)
    if known is not None and rows.shape[0] == 0:
        shape, dtype = known
        rows = torch.empty((0, *shape[1:]), dtype=dtype, device=rows.device)
    return gather_all_tensors(rows, group)
