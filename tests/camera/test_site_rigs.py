"""Cameras of a place, read from files and drawn from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hmr4d.camera.camera_files import CameraFile, write_camera
from hmr4d.camera.rig_samplers import CameraPool, CapturedRigs, SurroundingRigs
from hmr4d.camera.site_rigs import site_cameras, site_rigs
from hmr4d.geometry.rigs import camera_angles, camera_pose
from hmr4d.utils.randomness import ItemRandom

VIEWS = """views:
  - pose: {pitch_deg: 20, roll_deg: 1, yaw_deg: 90, height_m: 2.5, position_m: [4, -4]}
  - K: {fx: 700, fy: 700, cx: 320, cy: 240}
    size: [640, 480]
    pose: {pitch_deg: 5, roll_deg: 0, yaw_deg: 180, height_m: 1.2, position_m: [0, -8]}
  - pose: {pitch_deg: 15, roll_deg: -1, yaw_deg: -90, height_m: 2.0, position_m: [-4, -4]}
"""


def write_site(folder: Path, *, pitch: float = 0.2, height: float = 1.7, focal: float = 900.0) -> Path:
    folder.mkdir(exist_ok=True)
    angles = (torch.tensor(a, dtype=torch.float64) for a in (pitch, 0.02, 0.0))
    T = camera_pose(*angles, torch.tensor([0.0, height, 0.0], dtype=torch.float64))
    camera = CameraFile((1280, 720), torch.tensor([focal, focal, 640.0, 360.0]).double(), torch.zeros(0), T)
    write_camera(folder / "camera.yaml", camera)
    (folder / "rig.yaml").write_text(VIEWS)
    return folder


def test_cameras_of_a_place_are_placed_anew(tmp_path: Path) -> None:
    sites = [write_site(tmp_path / "a"), write_site(tmp_path / "b", pitch=0.4, height=3.0, focal=1200.0)]
    pool = CameraPool(site_cameras([site / "camera.yaml" for site in sites]))
    seen = set()
    for seed in range(20):
        rig = SurroundingRigs(cameras=pool, virtual_share=0.0).draw(ItemRandom.from_seed(seed))
        pitch, roll, _ = camera_angles(rig.T_w2c[:, :3, :3])
        assert torch.allclose(roll, torch.full((4,), 0.02), atol=1e-4)
        seen |= {
            (round(float(f)), round(float(p), 2), round(float(h), 2))
            for f, p, h in zip(rig.K4[:, 0], pitch, rig.centers[:, 1], strict=True)
        }
    assert seen == {(900, 0.2, 1.7), (1200, 0.4, 3.0)}


def test_rigs_of_a_place_are_unchanged(tmp_path: Path) -> None:
    (rig,) = site_rigs([write_site(tmp_path / "a")])
    assert rig.num_views == 4
    assert rig.K4.dtype == torch.float32
    first = set()
    for seed in range(20):
        drawn = CapturedRigs([rig]).draw(ItemRandom.from_seed(seed))
        first.add(round(float(drawn.centers[0, 1]), 2))
        apart = torch.cdist(drawn.centers, drawn.centers)
        assert torch.allclose(
            apart.flatten().sort().values, torch.cdist(rig.centers, rig.centers).flatten().sort().values, atol=1e-3
        )
    assert first == {1.7, 2.5, 1.2, 2.0}


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No camera files were given"):
        site_cameras([])
    with pytest.raises(FileNotFoundError, match=r"camera\.yaml"):
        site_rigs([tmp_path])
