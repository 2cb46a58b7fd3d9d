"""Arrays as tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def as_tensor(x: Tensor | ArrayLike) -> Tensor:
    """A tensor unchanged; arrays (also memory-mapped and read-only ones) and lists of numbers as a copied tensor."""
    return x if isinstance(x, Tensor) else torch.from_numpy(np.array(x))


def interpolate_gaps(x: Tensor, valid: Tensor, max_gap: int | None = None) -> Tensor:
    """Rows of x (..., L, C) in which those that are not `valid` (..., L) are interpolated from valid neighbors in L.

    Linear between the two neighbors; gaps longer than `max_gap` rows and the end repeat the last valid row, the start
    the first one. Zero where no row is valid.
    """
    num = x.shape[-2]
    index = torch.arange(num, device=x.device).expand(valid.shape)
    before = torch.where(valid, index, -1).cummax(-1).values
    after = torch.where(valid, index, num).flip(-1).cummin(-1).values.flip(-1)
    start = torch.where(before < 0, after, before).clamp(max=num - 1)
    end = torch.where((after == num) | (before < 0), start, after)
    if max_gap is not None:
        end = torch.where(end - start - 1 > max_gap, start, end)
    fraction = ((index - start) / (end - start).clamp(min=1)).to(x.dtype).clamp(0, 1)[..., None]
    rows = x.masked_fill(~valid[..., None], 0.0)  # rows that are not valid may be NaN
    first, last = (rows.gather(-2, i[..., None].expand(x.shape)) for i in (start, end))
    return first + fraction * (last - first)
