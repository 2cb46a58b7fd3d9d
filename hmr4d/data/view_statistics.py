"""Mean and spread of projected motion, with which the features of a store are normalised."""

from __future__ import annotations

import numpy as np

from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datasets import Framing, MotionViews
from hmr4d.data.rigs import SingleCamera
from hmr4d.data.store import MotionStore
from hmr4d.representation.motion2d import Statistics
from hmr4d.utils.progress import progress

BALANCE_POWER = 0.5  # as training draws its examples, see `cell_weights`


def measure_view_statistics(
    store: MotionStore, *, name: str, num_items: int = 2000, min_seconds: float = 1.0, max_seconds: float = 9.8,
    half_extent: float = 1.0, seed: int = 0,
) -> Statistics:  # fmt: skip
    """Statistics of the train clips of a store as single-view training shows them.

    One camera at a random heading and elevation, orthographic, a fixed box; half of the items are mirrored; examples
    are drawn as often as in training.

    Args:
        store: of the motion.
        name: of the statistics.
        num_items: examples drawn.
        min_seconds, max_seconds: as `IndexRules` has them; longer clips give random windows.
        half_extent: of the box, metres.
        seed: of all draws.
    """
    dataset = MotionViews(
        store, "train", cameras=SingleCamera(),
        framing=Framing(is_perspective=False, box="fixed", half_extent=half_extent, relative_cameras=False),
        rules=IndexRules(min_seconds=min_seconds, max_seconds=max_seconds, keep_long=True), fps=store.fps,
        canonical=True, mirror_prob=0.5,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(dataset), num_items, p=dataset.balance_weights(BALANCE_POWER))
    seeds = rng.integers(2**31, size=num_items)
    frames = [
        dataset[int(index), int(item_seed)]["joints2d"].flatten(-2).flatten(0, 1).numpy()
        for index, item_seed in progress([*zip(drawn, seeds, strict=True)], "statistics", unit="item")
    ]
    return Statistics.measure(np.concatenate(frames), name=name, fps=store.fps)
