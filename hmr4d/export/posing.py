"""What writers of rotations share: the facts they record, and motions turned into rotations block by block."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.body_model import Body
from hmr4d.body.inverse_kinematics import SolvedPose, clip_rest_joints, solve_pose
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.export.motion_npz import json_text

FRAMES_PER_BLOCK = 4096  # bounds the memory of long motions
FRAMES_TO_MEASURE = 8192  # of a longer motion; its bones are measured in so many frames, evenly spread
WORTH_A_WARNING = 0.01  # metres

logger = logging.getLogger(__name__)


def motion_facts(
    joints3d: NDArray[np.float32],
    *,
    fps: float,
    skeleton: Skeleton,
    text: str,
    metadata: dict[str, Any] | None,
    units: str = "metres",
    axes: str = "right-handed, y up",
) -> dict[str, Any]:
    """What every exported file says about its motion, for JSON.

    Args:
        joints3d: (L, J, 3) the motion.
        fps: frames per second.
        skeleton: joint meaning.
        text: what the motion shows.
        metadata: what else is known; its licence is also put beside the other facts.
        units: of lengths in the file.
        axes: of the file.

    Raises:
        ValueError: JSON cannot hold the metadata.
    """
    about = json.loads(json_text(metadata or {}))
    return {
        "fps": fps, "num_frames": len(joints3d), "units": units, "axes": axes, "skeleton": skeleton.name,
        "text": text, "licence": about.get("licence") or "unknown", "metadata": about,
    }  # fmt: skip


def check_has_rest_pose(skeleton: Skeleton, what: str) -> None:
    """ValueError when a skeleton is not the one whose rest pose is known."""
    if skeleton != SMPL22:
        raise ValueError(
            f"{what} holds rotations, which need a rest pose; that of skeleton '{skeleton.name}' is not known. "
            f"Convert the motion to '{SMPL22.name}', or write positions (csv)."
        )


def rest_joints_of(joints3d: NDArray[np.float32], body: Body | None = None) -> Tensor:
    """(22, 3) float64 rest pose with the bones of a motion (L, 22, 3), arms spread as a body has them (None: light)."""
    body = load_light_body() if body is None else body
    frames = joints3d[:: -(-len(joints3d) // FRAMES_TO_MEASURE)]
    return clip_rest_joints(torch.tensor(frames, dtype=torch.float64), body.rest_joints[list(body.smpl22)])


class PoseBlocks:
    """A motion (L, 22, 3) solved for rotations in blocks of frames, in order; remembers how far off they are.

    Attributes:
        largest: metres; largest distance between a given joint and the posed one so far.
    """

    def __init__(self, joints3d: NDArray[np.float32], rest_joints: Tensor) -> None:
        self.joints3d, self.rest_joints = joints3d, rest_joints
        self.largest = 0.0
        self._sum = 0.0

    def __iter__(self) -> Iterator[SolvedPose]:
        self.largest = self._sum = 0.0
        for start in range(0, len(self.joints3d), FRAMES_PER_BLOCK):
            block = torch.tensor(self.joints3d[start : start + FRAMES_PER_BLOCK], dtype=torch.float64)
            solved = solve_pose(block, self.rest_joints)
            self.largest = max(self.largest, float(solved.residual.max()))
            self._sum += float(solved.residual.sum())
            yield solved

    @property
    def mean(self) -> float:
        """Metres; mean distance over joints and frames, once all blocks were taken."""
        return self._sum / (self.joints3d.shape[0] * self.joints3d.shape[1])

    def residual_facts(self) -> dict[str, float]:
        """Mean and largest distance in millimetres, for JSON."""
        return {"mean_mm": round(1e3 * self.mean, 3), "largest_mm": round(1e3 * self.largest, 3)}

    def warn(self, path: Path) -> None:
        """Says so when the file is visibly off."""
        if self.largest > WORTH_A_WARNING:
            logger.warning(
                "%s: bones of this motion change their length, those of the file cannot: joints are %.1f mm off in the "
                "mean and %.0f mm at most.", path, 1e3 * self.mean, 1e3 * self.largest,
            )  # fmt: skip
