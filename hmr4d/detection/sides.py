"""Correction of left and right where the network temporarily confuses front and back.

Each frame is processed separately, so in some frames the sides of a body are exchanged: then every arm and leg jumps to
    the other side, and later back. Of all sequences of exchanges, the one with the least movement is selected (Viterbi,
    1967); an exchange has a cost per second. When a person turns around, the sides cross without a jump, so an exchange
    has no advantage. Arms or legs may be exchanged separately, at a higher cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton

Array = NDArray[np.float64]

_PRICE = 0.12  # cost per second of exchanged sides, relative to the body size
_APART = 0.2  # the same, for exchanging only arms or legs
_CHANGE = 0.02  # cost of starting or ending an exchange, relative to the body size
_FARTHEST = 0.3  # maximum movement of a joint relative to the body size
_LONGEST_PAUSE = 0.3  # seconds; longer pauses reset the sides
_LEGS = ("knee", "ankle", "heel", "foot_index")


def mend_sides(points: Array, conf: Array, times: Array, size: float, skeleton: Skeleton) -> NDArray[np.bool_]:
    """Which joints must be exchanged with those of the other side.

    Args:
        points: (L, J, 2) pixels.
        conf: (L, J), 0: not seen.
        times: (L,) seconds, rising.
        size: of the body in the picture, pixels.
        skeleton: of the joints.

    Returns:
        (L, J); `exchanged` does it.
    """
    others = np.array(other_sides(skeleton))
    is_leg = np.array([name.partition("_")[2] in _LEGS for name in skeleton.joint_names])
    groups = [np.flatnonzero((others != np.arange(len(others))) & (is_leg == legs)) for legs in (False, True)]
    frames = np.flatnonzero((conf > 0).any(1))
    is_exchanged = np.zeros(conf.shape, bool)
    if len(frames) < 3:
        return is_exchanged
    steps = np.diff(times[frames])
    changes = [_changes(points[frames], conf[frames], steps, size, group, others) for group in groups]
    seconds = np.append(np.minimum(steps, _LONGEST_PAUSE), np.median(steps))
    states = _least_movement(changes, seconds)
    for group, state in zip(groups, states.T, strict=True):
        is_exchanged[np.ix_(frames, group)] = state[:, None]
    return is_exchanged


def exchanged(values: Array, is_exchanged: NDArray[np.bool_], skeleton: Skeleton) -> Array:
    """Values (L, J) or (L, J, C) with the sides exchanged where `exchanged` (L, J)."""
    mask = is_exchanged.reshape(*is_exchanged.shape, *(1,) * (values.ndim - 2))
    return np.where(mask, values[:, other_sides(skeleton)], values)


def other_sides(skeleton: Skeleton) -> list[int]:
    """The joint on the other side of each joint; itself for those in the middle."""
    names = list(skeleton.joint_names)
    swap = {"left": "right", "right": "left"}
    words = [tuple(swap.get(word, word) for word in name.split("_")) for name in names]
    return [names.index("_".join(word)) if "_".join(word) in names else j for j, word in enumerate(words)]


def _changes(
    points: Array, conf: Array, steps: Array, size: float, group: NDArray[np.intp], others: NDArray[np.intp]
) -> Array:
    """(L - 1, 2) movement of a group between frames: unchanged, and with exchanged sides."""
    own, other = points[:, group], points[:, others[group]]
    cost = np.stack([_moved(own[1:], own[:-1], size), _moved(other[1:], own[:-1], size) + _CHANGE], -1)
    seen: NDArray[np.bool_] = np.all(conf[:, group] > 0, axis=1)
    cost[(steps > _LONGEST_PAUSE) | ~seen[1:] | ~seen[:-1]] = 0
    return cost


def _least_movement(changes: Sequence[Array], seconds: Array) -> NDArray[np.bool_]:
    """(L, 2) whether arms and legs are exchanged, on the path of minimum cost through all frames."""
    states = [(arms, legs) for arms in (0, 1) for legs in (0, 1)]
    price = np.array([_PRICE * (arms + legs) / 2 + _APART * (arms != legs) for arms, legs in states])
    cost, come = price * seconds[0], np.zeros((len(seconds), len(states)), int)
    for i in range(1, len(seconds)):
        step = [change[i - 1] for change in changes]
        ways = np.array([[sum(step[g][before[g] ^ now[g]] for g in (0, 1)) / 2 for now in states] for before in states])
        ways = cost[:, None] + ways
        come[i] = ways.argmin(0)
        cost = ways.min(0) + price * seconds[i]
    chosen, now = np.zeros((len(seconds), 2), bool), int(cost.argmin())
    for i in range(len(seconds) - 1, -1, -1):
        chosen[i] = states[now]
        now = int(come[i, now])
    return chosen


def _moved(now: Array, before: Array, size: float) -> Array:
    """(L,) mean movement of joints (L, K, 2) in body sizes."""
    return np.minimum(np.linalg.norm(now - before, axis=-1) / size, _FARTHEST).mean(-1)
