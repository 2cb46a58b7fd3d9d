"""Calibrated cameras of the target scenes of a model, for training: read from camera and rig files.

A calibration contains no motion, so cameras of a test scene may be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from hmr4d.camera.camera_files import read_camera, read_rig
from hmr4d.geometry.rigs import Rig

CAMERA_FILE, RIG_FILE = "camera.yaml", "rig.yaml"


def site_cameras(files: Sequence[str | Path]) -> Rig:
    """One rig of all cameras of camera files, each in its own world: for `rig_samplers.CameraPool`.

    Raises:
        FileNotFoundError, ValueError: a file is missing or wrong, or none is given.
    """
    if not files:
        raise ValueError("No camera files were given. Pass at least one; docs/calibrate.md explains the format.")
    rigs = [read_camera(file).rig.to(torch.float32) for file in files]
    return Rig(*(torch.cat([getattr(rig, name) for rig in rigs]) for name in ("size", "K4", "T_w2c")))


def site_rigs(folders: Sequence[str | Path]) -> list[Rig]:
    """The rig of each folder, its `camera.yaml` and the views of its `rig.yaml`: for `lifting_rigs.CapturedRigs`.

    Raises:
        FileNotFoundError, ValueError: a file is missing or wrong.
    """
    rigs = [read_rig(Path(f) / RIG_FILE, read_camera(Path(f) / CAMERA_FILE)) for f in folders]
    return [rig.to(torch.float32) for rig in rigs]
