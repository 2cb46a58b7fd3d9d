"""Motion recorded by several calibrated cameras; input and ground truth of lifting for each camera.

A `Capture` is one sequence in calibration coordinates. `lifting_clip` converts it to the view of one camera: the 2D of
that camera, and all cameras and the true 3D motion in the world anchored at it (`hmr4d.geometry.rigs`). `CaptureViews`
lists all these clips of a data set.
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

BODY_EXTENT = (0.5, 10.0)  # meters; plausible extent of a body, other values indicate a wrong unit
MIN_DEPTH = 0.1  # meters; joints at a smaller depth are not projected


class CaptureError(ValueError):
    """Files of a data set with unexpected content."""


@dataclass(frozen=True)
class Detections:
    """Detected 2D keypoints in every view.

    Attributes:
        kp2d: (V, L, J, 2) pixels, NaN where missing.
        conf: (V, L, J) in [0, 1].
    """

    kp2d: Floats
    conf: Floats


@dataclass(frozen=True)
class Capture:
    """One sequence and its cameras, in calibration coordinates.

    Attributes:
        name: name of the sequence.
        fps: frames per second.
        skeleton: skeleton of the joints.
        root_joints: joints whose mean is the root in the data set's metrics.
        joints3d: (L, J, 3) meters; invalid joints are 0.
        valid: (L, J) bool.
        views: names of the V cameras.
        size: (V, 2) pixels.
        K4: (V, 4) fx, fy, cx, cy.
        T_w2c: (V, 4, 4) from calibration to camera coordinates.
        distortion: (V, 4 | 5 | 8) coefficients in OpenCV's order; None without distortion.
        ground: floor.
        observed: indices of the cameras whose view may be lifted.
        detections: 2D keypoints in the raw, distorted images, or None.
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
    """The view of one camera of a sequence, and the ground truth.

    Attributes:
        name: "<sequence>/<camera>".
        kp2d: (L, J, 2) pixels of view 0, undistorted, 0 where missing.
        conf: (L, J) in [0, 1], 0 for missing.
        rig: all V cameras, view 0 first, in the world anchored at view 0.
        joints3d: (L, J, 3) meters, same world.
        valid: (L, J) bool, where `joints3d` is known.
        fps: frames per second.
        skeleton: skeleton of the joints.
        root_joints: joints whose mean is the root in metrics.
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
    """The clip of camera `view` of a capture, in float32.

    Args:
        capture: the sequence.
        view: index of the camera, below V.
        detected: use the undistorted keypoints of the detector. False: project the true joints with the pinhole camera,
            also outside the image, with confidence 1 where they are valid and in front of the camera.

    Raises:
        CaptureError: the capture has no detections, but `detected` is True.
        ValueError: the camera lies on the floor.
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
    """All sequences of a data set in the view of each camera.

    Args:
        clips: (sequence, camera index) of each item.
        load: reads the capture of a sequence.
        detected: see `lifting_clip`.
    """

    def __init__(
        self, clips: Sequence[tuple[str, int]], load: Callable[[str], Capture], *, detected: bool = False
    ) -> None:
        if not clips:
            raise CaptureError("The data set has no clips; check its split list and the excluded sequences.")
        self.clips, self.detected = tuple(clips), detected
        self._load = load
        self._last: tuple[str, Capture] | None = None  # successive items mostly share a sequence

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> LiftingClip:
        name, view = self.clips[index]
        if self._last is None or self._last[0] != name:
            self._last = (name, self._load(name))
        return lifting_clip(self._last[1], view, detected=self.detected)


def check_body_extent(name: str, joints3d: Floats, valid: NDArray[np.bool_], unit: str) -> None:
    """Raises CaptureError if the extent of the bodies is implausible for meters.

    Args:
        name: name for the message.
        joints3d: (L, J, 3) meters, converted from `unit`.
        valid: (L, J) bool.
        unit: assumed unit of the files.
    """
    whole = valid.sum(-1) >= 0.75 * valid.shape[-1]
    if not whole.any():
        raise CaptureError(f"{name} has no frame with at least three quarters of its joints; exclude the sequence.")
    x = np.where(valid[whole][..., None], joints3d[whole], np.nan)
    extent = float(np.median(np.linalg.norm(np.nanmax(x, 1) - np.nanmin(x, 1), axis=-1)))
    if not BODY_EXTENT[0] < extent < BODY_EXTENT[1]:
        raise CaptureError(
            f"{name}: bodies span {extent:.3g} m if the unit is {unit}; expected {BODY_EXTENT[0]} to {BODY_EXTENT[1]} "
            "m. Check the unit of the files."
        )


def _detected(capture: Capture, view: int) -> tuple[Tensor, Tensor]:
    """Undistorted detections (L, J, 2) of a view and their confidences (L, J)."""
    if capture.detections is None:
        raise CaptureError(f"{capture.name} has no detected 2D keypoints; add its file or use exact 2D.")
    kp2d, conf = capture.detections.kp2d[view], capture.detections.conf[view]
    conf = np.where(np.isfinite(kp2d).all(-1), np.clip(np.nan_to_num(conf), 0, 1), 0.0)
    pixels = torch.from_numpy(np.nan_to_num(kp2d))
    if capture.distortion is not None:
        K4, distortion = torch.from_numpy(capture.K4[view]), torch.from_numpy(capture.distortion[view])
        pixels = undistort(pixels, K4, distortion)
    known = torch.from_numpy(conf) * pixels.isfinite().all(-1)
    return torch.nan_to_num(pixels), known
