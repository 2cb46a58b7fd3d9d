"""Motions of joints, for the tests of everything that takes a motion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmr4d.body.joint_conventions import METADATA_KEY
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.motion.motion import Motion, Provenance


def as_motion(
    joints3d: Any,
    *,
    fps: float = 20.0,
    skeleton: Skeleton = SMPL22,
    text: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Motion:
    """The motion of joints (L, J, 3), array or tensor; its metadata may name a convention."""
    about = dict(metadata or {})
    convention = about.pop(METADATA_KEY, None)
    return Motion(joints3d, fps, skeleton, text, convention, provenance=Provenance.from_metadata(about))
