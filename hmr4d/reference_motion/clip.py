"""One person's motion as read from a file of another system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmr4d.motion.motion import Motion
from hmr4d.reference_motion.video_camera import VideoCamera


@dataclass(frozen=True, eq=False)
class ReferenceClip:
    """A motion with the camera that saw it.

    Attributes:
        motion: of SMPL-22 joints; with a pose, unless the source holds joints alone.
        camera: None: there was none, or it is not known.
        system: name of the system that wrote the file.
        frames: (L,) numbers of the frames in the video, consecutive; None: not known.
        is_level: the world of the motion has y up by measurement or by the source's promise; False: y is only the
            camera's up.
        remarks: what was odd about the file and what was done about it, sentences.
    """

    motion: Motion
    camera: VideoCamera | None = None
    system: str = ""
    frames: Sequence[int] | None = None
    is_level: bool = True
    remarks: tuple[str, ...] = ()
