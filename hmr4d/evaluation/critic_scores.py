"""Scores of MotionCritic over sets of motions; the network and its paper are in `hmr4d.evaluators.motion_critic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from hmr4d.body.loading import load_body
from hmr4d.evaluators.motion_critic import NUM_FRAMES, NUM_ROWS, MotionCritic, critic_input
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import pose_motion

CriticFrame = Literal["y_up", "camera"]
CRITIC_FRAMES: tuple[str, ...] = get_args(CriticFrame)
_TO_CAMERA = (1.0, -1.0, -1.0)  # world to a camera that looks along -z: y down, z forward
BATCH = 16


@dataclass(frozen=True)
class CriticScores:
    """MotionCritic scores of a set of motions.

    Attributes:
        scores: motion name -> score; higher is better, unbounded.
        excluded: motion name -> reason why it has no score.
        rates: frame rates of the motions. Motions are not resampled: 60 frames last 2 s at 30 fps and 3 s at 20 fps.
        frame: coordinate frame of the critic's input: "y_up" (the frame of its training data, as far as is known) or
            "camera" (y down). Published tables do not state which one they used.
    """

    scores: Mapping[str, float]
    excluded: Mapping[str, str]
    rates: tuple[float, ...]
    frame: CriticFrame

    def summary(self) -> dict[str, Any]:
        """Mean, maximum, minimum and population standard deviation as in published tables; None without scores."""
        values = torch.tensor(list(self.scores.values()), dtype=torch.float64)
        numbers: dict[str, float | None] = dict.fromkeys(("mean", "max", "min", "std"))
        if len(values):
            numbers = {
                "mean": float(values.mean()),
                "max": float(values.max()),
                "min": float(values.min()),
                "std": float(values.std(correction=0)),
            }
        metadata = {
            "scored": len(values),
            "excluded": dict(self.excluded),
            "fps": list(self.rates),
            "frame": self.frame,
        }
        return {**numbers, **metadata}


def critic_rows(motion: Motion, frame: CriticFrame) -> Tensor:
    """(60, 25, 3) input of the critic for a motion of 60 frames or more.

    The rotations come from the pose of the motion or, without a pose, from inverse kinematics of its joints. Hands are
    in the rest pose.
    """
    pose = pose_motion(motion, load_body().rest_joints).pose
    rotations, translation = pose.rotations[:NUM_FRAMES].float(), pose.translation[:NUM_FRAMES].float()
    if frame == "camera":
        flip = rotations.new_tensor(_TO_CAMERA)
        root = flip[:, None] * rotations[:, :1]
        rotations = torch.cat([root, rotations[:, 1:]], 1)
        rest = pose.rest_joints[0].to(translation)
        translation = (translation + rest) * flip - rest
    missing = NUM_ROWS - 1 - rotations.shape[1]
    hands = torch.eye(3).to(rotations).expand(len(rotations), missing, 3, 3)
    return critic_input(torch.cat([rotations, hands], 1)[None], translation[None])[0]


@torch.no_grad()
def critic_scores(
    critic: MotionCritic, motions: Mapping[str, Motion] | Sequence[Motion], *, frame: CriticFrame = "y_up"
) -> CriticScores:
    """Scores the first 60 frames of each motion. Shorter motions have no score and are listed in `excluded`.

    Args:
        critic: trained network.
        motions: motions of SMPL-22 joints, y up, as a mapping by name or as a sequence.
        frame: see `CriticScores`.

    Raises:
        ValueError: the frame is unknown or a motion is not finite.
    """
    if frame not in CRITIC_FRAMES:
        raise ValueError(f"frame is '{frame}'; expected one of {CRITIC_FRAMES}.")
    named = motions if isinstance(motions, Mapping) else {str(n): motion for n, motion in enumerate(motions)}
    excluded = {
        name: f"{motion.num_frames} frames, fewer than {NUM_FRAMES}"
        for name, motion in named.items()
        if motion.num_frames < NUM_FRAMES
    }
    chosen = [name for name in named if name not in excluded]
    scores: dict[str, float] = {}
    device = next(critic.parameters()).device
    for start in range(0, len(chosen), BATCH):
        part = chosen[start : start + BATCH]
        rows = torch.stack([critic_rows(named[name], frame) for name in part]).to(device)
        scores |= dict(zip(part, critic.eval()(rows).tolist(), strict=True))
    rates = tuple(sorted({named[name].fps for name in chosen}))
    return CriticScores(scores, excluded, rates, frame)
