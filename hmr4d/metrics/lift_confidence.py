"""How large the error of each lifted joint is expected to be."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.rigs import project
from hmr4d.motion.confidence import GOOD_JOINT
from hmr4d.motion.motion import MotionBatch

NEAREST = 0.1  # metres of depth
# Root mean squares of errors along the ray, of 48 made-up views of test clips that the network had not learnt from, as
# benchmarks/lift_checks.py makes them: of limbs against the root, in metres, and of the root, over its distance.
POSE, PLACE = 0.06, 0.015
HELD = 0.7  # metres per second without the root in sight
LONGEST_UNSEEN = 2.0  # seconds


def expected_error(output: MotionBatch, index: int, kp2d: Tensor, conf: Tensor) -> Tensor:
    """(L, J) metres: size e of the error that is to be expected, the uncertainty of the motion.

    e^2 = residual^2 + spread^2 + reprojection^2 + ray^2 + held^2. The residual says how far the views of a joint
    disagree, the spread how far samples do, the reprojection how far the joint is from what view 0 observed, in metres
    at its depth. What view 0 did not observe counts as 5 cm off. None of
    these sees errors along the ray, which are the largest: `ray` is what those come to in people over a floor, POSE and
    PLACE of the distance, and `held` grows by HELD with the time since the root was last seen, or until it will be.

    Args:
        output: of lifting.
        index: of the track.
        kp2d, conf: (L, J, 2) pixels and (L, J) that view 0 observed, 0 for missing.
    """
    length, roots = int(output.lengths[index]), list(output.skeleton.root_joints)
    motion = output[index]
    if motion.views is None or motion.views.rig is None:
        raise ValueError("The motions do not say which cameras saw them; expected those of the lifter's `sample`.")
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
    """(L,) seconds to the nearest frame that is seen, LONGEST_UNSEEN at most, and that where none is."""
    frames = torch.arange(len(seen), device=seen.device)
    away = (frames[:, None] - frames[seen]).abs() / fps
    longest = away.new_full((len(seen), 1), LONGEST_UNSEEN)
    return torch.cat([away, longest], 1).amin(1)
