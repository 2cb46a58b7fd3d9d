"""Whether points are a body in an assumed order of joints: proportions of limbs, heads above feet, sides that stay."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.joint_conversion import smpl_to_coco17
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import COCO17, Skeleton
from hmr4d.keypoint_files.joint_names import JointOrder

_PARTS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"))
_LIMBS = (
    *((f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in _PARTS),
    ("left_hip", "right_hip"),
    ("left_shoulder", "right_shoulder"),
)
_WIDTHS = 2  # number of last limbs, which a side view hides
_FORESHORTENED = 0.5  # factor of the rest length; widths may appear this short in every frame
_LONG = 0.8  # quantile over frames: limbs have their full apparent length in some of them
_WORST = 2.0  # log ratio; larger deviations are clipped
_SHORTEST = 1e-3  # of the body's size
_MOST_SEEN = 300  # maximum number of evaluated entries
_FEWEST_LIMBS = 8
_FEWEST_SIDES = 6  # left and right joints visible in two frames that are needed to compare them
_CROSSED = 0.3  # fraction of the distance to their own side below which joints count as exchanged
_NEARLY_ALL = 0.9  # of the entries
_LYING = 2.0  # ratio of a body's extent across the image and down
_APART = 0.03  # fraction of the body size: minimum displacement of exchanged joints
# For 150 clips of the CMU motion capture in random views with errors of 2 cm, the correct order has 0.06 to 0.31 (99 %:
# below 0.24), a wrong one at least 0.23, and never less than the correct one.
BODY, NO_BODY, CLEARLY = 0.3, 0.35, 0.75


@lru_cache(maxsize=1)
def _lengths_at_rest() -> NDArray[np.float64]:
    """(12,) meters, of the light body's COCO joints."""
    joints = smpl_to_coco17(load_light_body().rest_joints.double()).numpy()
    ends = np.array([COCO17.indices(*limb) for limb in _LIMBS])
    return np.linalg.norm(joints[ends[:, 0]] - joints[ends[:, 1]], axis=1)


def misfit(points: NDArray[np.float64], order: JointOrder) -> float | None:
    """Deviation of limbs from the proportions of a body: the mean of |log ratio|, 0 for a body without foreshortening.

    Args:
        points: (N, J, 3) u, v, confidence of all visible people, 0 for missing. order: assumed order of the joints.

    Returns:
        None if too little is visible, or the order lacks a limb.
    """
    if not {name for limb in _LIMBS for name in limb} <= set(order.joint_names):
        return None
    rest = _lengths_at_rest()
    chosen = points[np.unique(np.linspace(0, len(points) - 1, _MOST_SEEN).astype(int))]
    ends = np.array([[order.joint_names.index(name) for name in limb] for limb in _LIMBS])
    seen: NDArray[np.bool_] = np.asarray((chosen[:, ends, 2] > 0).all(-1))
    lengths = np.linalg.norm(chosen[:, ends[:, 0], :2] - chosen[:, ends[:, 1], :2], axis=-1)  # (N, 12)
    sizes = np.where(seen, lengths, 0.0).sum(1) / np.maximum(np.where(seen, rest, 0.0).sum(1), _SHORTEST)
    usable = (seen.sum(1) >= _FEWEST_LIMBS) & (sizes > 0)
    if not usable.any():
        return None
    shares = np.where(seen[usable], lengths[usable] / sizes[usable, None] / rest, np.nan)
    is_measured = np.isfinite(shares).any(axis=0)
    ratios = np.log(np.maximum(_quantile(shares[:, is_measured], _LONG), _SHORTEST))
    is_width = np.flatnonzero(is_measured) >= len(_LIMBS) - _WIDTHS
    ratios = np.where(is_width, np.maximum(ratios, np.log(_FORESHORTENED)), ratios)
    return float(np.minimum(np.abs(ratios - np.median(ratios)), _WORST).mean())


