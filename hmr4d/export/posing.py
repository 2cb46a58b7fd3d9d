"""Common parts of rotation writers: metadata and the reported residual."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from hmr4d.body.skeleton import SMPL22
from hmr4d.export.motion_npz import json_text
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import RigidMotion

FRAMES_PER_BLOCK = 4096  # written at once; bounds the memory of long motions
WORTH_A_WARNING = 0.01  # metres

logger = logging.getLogger(__name__)


def motion_metadata(motion: Motion, *, units: str = "metres", axes: str = "right-handed, y up") -> dict[str, Any]:
    """Metadata of every exported file, for JSON.

    Args:
        motion: what is written; the licence of its provenance is also put beside the other facts.
        units: of lengths in the file.
        axes: of the file.

    Raises:
        ValueError: JSON cannot hold the metadata.
    """
    about = json.loads(json_text(motion.metadata))
    return {
        "fps": motion.fps,
        "num_frames": motion.num_frames,
        "units": units,
        "axes": axes,
        "skeleton": motion.skeleton.name,
        "text": motion.text,
        "licence": about.get("licence") or "unknown",
        "metadata": about,
    }


def check_has_rest_pose(motion: Motion, what: str) -> None:
    """ValueError when the skeleton of a motion is not the one whose rest pose is known."""
    if motion.skeleton != SMPL22:
        raise ValueError(
            f"{what} holds rotations, which need a rest pose; that of skeleton '{motion.skeleton.name}' is not known. "
            f"Convert the motion to '{SMPL22.name}', or write positions (csv)."
        )


def residual_metadata(rigid: RigidMotion) -> dict[str, float]:
    """Mean and largest distance from the given joints in millimetres, for JSON."""
    return {"mean_mm": round(1e3 * rigid.mean, 3), "largest_mm": round(1e3 * rigid.largest, 3)}


def warn_if_off(path: str | os.PathLike[str], rigid: RigidMotion, motion: Motion) -> None:
    """Warns if the pose in a file differs visibly from the joints of its motion."""
    if rigid.largest > WORTH_A_WARNING:
        why = "bones of this motion change their length, those of the file cannot"
        if motion.pose is not None:
            why = "joints3d and pose of this motion differ, the file has the pose"
        logger.warning(
            "%s: %s: joints are %.1f mm off in the mean and %.0f mm at most.",
            path,
            why,
            1e3 * rigid.mean,
            1e3 * rigid.largest,
        )
