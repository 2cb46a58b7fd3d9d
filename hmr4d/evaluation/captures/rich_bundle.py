"""Reader of the prepared test set of RICH that common evaluation code distributes: two files instead of the data set.

    rich_test_labels.pt   "test/{SEQ}/cam_{cc:02d}" -> frame_id (F,), gender, gt_smplx_params {name: (F, n)}
    cam2params.pt         "{CAPTURE}_{cc}" -> (T_w2c (4, 4), K (3, 3))

Each clip has one camera, so rigs have one view.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import SMPL22, SMPL24
from hmr4d.evaluation.captures.ground_plane import GroundPlane
from hmr4d.evaluation.captures.rich import FPS, HIPS, feet_ground, image_size
from hmr4d.evaluation.captures.rich_bodies import HAND_WIDTHS, WIDTHS, BodyJoints
from hmr4d.evaluation.captures.views import Capture, CaptureError, CaptureViews, check_body_extent
from hmr4d.utils.safe_pickle import load_arrays_pickle

logger = logging.getLogger(__name__)
Floats = NDArray[np.float64]

_NAME = re.compile(r"test/(?P<sequence>(?P<capture>.+)_\d+_[^_]+)/cam_(?P<camera>\d+)$")


class RichBundle:
    """Reader of the prepared test set.

    Args:
        labels: `rich_test_labels.pt`.
        cameras: `cam2params.pt`.
        bodies: function from SMPL-X parameters to joints.
        dedup: drop frames with the number of the previous frame. Some clips begin with a duplicated frame. Published
            evaluations keep the duplicate, which is then one of the "first two frames" of W-MPJPE.

    Raises:
        FileNotFoundError: a file is missing.
        CaptureError: a file has other content.
    """

    def __init__(self, labels: str | Path, cameras: str | Path, *, bodies: BodyJoints, dedup: bool = False) -> None:
        self._labels, self._cameras = _mapping(Path(labels)), _mapping(Path(cameras))
        self._bodies, self._dedup = bodies, dedup
        self._floors: dict[str, GroundPlane] = {}
        self.names = sorted(self._labels)
        unknown = [n for n in self.names if _key(n, self._cameras) not in self._cameras]
        if unknown:
            raise CaptureError(f"{cameras} has no camera for {', '.join(unknown[:3])} ({len(unknown)} in all).")
        repeated = [n for n in self.names if len(self._frames(n)) != len(self._labels[n]["frame_id"])]
        logger.info(
            "RICH test: %d clips; %d with repeated frames, which are %s.",
            len(self.names),
            len(repeated),
            "dropped" if dedup else "kept",
        )

    def dataset(self) -> CaptureViews:
        """All clips, with exact 2D."""
        return CaptureViews([(name, 0) for name in self.names], self.load)

    def load(self, name: str) -> Capture:
        """One clip in calibration coordinates; the floor is fitted to the feet of all clips of the capture."""
        joints3d = self._joints_of(name)
        valid = np.ones(joints3d.shape[:2], bool)
        check_body_extent(name, joints3d, valid, "metres")
        T_w2c, K = (np.asarray(a, np.float64) for a in self._cameras[_key(name, self._cameras)])
        capture, camera = _parts(name)
        return Capture(
            name=name.rsplit("/", 1)[0],
            fps=FPS,
            skeleton=SMPL22 if joints3d.shape[1] == 22 else SMPL24,
            root_joints=HIPS,
            joints3d=joints3d,
            valid=valid,
            views=(f"cam_{camera:02d}",),
            size=np.array([image_size(capture, camera)]),
            K4=np.array([[K[0, 0], K[1, 1], K[0, 2], K[1, 2]]]),
            T_w2c=T_w2c[None],
            distortion=None,
            ground=self._floor(capture),
            observed=(0,),
        )

    def _floor(self, capture: str) -> GroundPlane:
        """The floor of a capture, fitted to the feet of one clip of each of its sequences."""
        if capture not in self._floors:
            clips = {name.rsplit("/", 1)[0]: name for name in self.names if _parts(name)[0] == capture}
            self._floors[capture] = feet_ground(capture, np.concatenate([self._joints_of(n) for n in clips.values()]))
        return self._floors[capture]

    def _joints_of(self, name: str) -> Floats:
        """Joints (F, J, 3) of the frames of a clip, meters."""
        label = self._labels[name]
        given: Mapping[str, Any] = label["gt_smplx_params"]
        wanted = WIDTHS | {n: w for n, w in HAND_WIDTHS.items() if n in given}
        if missing := [n for n in WIDTHS if n not in given]:
            raise CaptureError(f"{name} has no {', '.join(missing)} among its gt_smplx_params.")
        parameters = {n: np.asarray(given[n], np.float64)[:, :w] for n, w in wanted.items()}
        joints3d = self._bodies(parameters, str(label["gender"]))
        return joints3d[self._frames(name)] if self._dedup else joints3d

    def _frames(self, name: str) -> NDArray[np.int64]:
        """Indices of the frames of a clip whose number differs from that of the previous frame."""
        numbers = [str(n) for n in np.asarray(self._labels[name]["frame_id"]).reshape(-1).tolist()]
        return np.array([i for i, n in enumerate(numbers) if i == 0 or n != numbers[i - 1]], np.int64)


def _parts(name: str) -> tuple[str, int]:
    """Capture and camera number from the name of a clip."""
    match = _NAME.match(name)
    if match is None:
        raise CaptureError(f"{name!r} is not the name of a clip; expected test/<CAPTURE>_<SUBJECT>_<action>/cam_<cc>.")
    return match["capture"], int(match["camera"])


def _key(name: str, cameras: Mapping[str, Any]) -> str:
    """Key of the camera; its number may have a leading zero."""
    capture, camera = _parts(name)
    padded = f"{capture}_{camera:02d}"
    return padded if padded in cameras else f"{capture}_{camera}"


def _mapping(path: Path) -> dict[str, Any]:
    content = load_arrays_pickle(path)
    if not isinstance(content, dict) or not content:
        raise CaptureError(f"{path} contains a {type(content).__name__}; expected a non-empty dict.")
    return content
