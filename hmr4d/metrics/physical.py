"""Physical plausibility of motion from joint positions alone, one number per clip.

All functions take padded batches of joints (B, L, J, 3) in meters, world, y up, with (B,) valid `lengths`, and return
one number per clip, (B,); padding never counts. A clip that is too short for a measure gets NaN. Compare clips of the
same `fps` and of the same body height only (`to_neutral_height`): most measures depend on both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.representation.root_velocity import normalize_height

FEET = (("left_ankle", "left_foot"), ("right_ankle", "right_foot"))  # ankle and toe joint of either foot
CONTACT_PERCENTILE = 0.05  # the resting height of a foot joint is this quantile of its height over the clip
CONTACT_MARGIN = 0.03  # meters above the resting height that still count as contact


def to_neutral_height(joints3d: Tensor, lengths: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """Global motion (B, L, J, 3) scaled about the world origin, one scale a clip, to the neutral body height.

    Without it a small person would skate less and shake less than a tall one doing the same.
    """
    return normalize_height(joints3d, lengths=lengths, per_frame=False, skeleton=skeleton)


def foot_contact(joints3d: Tensor, lengths: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """(B, L, 2) bool: whether the left and the right foot stand on the ground.

    A foot stands where both its ankle and its toe joint have y <= q + 0.03 m, q being the 5 % quantile of that joint's
    own y over the valid frames of the clip. The reference is the joint itself, not the floor, because joints rest at
    different heights above it and generated motion may float as a whole. Requiring both joints excludes the swing
    phase, in which the toe passes low over the floor below a raised ankle. Padding is never in contact.
    """
    y = _feet(joints3d, skeleton)[..., 1]  # (B, L, 2 feet, 2 joints)
    valid = _valid(joints3d, lengths)
    resting = torch.nanquantile(y.masked_fill(~valid[..., None, None], float("nan")), CONTACT_PERCENTILE, 1, True)
    return (y <= resting + CONTACT_MARGIN).all(-1) & valid[..., None]


def foot_skating(joints3d: Tensor, lengths: Tensor, fps: float, skeleton: Skeleton = SMPL22) -> Tensor:
    """(B,) m/s: mean horizontal speed of ankle and toe joints while their foot stands on the ground.

    mean over these joints p and frames t of |p_xz[t + 1] - p_xz[t]| * fps, where the foot is in contact
    (`foot_contact`) in both frames. NaN when no foot is in contact in two successive frames.
    """
    contact = foot_contact(joints3d, lengths, skeleton)
    speed = _horizontal_step(_feet(joints3d, skeleton)).mean(-1) * fps  # (B, L - 1, 2)
    return _masked_mean(speed, contact[:, 1:] & contact[:, :-1])


def jitter(joints3d: Tensor, lengths: Tensor, fps: float) -> Tensor:
    """(B,) m/s^3: mean norm of the third difference in time, over joints and frames, times fps^3."""
    third = frame_jitter(joints3d, fps)
    return _masked_mean(third, _valid(joints3d, lengths)[:, 3:])


def frame_jitter(joints3d: Tensor, fps: float) -> Tensor:
    """(..., L - 3) m/s^3 of joints (..., L, J, 3): mean norm of the third difference in time, over joints, times fps^3.

    The values of a clip are ordered by its frames; the first belongs to its frame 3.
    """
    return joints3d.diff(n=3, dim=-3).norm(dim=-1).mean(-1) * fps**3


def bone_length_variation(joints3d: Tensor, lengths: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    """(B,) %: 100 * standard deviation / mean of a bone's length over the valid frames, averaged over the bones."""
    parents, children = (list(ends) for ends in zip(*skeleton.bones, strict=True))
    bones = (joints3d[..., children, :] - joints3d[..., parents, :]).norm(dim=-1)  # (B, L, bones)
    valid = _valid(joints3d, lengths)[..., None]
    count = lengths.to(bones)[:, None]
    mean = (bones * valid).sum(1) / count
    deviation = (((bones - mean[:, None]) ** 2 * valid).sum(1) / count).sqrt()
    return 100 * (deviation / mean).mean(-1)


def root_speed(joints3d: Tensor, lengths: Tensor, fps: float) -> Tensor:
    """(B,) m/s: mean of |root_xz[t + 1] - root_xz[t]| * fps, the root being joint 0."""
    return _masked_mean(_horizontal_step(joints3d[:, :, 0]) * fps, _valid(joints3d, lengths)[:, 1:])


def root_speed_error(
    joints3d: Tensor, lengths: Tensor, reference: Tensor, reference_lengths: Tensor, fps: float
) -> Tensor:
    """(B,) m/s: |root_speed - that of a reference clip|.

    Mean speeds are compared, not frames: a motion made from a caption may take its steps at other moments, and may be
    longer or shorter.

    Args:
        joints3d, lengths: (B, L, J, 3) and (B,).
        reference, reference_lengths: (B, L', J, 3) and (B,) the clip that each is measured against.
        fps: of both.
    """
    return (root_speed(joints3d, lengths, fps) - root_speed(reference, reference_lengths, fps)).abs()


def floor_penetration(joints3d: Tensor, lengths: Tensor) -> Tensor:
    """(B,) metres: mean over frames of max(0, -lowest joint's y). Zero by construction after `align_to_floor`."""
    return _masked_mean((-joints3d[..., 1].amin(-1)).clamp(min=0), _valid(joints3d, lengths))


def floor_clearance(joints3d: Tensor, lengths: Tensor) -> Tensor:
    """(B,) metres: mean over frames of max(0, lowest joint's y); large if a clip floats above the floor."""
    return _masked_mean(joints3d[..., 1].amin(-1).clamp(min=0), _valid(joints3d, lengths))


def physical_metrics(joints3d: Tensor, lengths: Tensor, fps: float, skeleton: Skeleton = SMPL22) -> dict[str, Tensor]:
    """All measures of this module by name, each (B,)."""
    return {
        "foot_skating": foot_skating(joints3d, lengths, fps, skeleton),
        "jitter": jitter(joints3d, lengths, fps),
        "bone_length_variation": bone_length_variation(joints3d, lengths, skeleton),
        "root_speed": root_speed(joints3d, lengths, fps),
        "floor_penetration": floor_penetration(joints3d, lengths),
        "floor_clearance": floor_clearance(joints3d, lengths),
    }


def _valid(joints3d: Tensor, lengths: Tensor) -> Tensor:
    """(B, L) bool, True for real frames."""
    return torch.arange(joints3d.shape[1], device=joints3d.device) < lengths.to(joints3d.device)[:, None]


def _feet(joints3d: Tensor, skeleton: Skeleton) -> Tensor:
    """(B, L, J, 3) -> (B, L, 2, 2, 3): ankle and toe joint of the left and the right foot."""
    return torch.stack([joints3d[..., list(skeleton.indices(*foot)), :] for foot in FEET], -3)


def _horizontal_step(points: Tensor) -> Tensor:
    """(B, L, ..., 3) -> (B, L - 1, ...) distance on the floor between successive frames."""
    return points.diff(dim=1)[..., [0, 2]].norm(dim=-1)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, ...) -> (B,) mean over the entries of `mask`; NaN if there is none."""
    dims = tuple(range(1, values.ndim))
    return values.masked_fill(~mask, 0).sum(dims) / mask.sum(dims)