def _quantile(values: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """(K,) quantile of each column of (N, K) without its NaN, as `np.nanquantile`, which is 20 times slower."""
    places = q * (np.isfinite(values).sum(axis=0) - 1)
    low = places.astype(int)
    ordered = np.sort(values, axis=0)  # NaN come last
    columns = np.arange(values.shape[1])
    first, second = ordered[low, columns], ordered[np.ceil(places).astype(int), columns]
    return first + (places - low) * (second - first)


def best_order(
    points: NDArray[np.float64], candidates: Sequence[JointOrder], usual: JointOrder | None
) -> tuple[JointOrder | None, bool]:
    """The joint order of the points, and whether they are a body in this order.

    Args:
        points: (N, J, 3) u, v, confidence, 0 for missing.
        candidates: orders with this number of joints. usual: default order unless another fits clearly better; None: no
            default.

    Returns:
        The order, or None if it cannot be determined; and False if the points do not look like a body in any order.
    """
    found = [(value, order) for order in candidates if (value := misfit(points, order)) is not None]
    if not found:
        return usual, True
    value, best = min(found, key=lambda pair: pair[0])
    others = [v for v, order in found if order is not best]
    rival = next((v for v, order in found if order is usual), None) if usual else min(others, default=None)
    if best is usual:
        return usual, value <= NO_BODY
    if value <= BODY and (rival is None or value <= CLEARLY * rival):
        return best, True
    return usual, rival is None or rival <= NO_BODY


def is_upside_down(points: NDArray[np.float64], order: JointOrder) -> bool:
    """Whether shoulders are below hips and hips below ankles in nearly all entries (N, J, 3) that show them."""
    heights = _middles(points, order)[..., 1]  # growing downwards
    return len(heights) > 0 and bool((np.diff(heights, axis=1) < 0).all(1).mean() > _NEARLY_ALL)


def lies_down(points: NDArray[np.float64], order: JointOrder) -> bool:
    """Whether bodies are longer across the image than down in nearly all entries in which they are visible."""
    along = np.abs(np.diff(_middles(points, order)[:, [0, 2]], axis=1)[:, 0])  # (N, 2)
    return len(along) > 0 and bool((along[:, 0] > _LYING * along[:, 1]).mean() > _NEARLY_ALL)


def _middles(points: NDArray[np.float64], order: JointOrder) -> NDArray[np.float64]:
    """(N, 3, 2) middles of shoulders, hips and ankles, of the entries in which all of these are visible."""
    rows = [
        [order.joint_names.index(f"{side}_{part}") for side in ("left", "right")]
        for part in ("shoulder", "hip", "ankle")
        if f"left_{part}" in order.joint_names
    ]
    if len(rows) < 3:
        return np.zeros((0, 3, 2))
    seen = (points[:, rows, 2] > 0).all((1, 2))
    return points[seen][:, rows, :2].mean(2)


def side_exchanges(track: NDArray[np.floating], skeleton: Skeleton) -> list[int]:
    """Frames of a track before which left and right are exchanged, for example because a detector confuses front and
    back.

    A person cannot turn around between two frames: if joints are much nearer to those of the other side in the previous
        frame than to their own, and these are apart, they are exchanged.

    Args:
        track: (L, J, 3) pixels and confidence, 0: not seen.
        skeleton: of its joints.
    """
    others = np.array(skeleton.mirror_order)
    sides = np.flatnonzero(others != np.arange(len(others)))
    points, seen = track[..., :2].astype(np.float64), track[..., 2] > 0
    known = seen[1:, sides] & seen[:-1, sides] & seen[1:, others[sides]] & seen[:-1, others[sides]]
    own = np.linalg.norm(points[1:, sides] - points[:-1, sides], axis=-1)
    crossed = np.linalg.norm(points[1:, others[sides]] - points[:-1, sides], axis=-1)
    count = np.maximum(known.sum(1), 1)
    own, crossed = (own * known).sum(1) / count, (crossed * known).sum(1) / count
    corners = np.where(seen[..., None], points, np.nan)[:-1]
    size = np.array([np.ptp(c[s], axis=0).max() if s.any() else 0.0 for c, s in zip(corners, seen[:-1], strict=True)])
    jumps = (known.sum(1) >= _FEWEST_SIDES) & (crossed < _CROSSED * own) & (own > _APART * size)
    return (np.flatnonzero(jumps) + 1).tolist()
