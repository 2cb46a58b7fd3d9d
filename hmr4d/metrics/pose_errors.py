"""Errors of 3D joints against true ones: root-aligned, similarity-aligned and absolute, frame by frame.

Positions come in meters with frames on axis -3 and joints on axis -2, (..., L, J, 3), in any one frame for both
motions; errors are in millimeters unless the name states another unit. All computations use float64. A static camera
transform changes only t_root_l1, which depends on the axes, so world joints can be used for the metrics that are
defined in the camera frame.

W-MPJPE and WA-MPJPE are by Ye et al., "SLAHMR", CVPR 2023, arXiv 2302.12827; the pieces of 100 frames and the RTE are
those of Shin et al., "WHAM", CVPR 2024, arXiv 2312.07531.

`pose_errors` gives every metric of one sequence, `PoseErrorMetric` the two averages over a set:

==================  ===========================================================================================
mpjpe               mean over joints of the distance after the roots are put on each other, frame by frame
pa_mpjpe            the same after a similarity per frame
pa_seq              after the roots are put on each other in every frame and one similarity for all frames and joints
abs_mpjpe           without any alignment
w_mpjpe             similarity from the first 2 frames of every 100; wa_mpjpe: from all frames of every 100
w_mpjpe_full        the same with the whole sequence as the one piece; wa_mpjpe_full likewise
t_root              distance of the roots after both paths start at the origin; t_root_abs: without that
t_root_l1           mean absolute coordinate of the difference that t_root measures; some tables print it as T_root
mpjpe_t_root        abs_mpjpe after both paths start at the origin
rte_percent         distance of the first joints (SMPL's pelvis), in frames that know them, after a rigid alignment of
                    their paths, in percent of the true path's length
accel_m_s2          second difference of the root-aligned joints against the true one, times fps^2
jitter_10m_s3       third difference of the prediction alone, times fps^3 / 10: a tenth of `physical.jitter`
foot_sliding        step of a predicted foot point in frames where the TRUE one moves less than 1 cm a frame.
                    `physical.foot_skating` is another thing: it asks the prediction itself for its contacts, takes
                    horizontal steps only and is a speed
pve                 `mpjpe` of surface points, if there are some
==================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hmr4d.geometry.alignment import align_points
from hmr4d.metrics.physical import frame_jitter
from hmr4d.metrics.rows import RowMetric

MM = 1000.0  # millimeters in a meter
CHUNK = 100  # frames between two alignments of the windowed world metrics
W_FRAMES = 2  # frames at the start of a chunk from which w_mpjpe is aligned
FOOT_STILL = 0.01  # meters; a true foot point that moves less from one frame to the next is in contact
MIN_JOINTS = 3  # valid joints that a frame needs, for a similarity to be known
METRICS = (
    "pa_mpjpe",
    "mpjpe",
    "abs_mpjpe",
    "w_mpjpe",
    "wa_mpjpe",
    "w_mpjpe_full",
    "wa_mpjpe_full",
    "pa_seq",
    "mpjpe_t_root",
    "t_root",
    "t_root_l1",
    "t_root_abs",
    "rte_percent",
    "accel_m_s2",
    "jitter_10m_s3",
)


def pose_errors(
    pred: Tensor,
    target: Tensor,
    *,
    fps: float,
    root_joints: Sequence[int],
    valid: Tensor | None = None,
    feet: tuple[Tensor, Tensor] | None = None,
    points: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Every metric of one sequence, by name, as one value per frame.

    Invalid frames are removed first, and the remaining frames are treated as consecutive. A frame is valid if its root
    joints and at least three joints are valid.

    Args:
        pred, target: (L, J, 3) meters, both in one frame.
        fps: of both.
        root_joints: joints whose mean is the root, such as both hips.
        valid: (L,) or (L, J) bool, validity of the target; None: everything is valid.
        feet: predicted and true foot points (L, P, 3) for `foot_sliding`; None leaves it out.
        points: predicted and true surface points (L, P, 3) for `pve`; None leaves it out.

    Returns: Metric -> (n,) float64, n the valid frames (one less per difference in time; for `rte_percent` those with a
        valid first joint, and for `foot_sliding` the steps of feet in contact, which may be none).

    Raises:
        ValueError: shapes that do not agree, a prediction or a valid target that is not finite, or no valid frame.
    """
    pred, target, weights, kept = _kept(pred, target, valid, root_joints)
    if not fps > 0:
        raise ValueError(f"fps is {fps}; give the frames per second of the joints.")
    roots, target_roots = root_path(pred, root_joints), root_path(target, root_joints)
    step = (roots - roots[:1]) - (target_roots - target_roots[:1])
    has_first = slice(None) if weights is None else weights[:, 0] > 0
    errors = {
        "pa_mpjpe": pa_mpjpe(pred, target, weights),
        "mpjpe": mpjpe(pred, target, root_joints, weights),
        "abs_mpjpe": abs_mpjpe(pred, target, weights),
        "w_mpjpe": w_mpjpe(pred, target, weights),
        "wa_mpjpe": wa_mpjpe(pred, target, weights),
        "w_mpjpe_full": w_mpjpe(pred, target, weights, chunk=None),
        "wa_mpjpe_full": wa_mpjpe(pred, target, weights, chunk=None),
        "pa_seq": wa_mpjpe(pred - roots[:, None], target - target_roots[:, None], weights, chunk=None),
        "mpjpe_t_root": abs_mpjpe(pred - roots[:1, None], target - target_roots[:1, None], weights),
        "t_root": step.norm(dim=-1) * MM,
        "t_root_l1": step.abs().mean(-1) * MM,
        "t_root_abs": (roots - target_roots).norm(dim=-1) * MM,
        "rte_percent": root_trajectory_error(pred[has_first, 0], target[has_first, 0]),
        "accel_m_s2": acceleration_error(pred, target, root_joints, fps, weights),
        "jitter_10m_s3": frame_jitter(pred, fps) / 10,
    }
    if feet is not None:
        errors["foot_sliding"] = foot_sliding(*(_points(p, kept, "feet") for p in feet))
    if points is not None:
        surface, true_surface = (_points(p, kept, "points") for p in points)
        difference = (surface - roots[:, None]) - (true_surface - target_roots[:, None])
        errors["pve"] = difference.norm(dim=-1).mean(-1) * MM
    return errors


