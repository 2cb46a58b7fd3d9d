"""Lifting of one track."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from hmr4d.body.skeleton import SMPL22
from hmr4d.camera.camera_files import read_camera
from hmr4d.geometry.rigs import project
from hmr4d.lifting.person import deployment_rig
from hmr4d.methods.lifting_baselines.pipeline import GroundRayPipeline
from hmr4d.motion.procedural import synthetic_joints


@pytest.mark.parametrize(("x", "message"), [(-1.5, r"and 1\.\d m to its left"), (1.5, r"and 1\.\d m to its right")])
def test_the_log_names_the_side_of_the_camera_where_the_feet_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, x: float, message: str
) -> None:
    caplog.set_level("INFO", "hmr4d")
    settings = {"size": [640, 360], "fov_deg": 65, "pose": {"pitch_deg": 10, "roll_deg": 2, "height_m": 1.6}}
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    camera = read_camera(tmp_path / "camera.yaml")
    joints3d = torch.from_numpy(synthetic_joints("walk", 16, np.random.default_rng(0)))
    joints3d = joints3d - joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([x, 0.0, -5.0])
    kp2d = project(camera.rig.to(torch.float32), joints3d)[0][0]
    deployment_rig(camera, kp2d, torch.ones(kp2d.shape[:2]), GroundRayPipeline(SMPL22))
    assert re.search(message, caplog.text)
