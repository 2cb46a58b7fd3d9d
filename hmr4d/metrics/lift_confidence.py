"""How large the error of each lifted joint is expected to be."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.rigs import project
from hmr4d.motion.confidence import GOOD_JOINT
from hmr4d.motion.motion import MotionBatch

NEAREST = 0.1  # meters of depth
# Root mean square errors along the ray for 48 simulated views of test clips (benchmarks/lift_checks.py): of limbs
# relative to the root in meters, and of the root relative to its distance.
POSE, PLACE = 0.06, 0.015
HELD = 0.7  # meters per second without the root in sight
LONGEST_UNSEEN = 2.0  # seconds


def expected_error(output: MotionBatch, index: int, kp2d: Tensor, conf: Tensor) -> Tensor:
    """(L, J) meters: expected error e, the uncertainty of the motion.

    e^2 = residual^2 + spread^2 + reprojection^2 + ray^2 + held^2. The residual is the disagreement between the views of
    a joint, the spread that between samples, and the reprojection the distance from the observation of view 0 in meters
    at its depth (5 cm if it is missing). None of these includes errors along the ray, which are the largest: `ray` is
    their typical size, POSE and PLACE times the distance, and `held` grows by HELD with the time to the nearest frame
    with a visible root.

    Args:
        output: result of lifting. index: index of the track. kp2d, conf: (L, J, 2) pixels and (L, J) observation of
            view 0, 0 for missing.
    """
    length, roots = int(output.lengths[index]), list(output.skeleton.root_joints)
    motion = output[index]
    if motion.views is None or motion.views.rig is None:
        raise ValueError("The motions have no cameras; expected the result of the lifter's `sample`.")
    joints3d, rig = motion.joints3d, motion.views.rig.select([0])
    pixels, depth = project(rig, joints3d.to(rig.K4))
    off = (pixels[0] - kp2d.to(pixels)).norm(dim=-1) * depth[0].clamp(min=NEAREST) / rig.K4[0, :2].mean()
    off = torch.where(conf > 0, off, torch.full_like(off, GOOD_JOINT))
    residual, spread = (output.extras[name][index, :length] for name in ("residual", "spread"))
    squared = residual**2 + spread**2 + off.to(joints3d) ** 2
    distance = (depth[0][:, roots].mean(-1, keepdim=True) * PLACE).to(joints3d)
    held = HELD * _seconds_unseen((conf[:, roots] > 0).all(-1), output.fps)[:, None].to(joints3d)
    return (squared + POSE**2 + distance**2 + held**2).sqrt()


def _seconds_unseen(seen: Tensor, fps: float) -> Tensor:
    """(L,) seconds to the nearest visible frame, at most LONGEST_UNSEEN."""
    frames = torch.arange(len(seen), device=seen.device)
    away = (frames[:, None] - frames[seen]).abs() / fps
    longest = away.new_full((len(seen), 1), LONGEST_UNSEEN)
    return torch.cat([away, longest], 1).amin(1)