def root_path(joints3d: Tensor, root_joints: Sequence[int]) -> Tensor:
    """(..., J, 3) -> (..., 3): the mean of the root joints."""
    return joints3d[..., list(root_joints), :].mean(-2)


def joint_errors(pred: Tensor, target: Tensor, root_joints: Sequence[int] | None = None) -> Tensor:
    """(..., J) mm distance of each joint (..., J, 3); root-aligned if root joints are given."""
    if root_joints is not None:
        pred = pred - root_path(pred, root_joints)[..., None, :]
        target = target - root_path(target, root_joints)[..., None, :]
    return (pred - target).norm(dim=-1) * MM


def mpjpe(pred: Tensor, target: Tensor, root_joints: Sequence[int], weights: Tensor | None = None) -> Tensor:
    """(...) mm of joints (..., J, 3): mean distance after alignment of the roots. Weights: (..., J)."""
    return _mean(joint_errors(pred, target, root_joints), weights)


def pa_mpjpe(pred: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """(...) mm of joints (..., J, 3): mean distance after the best similarity of each frame. Weights: (..., J)."""
    return abs_mpjpe(align_points(pred, target, weights).apply(pred), target, weights)


def abs_mpjpe(pred: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """(...) mm of joints (..., J, 3): mean distance without alignment. Weights: (..., J)."""
    return _mean(joint_errors(pred, target), weights)


def w_mpjpe(
    pred: Tensor, target: Tensor, weights: Tensor | None = None, *, chunk: int | None = CHUNK, frames: int = W_FRAMES
) -> Tensor:
    """(..., L) mm of joints (..., L, J, 3): distance after the similarity that fits the first frames of each chunk.

    Args:
        pred, target: meters.
        weights: (..., L, J), or None for equal weights.
        chunk: frames until the next alignment; the last chunk may be shorter, down to one frame. None: the sequence.
        frames: from which a chunk is aligned.
    """
    parts = []
    for start in range(0, pred.shape[-3], chunk or pred.shape[-3]):
        stop = start + (chunk or pred.shape[-3])
        known = slice(start, min(start + frames, stop))
        fit = align_points(
            pred[..., known, :, :].flatten(-3, -2),
            target[..., known, :, :].flatten(-3, -2),
            None if weights is None else weights[..., known, :].flatten(-2),
        )
        part = pred[..., start:stop, :, :]
        moved = fit.apply(part.flatten(-3, -2)).unflatten(-2, part.shape[-3:-1])
        kept = None if weights is None else weights[..., start:stop, :]
        parts.append(abs_mpjpe(moved, target[..., start:stop, :, :], kept))
    return torch.cat(parts, -1)


def wa_mpjpe(pred: Tensor, target: Tensor, weights: Tensor | None = None, *, chunk: int | None = CHUNK) -> Tensor:
    """(..., L) mm of joints (..., L, J, 3): distance after the similarity that fits all frames of each chunk."""
    return w_mpjpe(pred, target, weights, chunk=chunk, frames=chunk or pred.shape[-3])


def root_trajectory_error(path: Tensor, target_path: Tensor) -> Tensor:
    """(..., L) percent of paths (..., L, 3): distance after a rigid alignment, by the length of the true path.

    Infinite, or NaN where the error is zero too, if the true path has no length.
    """
    moved = align_points(path, target_path, with_scale=False).apply(path)
    length = target_path.diff(dim=-2).norm(dim=-1).sum(-1, keepdim=True)
    return 100 * (moved - target_path).norm(dim=-1) / length


def acceleration_error(
    pred: Tensor, target: Tensor, root_joints: Sequence[int], fps: float, weights: Tensor | None = None
) -> Tensor:
    """(..., L - 2) m/s^2 of joints (..., L, J, 3): mean distance of the root-aligned second differences."""
    difference = (pred - root_path(pred, root_joints)[..., None, :]) - (
        target - root_path(target, root_joints)[..., None, :]
    )
    if weights is not None:  # a joint counts if it is valid in all three frames
        weights = weights[..., :-2, :] * weights[..., 1:-1, :] * weights[..., 2:, :]
    return _mean(difference.diff(n=2, dim=-3).norm(dim=-1) * fps**2, weights)


def foot_sliding(feet: Tensor, target_feet: Tensor) -> Tensor:
    """(n,) mm: steps of foot points (L, P, 3) from one frame to the next where the true point moves less than 1 cm."""
    contact = target_feet.diff(dim=-3).norm(dim=-1) < FOOT_STILL
    return feet.diff(dim=-3).norm(dim=-1)[contact] * MM


class PoseErrorMetric(RowMetric):
    """`pose_errors` over the sequences of a set, averaged in both ways that tables use.

    `compute` gives, for each metric, `<name>`: the mean over all frames of all sequences, in which long ones weigh
    more, and `<name>_per_sequence`: the mean over sequences of their means. Values that are not finite (the RTE of a
    person who stands still) are excluded from both.

    Args:
        fps: of every sequence.
        root_joints: joints whose mean is the root.
        foot_joints: joints used as foot points; empty: no `foot_sliding`.
    """

    def __init__(self, fps: float, *, root_joints: Sequence[int], foot_joints: Sequence[int] = ()) -> None:
        super().__init__()
        if not fps > 0:
            raise ValueError(f"fps is {fps}; give the frames per second of the sequences.")
        self.fps, self.root_joints, self.foot_joints = fps, tuple(root_joints), list(foot_joints)
        self.names = (*METRICS, "foot_sliding") if foot_joints else METRICS
        self._declare("sums")
        self._declare("counts")

    def update(self, pred: Tensor, target: Tensor, *, valid: Tensor | None = None, index: int | None = None) -> None:
        """Adds one sequence.

        Args:
            pred, target: (L, J, 3) meters.
            valid: (L,) or (L, J) bool.
            index: index of the sequence in the data set.

        Raises:
            ValueError: see `pose_errors`.
        """
        feet = (pred[:, self.foot_joints], target[:, self.foot_joints]) if self.foot_joints else None
        if feet is not None and valid is not None and valid.ndim == 2:  # an invalid foot is not in contact
            feet = feet[0], feet[1].masked_fill(~valid.bool().to(target.device)[:, self.foot_joints, None], torch.nan)
        errors = pose_errors(pred, target, fps=self.fps, root_joints=self.root_joints, valid=valid, feet=feet)
        finite = {name: errors[name][errors[name].isfinite()] for name in self.names}
        place = None if index is None else torch.tensor([index])
        self._append("sums", torch.stack([finite[name].sum() for name in self.names])[None], place)
        counts = torch.tensor([[float(finite[name].numel()) for name in self.names]], dtype=torch.float64)
        self._append("counts", counts.to(pred.device), place)

    def sums_and_counts(self) -> tuple[Tensor, Tensor]:
        """(N, M) sums of the finite values of each sequence, and how many there are; metrics as in `names`."""
        return self._rows("sums"), self._rows("counts")

    def compute(self) -> dict[str, Tensor]:
        """Metric -> () pooled mean, metric_per_sequence -> () mean of means; NaN if no sequence has a value."""
        sums, counts = self.sums_and_counts()
        pooled, per_sequence = sums.sum(0) / counts.sum(0), (sums / counts).nanmean(0)
        named = dict(zip(self.names, pooled, strict=True))
        return named | {f"{name}_per_sequence": v for name, v in zip(self.names, per_sequence, strict=True)}


def _mean(errors: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over the last axis; NaN where all weights are zero."""
    if weights is None:
        return errors.mean(-1)
    return (errors * weights).sum(-1) / weights.sum(-1)


def _kept(
    pred: Tensor, target: Tensor, valid: Tensor | None, root_joints: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Both motions in float64 without the frames that do not count, joint weights if they differ, and which frames."""
    if pred.ndim != 3 or pred.shape[-1] != 3 or pred.shape != target.shape:
        raise ValueError(
            f"pred has shape {tuple(pred.shape)} and target {tuple(target.shape)}; expected (L, J, 3) meters for both."
        )
    length, num_joints, _ = pred.shape
    if not root_joints or not all(0 <= j < num_joints for j in root_joints):
        raise ValueError(f"root_joints is {tuple(root_joints)}; pass one or more of the {num_joints} joints.")
    mask = torch.ones(length, num_joints, dtype=torch.bool) if valid is None else valid.bool()
    if mask.shape not in ((length,), (length, num_joints)):
        raise ValueError(f"valid has shape {tuple(mask.shape)}; expected ({length},) or ({length}, {num_joints}).")
    mask = (mask[:, None].expand(length, num_joints) if mask.ndim == 1 else mask).to(pred.device)
    kept = mask[:, list(root_joints)].all(-1) & (mask.sum(-1) >= min(MIN_JOINTS, num_joints))
    if not kept.any():
        raise ValueError(f"None of the {length} frames is valid: each needs its root joints and {MIN_JOINTS} joints.")
    mask, pred, target = mask[kept], pred[kept].double(), target[kept].double()
    target = target.masked_fill(~mask[..., None], 0.0)
    for name, joints in (("pred", pred), ("target", target)):
        if not joints.isfinite().all():
            raise ValueError(f"{name} contains NaN or infinity in a valid frame; repair it or mark it as invalid.")
    return pred, target, None if mask.all() else mask.double(), kept


def _points(points: Tensor, kept: Tensor, name: str) -> Tensor:
    """The kept frames of points (L, P, 3) in float64."""
    if points.ndim != 3 or points.shape[-1] != 3 or len(points) != len(kept):
        raise ValueError(f"{name} have shape {tuple(points.shape)}; expected ({len(kept)}, points, 3) meters.")
    return points[kept].double()
