"""AIST++: dances recorded by nine calibrated cameras, with 3D keypoints in COCO layout.

Li et al., "AI Choreographer: Music Conditioned 3D Dance Generation with AIST++", ICCV 2021, arXiv 2101.08779.

    keypoints3d/{SEQ}.pkl       keypoints3d_optim (N, 17, 3), centimeters, may contain NaN
    keypoints2d/{SEQ}.pkl       keypoints2d (9, N, 17, 3), pixels of the raw images and scores, NaN where undetected
    cameras/mapping.txt         "SEQ setting" a line;   cameras/{setting}.json   list of cameras c01 ... c09
    splits/*.txt                names of sequences;   ignore_list.txt   names to exclude

The world of the calibration has y up, but the calibration was refined together with the points. This module therefore
fits the floor of each setting to the ankles of all its sequences.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.skeleton import COCO17
from hmr4d.data.importers.splits import read_name_list
from hmr4d.evaluation.captures.ground_plane import GroundPlane, fit_ground_plane
from hmr4d.evaluation.captures.views import Capture, CaptureError, CaptureViews, Detections, check_body_extent
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.safe_pickle import load_arrays_pickle
from hmr4d.utils.text_files import read_text

logger = logging.getLogger(__name__)
Floats = NDArray[np.float64]

SOURCE_FPS, STRIDE = 60.0, 2
FPS = SOURCE_FPS / STRIDE
CENTIMETER = 0.01  # meters
ANKLE_REST = 0.09  # meters; height of COCO's ankles above the floor when the foot rests on it
MAX_TILT = np.radians(10)  # limit of the fit; a tilt above TILT_EXPECTED is logged
TILT_EXPECTED = np.radians(3)
BAD_VIEWS = {
    "gBR_sBM_cAll_d04_mBR0_ch01": ("c05",),  # not synchronized with the others
    "gJB_sBM_cAll_d07_mJB3_ch05": ("c07",),  # images of 640 x 480
}
FULL_SIZE = (1920.0, 1080.0)


class AistppCaptures:
    """Reader of AIST++.

    Args:
        root: folder of the data set.
        split: name of a list `splits/<split>.txt`, such as "pose_test", or None for every sequence with 3D.
        window: number of first frames to keep, at 30 per second; None: all. The common protocol keeps 120.
        max_missing: a sequence is excluded if this fraction of its joints in the window is missing, or more.

    Raises:
        FileNotFoundError: lists, mapping or cameras are missing; the message names all.
        CaptureError: malformed files.
    """

    def __init__(
        self, root: str | Path, split: str | None = None, *, window: int | None = 120, max_missing: float = 0.5
    ) -> None:
        self.root, self.window = Path(root), window
        listed = self._listed(split)
        ignored = self.root / "ignore_list.txt"
        drop = self._ignored = set(read_name_list(ignored)) if ignored.is_file() else set()
        self.settings = _read_mapping(self.root / "cameras" / "mapping.txt")
        self.names = [name for name in listed if name not in drop]
        if unmapped := [name for name in self.names if name not in self.settings]:
            raise CaptureError(
                f"cameras/mapping.txt has no line for {', '.join(unmapped[:3])} ({len(unmapped)} in all)."
            )
        self._require(
            [*(f"keypoints3d/{n}.pkl" for n in self.names), *(f"cameras/{self.settings[n]}.json" for n in self.names)]
        )
        bad = [n for n in self.names if self._missing_share(n) > max_missing]
        self.names = [n for n in self.names if n not in set(bad)]
        logger.info(
            "AIST++: %d sequences; excluded: %d by ignore_list.txt, %d with incomplete 3D: %s.",
            len(self.names),
            len(set(listed) & drop),
            len(bad),
            ", ".join(bad) or "none",
        )
        self._grounds: dict[str, GroundPlane] = {}

    def dataset(self, *, detected: bool = True) -> CaptureViews:
        """All sequences in each usable camera, with detected or exact 2D."""
        clips = [(n, v) for n in self.names for v in self._usable(n, read_cameras(self._camera_file(n)))]
        return CaptureViews(clips, self.load if detected else self.load_without_detections, detected=detected)

    def load(self, name: str) -> Capture:
        """One sequence at 30 frames per second, with its detections."""
        return self._load(name, self._detections(name))

    def load_without_detections(self, name: str) -> Capture:
        """One sequence at 30 frames per second."""
        return self._load(name, None)

    def ground(self, setting: str) -> GroundPlane:
        """Floor of a setting, fitted to the ankles of all its sequences."""
        if setting not in self._grounds:
            names = [n for n, s in self.settings.items() if s == setting and n not in self._ignored]
            files = [p for p in (self.root / "keypoints3d" / f"{n}.pkl" for n in names) if p.is_file()]
            ankles = list(COCO17.indices("left_ankle", "right_ankle"))
            feet = np.concatenate([_read_joints3d(path)[::STRIDE, ankles].reshape(-1, 3) for path in files])
            up = np.array([0.0, 1.0, 0.0])
            plane = fit_ground_plane(feet, up, rest_height=ANKLE_REST, max_tilt=float(MAX_TILT))
            tilt = plane.tilt(up)
            level = logging.WARNING if tilt > TILT_EXPECTED else logging.INFO
            logger.log(
                level,
                "AIST++ %s: floor tilted by %.2f degrees, %.3f m from the origin, residual %.4f m.",
                setting,
                np.degrees(tilt),
                plane.d,
                plane.residual,
            )
            self._grounds[setting] = plane
        return self._grounds[setting]

    def _load(self, name: str, detections: Detections | None) -> Capture:
        joints3d = _read_joints3d(self.root / "keypoints3d" / f"{name}.pkl")[self._frames()]
        if detections is not None and detections.kp2d.shape[1] != len(joints3d):
            raise CaptureError(
                f"{name} has {len(joints3d)} frames of 3D and {detections.kp2d.shape[1]} of 2D; download both files "
                "again."
            )
        valid: NDArray[np.bool_] = np.asarray(np.isfinite(joints3d).all(-1))
        joints3d = np.where(valid[..., None], joints3d, 0.0)
        check_body_extent(f"AIST++ {name}", joints3d, valid, "centimetres")
        cameras = read_cameras(self._camera_file(name))
        if detections is not None and len(detections.kp2d) != len(cameras.views):
            raise CaptureError(
                f"{name} has 2D keypoints of {len(detections.kp2d)} views; expected {len(cameras.views)}."
            )
        return Capture(
            name=name,
            fps=FPS,
            skeleton=COCO17,
            root_joints=COCO17.root_joints,
            joints3d=joints3d,
            valid=valid,
            views=cameras.views,
            size=cameras.size,
            K4=cameras.K4,
            T_w2c=cameras.T_w2c,
            distortion=cameras.distortion,
            ground=self.ground(self.settings[name]),
            observed=self._usable(name, cameras),
            detections=detections,
        )

    def _frames(self) -> slice:
        return slice(0, None if self.window is None else self.window * STRIDE, STRIDE)

    def _detections(self, name: str) -> Detections:
        path = self.root / "keypoints2d" / f"{name}.pkl"
        kp2d = _array(path, "keypoints2d", (None, None, COCO17.num_joints, 3))[:, self._frames()]
        return Detections(kp2d[..., :2], kp2d[..., 2])

    def _missing_share(self, name: str) -> float:
        joints3d = _read_joints3d(self.root / "keypoints3d" / f"{name}.pkl")[self._frames()]
        return float((~np.isfinite(joints3d).all(-1)).mean()) if len(joints3d) else 1.0

    @staticmethod
    def _usable(name: str, cameras: Cameras) -> tuple[int, ...]:
        return tuple(i for i, view in enumerate(cameras.views) if view not in BAD_VIEWS.get(name, ()))

    def _camera_file(self, name: str) -> Path:
        return self.root / "cameras" / f"{self.settings[name]}.json"

    def _listed(self, split: str | None) -> list[str]:
        if split is None:
            self._require(["keypoints3d"])
            return sorted(p.stem for p in (self.root / "keypoints3d").glob("*.pkl"))
        self._require([f"splits/{split}.txt"])
        return read_name_list(self.root / "splits" / f"{split}.txt")

    def _require(self, names: Sequence[str]) -> None:
        absent = sorted({str(self.root / n) for n in names if not (self.root / n).exists()})
        if absent:
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            raise FileNotFoundError(f"AIST++ files not found: {', '.join(absent[:5])}{more}.")


class Cameras:
    """Nine cameras of a setting: names, image sizes (V, 2) in pixels, K4 (V, 4), T_w2c (V, 4, 4) in meters,
    distortion (V, 5)."""

    def __init__(self, entries: Sequence[Any]) -> None:
        self.views = tuple(str(e["name"]) for e in entries)
        self.size = np.array([e["size"] for e in entries], np.float64).reshape(-1, 2)
        K = np.array([e["matrix"] for e in entries], np.float64).reshape(-1, 3, 3)
        self.K4 = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], -1)
        rotvec = torch.from_numpy(np.array([e["rotation"] for e in entries], np.float64).reshape(-1, 3))
        self.T_w2c = np.tile(np.eye(4), (len(entries), 1, 1))
        self.T_w2c[:, :3, :3] = roma.rotvec_to_rotmat(rotvec).numpy()
        transl = np.array([e["translation"] for e in entries], np.float64).reshape(-1, 3)
        self.T_w2c[:, :3, 3] = transl * CENTIMETER
        self.distortion = np.array([e["distortions"] for e in entries], np.float64).reshape(-1, 5)


@lru_cache(maxsize=64)
def read_cameras(path: Path) -> Cameras:
    """Cameras of a setting.

    Raises:
        CaptureError: the file contains no list of cameras.
    """
    try:
        cameras = Cameras(json.loads(read_text(path)))
        counts = {len(a) for a in (cameras.size, cameras.K4, cameras.T_w2c, cameras.distortion)}
        numbers = (cameras.size, cameras.K4, cameras.T_w2c, cameras.distortion)
        if counts != {len(cameras.views)} or not all(np.isfinite(a).all() for a in numbers):
            raise ValueError("arrays of different lengths, or numbers that are not finite")
    except (ValueError, TypeError, KeyError) as error:
        raise CaptureError(
            f"{path} contains no list of cameras with name, size, matrix, rotation, translation and distortions: "
            f"{error}."
        ) from error
    small = [n for n, size in zip(cameras.views, cameras.size, strict=True) if tuple(size) != FULL_SIZE]
    if small:
        logger.info("%s: %s differ from 1920 x 1080.", path.name, ", ".join(small))
    return cameras


def _read_mapping(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise FileNotFoundError(f"AIST++ file not found: {path}.")
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if wrong := [row for row in rows if len(row) != 2]:
        raise CaptureError(f"{path}: {' '.join(wrong[0])!r} is not 'sequence setting'.")
    return {name: setting for name, setting in rows}


def _read_joints3d(path: Path) -> Floats:
    """(N, 17, 3) meters, NaN where missing, at 60 frames per second."""
    return _array(path, "keypoints3d_optim", (None, COCO17.num_joints, 3)) * CENTIMETER


def _array(path: Path, key: str, shape: tuple[int | None, ...]) -> Floats:
    if not path.is_file():
        raise FileNotFoundError(f"AIST++ file not found: {path}.")
    content = load_arrays_pickle(path)
    if not isinstance(content, dict) or key not in content:
        raise CaptureError(f"{path} has no '{key}'; expected a dict with it.")
    value = np.asarray(content[key])
    fits = value.ndim == len(shape) and all(s in (None, n) for s, n in zip(shape, value.shape, strict=True))
    if value.dtype.kind not in "fiu" or not fits:
        raise CaptureError(f"{path}: '{key}' is {value.dtype} {value.shape}; expected numbers of shape {shape}.")
    return value.astype(np.float64)
