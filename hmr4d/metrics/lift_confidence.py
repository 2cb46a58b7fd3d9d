"""How far each lifted joint can be trusted."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.cameras import world_to_camera
from hmr4d.geometry.rigs import project
from hmr4d.motion.lift_output import LiftOutput

GOOD_JOINT = 0.05  # metres; an error of this size halves the confidence
NEAREST = 0.1  # metres of depth
# Root mean squares of errors along the ray, of 48 made-up views of test clips that the network had not learnt from, as
# benchmarks/lift_checks.py makes them: of limbs against the root, in metres, and of the root, over its distance.
POSE, PLACE = 0.06, 0.015
HELD = 0.7  # metres per second without the root in sight
LONGEST_UNSEEN = 2.0  # seconds


def joint_confidence(output: LiftOutput, index: int, kp2d: Tensor, conf: Tensor) -> Tensor:
    """(L, J) in (0, 1]: 1 / (1 + e^2 / (5 cm)^2), e the size of the error in metres that is to be expected.

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
    joints3d = output.motion(index)
    rig = type(output.rig)(output.rig.size[index], output.rig.K4[index], output.rig.T_w2c[index]).select([0])
    pixels, depth = project(rig, joints3d.to(rig.K4))
    off = (pixels[0] - kp2d.to(pixels)).norm(dim=-1) * depth[0].clamp(min=NEAREST) / rig.K4[0, :2].mean()
    off = torch.where(conf > 0, off, torch.full_like(off, GOOD_JOINT))
    squared = output.residual[index, :length] ** 2 + output.spread[index, :length] ** 2 + off.to(joints3d) ** 2
    distance = (depth[0][:, roots].mean(-1, keepdim=True) * PLACE).to(joints3d)
    held = HELD * _seconds_unseen((conf[:, roots] > 0).all(-1), output.fps)[:, None].to(joints3d)
    squared = squared + POSE**2 + distance**2 + held**2
    return 1 / (1 + squared / GOOD_JOINT**2)


def _seconds_unseen(seen: Tensor, fps: float) -> Tensor:
    """(L,) seconds to the nearest frame that is seen, LONGEST_UNSEEN at most, and that where none is."""
    frames = torch.arange(len(seen), device=seen.device)
    away = (frames[:, None] - frames[seen]).abs() / fps
    longest = away.new_full((len(seen), 1), LONGEST_UNSEEN)
    return torch.cat([away, longest], 1).amin(1)


def camera_joints(output: LiftOutput, index: int) -> Tensor:
    """(L, J, 3) joints of one track in the frame of camera 0, metres."""
    joints3d = output.motion(index)
    return world_to_camera(joints3d.flatten(0, 1), output.rig.T_w2c[index, 0].to(joints3d)).unflatten(
        0, joints3d.shape[:2]
    )
