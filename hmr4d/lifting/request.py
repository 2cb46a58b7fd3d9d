"""What a user asks of lifting: the input, the lifter and the files to write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hmr4d.camera.walking_camera import checked_stature
from hmr4d.detection.networks import DETECTOR, MODELS
from hmr4d.lifting.lifter import MODEL
from hmr4d.methods.defaults import LIFTING_MODEL
from hmr4d.utils.places import outputs_folder

OverlayKind = Literal["video", "sheet", "none"]


@dataclass(frozen=True)
class LiftRequest:
    """The input, the lifter and the results of one call of `hmr4d lift`; `lift_people` carries it out.

    Attributes:
        keypoints: a video, a folder of images, a keypoint file, or an OpenPose folder.
        camera: camera file; None: the camera of a video is estimated.
        stature: height of the person, meters; it checks the camera, or helps to estimate it.
        camera_stands: whether to go on if the camera seems to move.
        detector, detector_weights, no_smoothing: options of the detection in a video, see `detect_people`.
        format: format of the keypoints, or "auto".
        skeleton: joint set of the keypoints; None: detected.
        person: an id, "longest", "all" or, in videos, "largest"; None: "longest", or "largest" in videos.
        fps: frames per second if no file contains it.
        rig: file of virtual cameras; None: three around the person.
        method, model, prior, guess, device: the lifter, see `load_lifter`.
        samples: number of motions that are averaged.
        steps: diffusion steps; None: those of the model.
        seed: same seed, same motion.
        out: folder of the results.
        formats: further formats, checked by `check_exports`.
        video: video behind the overlay, for keypoint files.
        overlay: which overlays to write.
        overwrite: whether results of other keypoint files may be replaced.

    Raises:
        ValueError: an impossible height or number of samples. NotADirectoryError: `out` is a file.
    """

    keypoints: Path
    camera: Path | None = None
    stature: float | None = None
    camera_stands: bool = False
    detector: str = MODELS[0]
    detector_weights: str = DETECTOR
    no_smoothing: bool = False
    format: str = "auto"
    skeleton: str | None = None
    person: str | None = None
    fps: float | None = None
    rig: Path | None = None
    method: str = MODEL
    model: str = LIFTING_MODEL
    prior: Path | None = None
    guess: str | None = None
    device: str = "auto"
    samples: int = 1
    steps: int | None = None
    seed: int = 0
    out: Path = field(default_factory=lambda: outputs_folder() / "lifted")
    formats: tuple[str, ...] = ()
    video: Path | None = None
    overlay: OverlayKind = "video"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.stature is not None:
            checked_stature(self.stature)
        if self.samples < 1:
            raise ValueError(f"--samples is {self.samples}; expected 1 or more.")
        if self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(f"--out {self.out} is a file; expected a folder to write to.")

    @property
    def is_everyone(self) -> bool:
        """Whether all people are lifted."""
        return self.person == "all"
