"""Left and right mended where the network takes a front for a back for a while.

Each picture is looked at alone, so in some the sides of a body come out exchanged: then every arm and leg jumps to the
other side, and later back. Of all ways to exchange sides or not, picture by picture, the one with the least movement is
taken (Viterbi, 1967), while every exchange against the network's word has its price by the second. Somebody who turns
around lets the sides cross without a jump, so that nothing is gained by an exchange. Arms and legs may be exchanged
alone, at a higher price.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton

Array = NDArray[np.float64]

_PRICE = 0.12  # of the body's size, per second for which sides are exchanged
_APART = 0.2  # the same, for exchanging arms or legs alone
_CHANGE = 0.02  # of the body's size, for beginning or ending it
_FARTHEST = 0.3  # of the body's size: no joint counts as having moved more
_LONGEST_PAUSE = 0.3  # seconds; after longer ones nothing is known of the sides before
_LEGS = ("knee", "ankle", "heel", "foot_index")


def mend_sides(points: Array, conf: Array, times: Array, size: float, skeleton: Skeleton) -> NDArray[np.bool_]:
    """Which joints have to take the place of those of the other side.

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
    """Values (L, J) or (L, J, C) with those of the other side where they are exchanged (L, J)."""
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
    """(L - 1, 2) movement of a group from picture to picture: as it is, and when its sides are exchanged meanwhile."""
    own, other = points[:, group], points[:, others[group]]
    cost = np.stack([_moved(own[1:], own[:-1], size), _moved(other[1:], own[:-1], size) + _CHANGE], -1)
    seen: NDArray[np.bool_] = np.all(conf[:, group] > 0, axis=1)
    cost[(steps > _LONGEST_PAUSE) | ~seen[1:] | ~seen[:-1]] = 0
    return cost


def _least_movement(changes: Sequence[Array], seconds: Array) -> NDArray[np.bool_]:
    """(L, 2) whether arms and legs are exchanged, on the cheapest way through all pictures."""
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
    """(L,) how far joints (L, K, 2) have moved, in sizes of the body, in the mean."""
    return np.minimum(np.linalg.norm(now - before, axis=-1) / size, _FARTHEST).mean(-1)
