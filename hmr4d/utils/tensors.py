"""Arrays as tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def as_tensor(x: Tensor | ArrayLike) -> Tensor:
    """A tensor as it is; arrays, memory-mapped and read-only ones too, and lists of numbers as a copy."""
    return x if isinstance(x, Tensor) else torch.from_numpy(np.array(x))
