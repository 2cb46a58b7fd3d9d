"""Mean and deviation of training features, measured on training items."""

from __future__ import annotations

import numpy as np

from hmr4d.data.datasets import MotionViews
from hmr4d.representation.motion2d import Statistics
from hmr4d.utils.progress import progress


def measure_statistics(
    dataset: MotionViews, *, name: str, num_items: int = 1500, balance_power: float | None = 0.5, seed: int = 0
) -> Statistics:
    """Statistics of the 2D features of random items, including windows, mirroring and cameras.

    Args:
        dataset: training dataset. name: name of the result. num_items: number of random items.
        balance_power: as in the training's data module; None draws every item equally often.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    weights = None if balance_power is None else dataset.balance_weights(balance_power)
    drawn = rng.choice(len(dataset), size=num_items, p=weights)
    frames = [
        dataset[(int(index), int(rng.integers(2**62)))]["joints2d"].flatten(0, 1).flatten(1).numpy()
        for index in progress(drawn, "statistics", unit="item")
    ]
    return Statistics.measure(np.concatenate(frames), name=name, fps=dataset.fps)
