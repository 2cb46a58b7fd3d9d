"""What writers of rotations share: the facts they record, and how far they say a file is off."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.export.motion_npz import json_text
from hmr4d.motion.rigid_motion import RigidMotion

FRAMES_PER_BLOCK = 4096  # written at once; bounds the memory of long motions
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


def residual_facts(rigid: RigidMotion) -> dict[str, float]:
    """Mean and largest distance from the given joints in millimetres, for JSON."""
    return {"mean_mm": round(1e3 * rigid.mean, 3), "largest_mm": round(1e3 * rigid.largest, 3)}


def warn_if_off(path: str | os.PathLike[str], rigid: RigidMotion) -> None:
    """Says so when a file is visibly off."""
    if rigid.largest > WORTH_A_WARNING:
        logger.warning(
            "%s: bones of this motion change their length, those of the file cannot: joints are %.1f mm off in the "
            "mean and %.0f mm at most.", path, 1e3 * rigid.mean, 1e3 * rigid.largest,
        )  # fmt: skip
