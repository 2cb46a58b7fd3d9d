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

FRAMES_PER_BLOCK = 4096  # frames per block; bounds the memory of long motions
WORTH_A_WARNING = 0.01  # meters; larger residuals are logged

logger = logging.getLogger(__name__)


def motion_metadata(motion: Motion, *, units: str = "metres", axes: str = "right-handed, y up") -> dict[str, Any]:
    """Metadata of every exported file, for JSON.

    Args:
        motion: motion to write; the license of its provenance becomes an entry of its own.
        units: length unit of the file.
        axes: coordinate axes of the file.

    Raises:
        ValueError: JSON does not support the metadata.
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
    """Raises ValueError unless the skeleton has a known rest pose."""
    if motion.skeleton != SMPL22:
        raise ValueError(
            f"{what} contains rotations, which need a rest pose; skeleton '{motion.skeleton.name}' has none. "
            f"Convert the motion to '{SMPL22.name}', or write positions (csv)."
        )


def residual_metadata(rigid: RigidMotion) -> dict[str, float]:
    """Mean and largest distance from the given joints, millimeters, for JSON."""
    return {"mean_mm": round(1e3 * rigid.mean, 3), "largest_mm": round(1e3 * rigid.largest, 3)}


def warn_if_off(path: str | os.PathLike[str], rigid: RigidMotion, motion: Motion) -> None:
    """Logs a warning if the pose in a file differs visibly from the joints of its motion."""
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
