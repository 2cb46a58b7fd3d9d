"""Upper bound of R-precision for data sets in which several clips of a pool have the same label."""

from __future__ import annotations

import numpy as np

from hmr4d.evaluation.text_to_motion_data import ScoredClips
from hmr4d.metrics.text_to_motion import POOL_SIZE, TOP_K

POOLS = 2000  # random pools


def r_precision_upper_bound(clips: ScoredClips, *, seed: int = 0) -> dict[str, tuple[float, ...]]:
    """Best possible top-k R-precision of an evaluator that knows only labels: the first label kind of the store, the
    first two, and so on.

    Such an evaluator has to guess among the m clips of a pool with equal labels. The matching clip is among k guesses
    with probability min(k / m, 1). Captions with more information than the labels allow higher values.

    Args:
        clips: evaluation clips of a store with labels.
        seed: seed of the pools.
    """
    rng = np.random.default_rng(seed)
    members = [clips.examples[item].clip for item in clips.items]
    pools = np.stack([rng.permutation(len(members))[:POOL_SIZE] for _ in range(POOLS)])
    bounds: dict[str, tuple[float, ...]] = {}
    cells = np.zeros(len(members), dtype=np.int64)
    kinds: list[str] = []
    for kind, values in clips.store.labels.items():
        kinds.append(kind)
        own = np.unique([values[clip] for clip in members], return_inverse=True)[1]
        cells = np.unique(np.stack([cells, own]), axis=1, return_inverse=True)[1].reshape(-1)
        drawn = cells[pools]
        same = (drawn[:, :, None] == drawn[:, None]).sum(-1)
        bounds[f"knowing {' and '.join(kinds)}"] = tuple(
            float(np.minimum(k / same, 1).mean()) for k in range(1, TOP_K + 1)
        )
    return bounds
