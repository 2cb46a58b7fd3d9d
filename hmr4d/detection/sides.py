"""Correction of left and right where the network temporarily confuses front and back.

Each frame is processed separately, so in some frames the sides of a body are exchanged: then every arm and leg jumps to
    the other side, and later back. Of all sequences of exchanges, the one with the least movement is selected (Viterbi,
    1967); an exchange has a cost per second. When a person turns around, the sides cross without a jump, so an exchange
    has no advantage. Arms or legs may be exchanged separately, at a higher cost. Single frames in which the network
    was wrong in another way are left out, since sides cannot be compared with theirs.
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
_LONGEST_SKIP, _SKIP = 0.1, 3.0  # seconds of frames that are left out, and cost per second, relative to the body size
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
    points, conf, times = points[frames], conf[frames], times[frames]
    skips = range(min(1 + _most_skipped(times), len(frames) - 1))
    changes = [[_changes(points, conf, times, size, group, others, skipped=skip) for group in groups] for skip in skips]
    seconds = np.append(np.minimum(np.diff(times), _LONGEST_PAUSE), np.median(np.diff(times)))
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


def _most_skipped(times: Array) -> int:
    """Number of frames in _LONGEST_SKIP seconds."""
    return int(_LONGEST_SKIP / max(float(np.median(np.diff(times))), 1e-3) + 1e-6)


def _changes(
    points: Array,
    conf: Array,
    times: Array,
    size: float,
    group: NDArray[np.intp],
    others: NDArray[np.intp],
    *,
    skipped: int,
) -> Array:
    """(L - 1 - skipped, 2) movement of a group between frames with `skipped` frames in between: unchanged, and with
    exchanged sides. Joints count that are seen on both sides in both frames; without any, both movements are 0."""
    ahead = 1 + skipped
    own, other, seen = points[:, group], points[:, others[group]], (conf[:, group] > 0) & (conf[:, others[group]] > 0)
    before, both = own[:-ahead], seen[ahead:] & seen[:-ahead]
    moved = [_moved(now[ahead:], before, both, size) for now in (own, other)]
    cost = np.stack([moved[0], moved[1] + _CHANGE], -1)
    cost[(times[ahead:] - times[:-ahead] > _LONGEST_PAUSE) | ~both.any(1)] = 0
    return cost


def _least_movement(changes: Sequence[Sequence[Array]], seconds: Array) -> NDArray[np.bool_]:
    """(L, 2) whether arms and legs are exchanged, on the path of minimum cost through the frames.

    The path may leave out single frames, in which the network was wrong in another way. They get the sides that are
    nearer to the last frame of the path.

    Args:
        changes: skipped frames -> group -> (L - 1 - skipped, 2) costs of `_changes`.
        seconds: (L,) duration of each frame.
    """
    states = [(arms, legs) for arms in (0, 1) for legs in (0, 1)]
    differ = np.array([[[b ^ n for b, n in zip(before, now, strict=True)] for now in states] for before in states])
    steps = [np.mean([change[:, differ[..., g]] for g, change in enumerate(groups)], 0) for groups in changes]
    price = np.array([_PRICE * (arms + legs) / 2 + _APART * (arms != legs) for arms, legs in states])
    skip = _SKIP * float(np.median(seconds))
    cost = np.full((len(seconds), len(states)), np.inf)
    come = np.zeros((*cost.shape, 2), int)  # frame and state before
    cost[0] = price * seconds[0]
    for i in range(1, len(seconds)):
        ways = np.stack([cost[i - 1 - k][:, None] + steps[k][i - 1 - k] + k * skip for k in range(min(i, len(steps)))])
        best = ways.reshape(-1, len(states)).argmin(0)
        come[i, :, 0], come[i, :, 1] = i - 1 - best // len(states), best % len(states)
        cost[i] = ways.min((0, 1)) + price * seconds[i]
    chosen, i, now = np.zeros((len(seconds), 2), bool), len(seconds) - 1, int(cost[-1].argmin())
    while True:
        chosen[i] = states[now]
        if i == 0:
            return chosen
        before, now = come[i, now]
        for left_out in range(before + 1, i):
            near = [change[before, 1] < change[before, 0] for change in changes[left_out - before - 1]]
            chosen[left_out] = np.array(states[now], bool) ^ np.array(near)
        i = int(before)


def _moved(now: Array, before: Array, counts: NDArray[np.bool_], size: float) -> Array:
    """(L,) mean movement in body sizes of those joints (L, K, 2) that count (L, K)."""
    far = np.minimum(np.linalg.norm(now - before, axis=-1) / size, _FARTHEST)
    return (far * counts).sum(-1) / np.maximum(counts.sum(-1), 1)
