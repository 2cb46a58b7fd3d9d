"""Moving average of the weights that is usable from the first step on."""

from __future__ import annotations

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class RampedWeightAveraging(WeightAveraging):
    """Exponential moving average of the weights; checkpoints contain the average as "state_dict", and it replaces the
    final weights.

    The average starts with the weights of the first step. Update n keeps the fraction min(decay, (1 + n) / (10 + n)) of
    the average, so the initial weights also vanish in short runs. Averaging the iterates is due to Polyak and Juditsky
    (1992).

    Args:
        decay: fraction of the average that a late step keeps, in [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay is {decay}; give a number in [0, 1).")
        self.decay = decay
        super().__init__(avg_fn=self._average)

    def _average(self, average: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        updates = torch.as_tensor(num_averaged, device=average.device)
        keep = ((1.0 + updates) / (10.0 + updates)).clamp(max=self.decay)
        return average + (current - average) * (1.0 - keep)
