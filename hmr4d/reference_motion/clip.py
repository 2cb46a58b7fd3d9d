"""The motion of one person from a file of another system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmr4d.motion.motion import Motion
from hmr4d.reference_motion.video_camera import VideoCamera


@dataclass(frozen=True, eq=False)
class ReferenceClip:
    """A motion with the camera that recorded it.

    Attributes:
        motion: motion of SMPL-22 joints; with a pose, unless the source has joints only.
        camera: camera; None: unknown.
        system: name of the system that wrote the file.
        frames: (L,) consecutive frame numbers of the video; None: unknown.
        is_level: whether y is the measured or declared up direction of the world; False: y is the up direction of the
            camera.
        remarks: warnings about the file and corrections, sentences.
    """

    motion: Motion
    camera: VideoCamera | None = None
    system: str = ""
    frames: Sequence[int] | None = None
    is_level: bool = True
    remarks: tuple[str, ...] = ()
