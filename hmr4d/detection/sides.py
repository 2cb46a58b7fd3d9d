"""Left and right mended where the network takes a front for a back for a while.

Each picture is looked at alone, so in some the sides of a body come out exchanged: then every arm and leg jumps to the
other side, and later back. Of all ways to exchange sides or not, picture by picture, the one with the least movement is
taken (Viterbi, 1967), while every exchange against the network's word has its price by the second. Somebody who turns
around lets the sides cross without a jump, so that nothing is gained by an exchange. Arms and legs are judged alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton

Array = NDArray[np.float64]

_PRICE = 0.12  # of the body's size, per second for which sides are exchanged
_CHANGE = 0.02  # of the body's size, for beginning or ending it
_FARTHEST = 0.3  # of the body's size: no joint counts as having moved more
_LONGEST_PAUSE = 0.3  # seconds; after longer ones nothing is known of the sides before
_LEGS = ("hip", "knee", "ankle", "heel", "foot_index")


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
    is_exchanged = np.zeros(conf.shape, bool)
    others = other_sides(skeleton)
    for legs in (True, False):
        group = [
            j
            for j, name in enumerate(skeleton.joint_names)
            if others[j] != j and (name.partition("_")[2] in _LEGS) == legs
        ]
        is_exchanged[:, group] = _exchanged_group(points, conf, times, size, np.array(group), others)[:, None]
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


def _exchanged_group(
    points: Array, conf: Array, times: Array, size: float, group: NDArray[np.intp], others: list[int]
) -> NDArray[np.bool_]:
    """(L,) whether the joints of a group are exchanged."""
    seen = (conf[:, group] > 0).all(1)
    frames = np.flatnonzero(seen)
    state = np.zeros(len(conf), bool)
    if len(frames) < 3:
        return state
    own, other = points[frames][:, group], points[frames][:, np.array(others)[group]]
    steps = np.diff(times[frames])
    stay = _moved(own[1:], own[:-1], size)  # neither or both exchanged
    swap = _moved(other[1:], own[:-1], size) + _CHANGE
    stay[steps > _LONGEST_PAUSE] = swap[steps > _LONGEST_PAUSE] = 0
    price = _PRICE * np.append(np.minimum(steps, _LONGEST_PAUSE), np.median(steps))
    cost, come = np.array([0.0, price[0]]), np.zeros((len(frames), 2), int)
    for i in range(1, len(frames)):
        ways = cost[:, None] + np.array([[stay[i - 1], swap[i - 1]], [swap[i - 1], stay[i - 1]]])
        come[i] = ways.argmin(0)
        cost = ways.min(0) + np.array([0.0, price[i]])
    now = int(cost.argmin())
    for i in range(len(frames) - 1, -1, -1):
        state[frames[i]] = now == 1
        now = int(come[i, now])
    return state


def _moved(now: Array, before: Array, size: float) -> Array:
    """(L,) how far joints (L, K, 2) have moved, in sizes of the body, in the mean."""
    return np.minimum(np.linalg.norm(now - before, axis=-1) / size, _FARTHEST).mean(-1)
