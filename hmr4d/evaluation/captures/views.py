"""Motion recorded by several calibrated cameras, and the input and truth of lifting for each of them.

A `Capture` is one sequence in the frame of its calibration. `lifting_clip` shows it as one camera sees it: 2D of that
camera, all cameras in the world that it anchors (`hmr4d.geometry.rigs`), and the true 3D there. `CaptureViews` lists
all such clips of a data set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.body.skeleton import Skeleton
from hmr4d.evaluation.captures.ground_plane import GroundPlane
from hmr4d.geometry.cameras import world_to_camera
from hmr4d.geometry.distortion import undistort
from hmr4d.geometry.rigs import Rig, canonicalise, project

Floats = NDArray[np.float64]

BODY_EXTENT = (0.5, 10.0)  # metres that a body can span; others come from another unit
MIN_DEPTH = 0.1  # metres before a camera; nearer joints have no image


class CaptureError(ValueError):
    """Files of a data set with unexpected content."""


@dataclass(frozen=True)
class Detections:
    """2D of detectors in every view.

    Attributes:
        kp2d: (V, L, J, 2) pixels, NaN where there is none.
        conf: (V, L, J) in [0, 1].
    """

    kp2d: Floats
    conf: Floats


@dataclass(frozen=True)
class Capture:
    """One sequence and its cameras, in the frame of the calibration.

    Attributes:
        name: of the sequence.
        fps: frames per second.
        skeleton: joint meaning.
        root_joints: joints whose mean is the root in the data set's metrics.
        joints3d: (L, J, 3) metres; what is not valid is 0.
        valid: (L, J) bool.
        views: names of the V cameras.
        size: (V, 2) pixels.
        K4: (V, 4) fx, fy, cx, cy.
        T_w2c: (V, 4, 4) from the calibration's frame.
        distortion: (V, 4 | 5 | 8) in OpenCV's order, or None if images have none.
        ground: the floor.
        observed: cameras that may be lifted from, as indices.
        detections: 2D of the raw, distorted images, or None.
    """

    name: str
    fps: float
    skeleton: Skeleton
    root_joints: tuple[int, ...]
    joints3d: Floats
    valid: NDArray[np.bool_]
    views: tuple[str, ...]
    size: Floats
    K4: Floats
    T_w2c: Floats
    distortion: Floats | None
    ground: GroundPlane
    observed: tuple[int, ...]
    detections: Detections | None = None


@dataclass(frozen=True)
class LiftingClip:
    """The view of one camera of a sequence, and the truth.

    Attributes:
        name: "<sequence>/<camera>".
        kp2d: (L, J, 2) pixels of view 0, undistorted, 0 where missing.
        conf: (L, J) in [0, 1], 0 for missing.
        rig: all V cameras, view 0 first, in the world that it anchors.
        joints3d: (L, J, 3) metres, same world.
        valid: (L, J) bool, where `joints3d` is known.
        fps: frames per second.
        skeleton: joint meaning.
        root_joints: for metrics.
        views: names of the cameras, in the order of the rig.
    """

    name: str
    kp2d: Tensor
    conf: Tensor
    rig: Rig
    joints3d: Tensor
    valid: Tensor
    fps: float
    skeleton: Skeleton
    root_joints: tuple[int, ...]
    views: tuple[str, ...]


def lifting_clip(capture: Capture, view: int, *, detected: bool = False) -> LiftingClip:
    """The capture in camera `view`, in float32.

    Args:
        capture: the sequence.
        view: camera, an index below V.
        detected: 2D of the detector, undistorted; False: the true joints projected through the pinhole of the camera,
            also where they leave the image, with confidence 1 where they are valid and before the camera.

    Raises:
        CaptureError: detections are asked for and there are none.
        ValueError: the camera stands on the floor.
    """
    order = [view, *(v for v in range(len(capture.views)) if v != view)]
    normal, d = torch.from_numpy(capture.ground.normal), capture.ground.d
    T_w2c, T_cal2world = canonicalise(torch.from_numpy(capture.T_w2c[order]), normal, d)
    rig = Rig(torch.from_numpy(capture.size[order]), torch.from_numpy(capture.K4[order]), T_w2c)
    valid = torch.from_numpy(capture.valid.copy())
    joints3d = world_to_camera(torch.from_numpy(capture.joints3d), T_cal2world) * valid[..., None]
    if detected:
        kp2d, conf = _detected(capture, view)
    else:
        pixels, depth = project(rig.select([0]), joints3d)
        conf = (valid & (depth[0] > MIN_DEPTH)).double()
        kp2d = pixels[0]
    kp2d = torch.where(conf[..., None] > 0, kp2d, 0.0)
    return LiftingClip(
        name=f"{capture.name}/{capture.views[view]}",
        kp2d=kp2d.float(),
        conf=conf.float(),
        rig=rig.to(torch.float32),
        joints3d=joints3d.float(),
        valid=valid,
        fps=capture.fps,
        skeleton=capture.skeleton,
        root_joints=capture.root_joints,
        views=tuple(capture.views[v] for v in order),
    )


class CaptureViews(Dataset[LiftingClip]):
    """Every sequence of a data set in each of its cameras.

    Args:
        clips: (sequence, index of the camera) of each item.
        load: reads the capture of a sequence.
        detected: see `lifting_clip`.
    """

    def __init__(
        self, clips: Sequence[tuple[str, int]], load: Callable[[str], Capture], *, detected: bool = False
    ) -> None:
        if not clips:
            raise CaptureError("The data set has no clips; check its split list and what is left out of it.")
        self.clips, self.detected = tuple(clips), detected
        self._load = load
        self._last: tuple[str, Capture] | None = None  # successive items mostly show one sequence

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> LiftingClip:
        name, view = self.clips[index]
        if self._last is None or self._last[0] != name:
            self._last = (name, self._load(name))
        return lifting_clip(self._last[1], view, detected=self.detected)


def check_body_extent(name: str, joints3d: Floats, valid: NDArray[np.bool_], unit: str) -> None:
    """Raises CaptureError if bodies are too large or too small for positions in metres.

    Args:
        name: what is checked, for the message.
        joints3d: (L, J, 3) metres, as converted from `unit`.
        valid: (L, J) bool.
        unit: that the files were taken to be in.
    """
    whole = valid.sum(-1) >= 0.75 * valid.shape[-1]
    if not whole.any():
        raise CaptureError(f"{name} has no frame with three of four joints; leave the sequence out.")
    x = np.where(valid[whole][..., None], joints3d[whole], np.nan)
    extent = float(np.median(np.linalg.norm(np.nanmax(x, 1) - np.nanmin(x, 1), axis=-1)))
    if not BODY_EXTENT[0] < extent < BODY_EXTENT[1]:
        raise CaptureError(
            f"{name}: bodies span {extent:.3g} m if its unit is {unit}; expected {BODY_EXTENT[0]} to {BODY_EXTENT[1]} "
            "m. Check the unit of the files."
        )


def _detected(capture: Capture, view: int) -> tuple[Tensor, Tensor]:
    """Undistorted detections (L, J, 2) of a view and their confidences (L, J)."""
    if capture.detections is None:
        raise CaptureError(f"{capture.name} has no detected 2D; put its file in place or use true 2D.")
    kp2d, conf = capture.detections.kp2d[view], capture.detections.conf[view]
    conf = np.where(np.isfinite(kp2d).all(-1), np.clip(np.nan_to_num(conf), 0, 1), 0.0)
    pixels = torch.from_numpy(np.nan_to_num(kp2d))
    if capture.distortion is not None:
        K4, distortion = torch.from_numpy(capture.K4[view]), torch.from_numpy(capture.distortion[view])
        pixels = undistort(pixels, K4, distortion)
    known = torch.from_numpy(conf) * pixels.isfinite().all(-1)
    return torch.nan_to_num(pixels), known
