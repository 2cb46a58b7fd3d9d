"""Saved motions of every kind become the same thing to draw."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.evaluation.generations import GenerationFolder
from hmr4d.evaluation.text_to_motion_data import Job
from hmr4d.export.bvh import write_bvh
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.visualization.shown_motions import ShownMotion, find_motions, read_motion, side_of
from tests.motions import as_motion
from tests.visualization.conftest import walking_joints

BVH = """HIERARCHY
ROOT Root
{{
  OFFSET 0 0 0
  CHANNELS 3 Xposition Yposition Zposition
  JOINT Hips
  {{
    OFFSET 0 {0} 0
    JOINT LeftLeg
    {{
      OFFSET {1} 0 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {{
        OFFSET 0 0 0
      }}
    }}
    JOINT RightLeg
    {{
      OFFSET -{1} 0 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {{
        OFFSET 0 0 0
      }}
    }}
  }}
}}
MOTION
Frames: 2
Frame Time: 0.0333333
0 0 0 0 0 0 0 0 0
0 0 {2} 0 0 0 0 0 0
"""


def save(path: Path, fps: float = 20.0, text: str = "walks") -> np.ndarray:
    joints3d = walking_joints(6)
    save_motion_npz(path, as_motion(joints3d, fps=fps, text=text))
    return joints3d


def test_frames_follow_the_rate() -> None:
    motion = ShownMotion("a", as_motion(walking_joints(11)), SMPL22.bones, ("left",) * 21)
    assert motion.seconds == pytest.approx(0.5)
    assert [motion.frame_at(s) for s in (-1, 0, 0.049, 0.05, 0.15, 0.499, 0.5, 9)] == [0, 0, 0, 1, 3, 9, 10, 10]


def test_motion_file(tmp_path: Path) -> None:
    joints3d = save(tmp_path / "a.npz")
    motion = read_motion(tmp_path / "a.npz")
    assert (motion.name, motion.text, motion.fps, motion.is_smpl22) == ("a", "walks", 20.0, True)
    np.testing.assert_array_equal(motion.joints3d, joints3d)
    assert motion.sides[motion.bones.index((1, 4))] == "left"


@pytest.mark.parametrize("units", ["m", "cm"])
def test_bvh_of_this_package_has_units_and_smpl_joints(units: str, tmp_path: Path) -> None:
    write_bvh(tmp_path / "a.bvh", as_motion(walking_joints(6), fps=20.0, text="walks"), units=units)
    motion = read_motion(tmp_path / "a.bvh")
    assert (motion.text, motion.fps, motion.is_smpl22) == ("walks", 20.0, True)
    assert np.abs(motion.joints3d - walking_joints(6)).mean() < 0.02  # bones of one length
    (tmp_path / "a.bvh.json").unlink()
    np.testing.assert_allclose(read_motion(tmp_path / "a.bvh").joints3d, motion.joints3d, atol=1e-5)  # by its size


@pytest.mark.parametrize(("unit", "per_meter"), [("m", 1.0), ("cm", 100.0), ("inch", 1 / 0.0254), ("cmu", 17.7)])
def test_units_of_other_bvh_files_come_from_the_body_size(
    unit: str, per_meter: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.bvh"
    path.write_text(BVH.format(0.9 * per_meter, 1.3 * per_meter, 0.5 * per_meter), encoding="utf-8")
    with caplog.at_level(logging.INFO):
        motion = read_motion(path)
    assert f"assumed to be in {unit}" in caplog.text and not motion.is_smpl22
    assert motion.fps == pytest.approx(30.0) and motion.bones == ((0, 1), (1, 2), (1, 3))
    assert motion.sides == ("center", "left", "right")
    np.testing.assert_allclose(motion.joints3d[1, 2], (1.3, 0.9, 0.5), atol=0.01)
    turned = read_motion(path, unit=unit, up="z")
    np.testing.assert_allclose(turned.joints3d[1, 2], (1.3, 0.5, -0.9), atol=0.01)


def test_published_files(tmp_path: Path) -> None:
    joints3d = torch.from_numpy(walking_joints(6))
    torch.save({"pred": joints3d, "text": "bows", "length": torch.tensor(4)}, tmp_path / "0_00000.pth")
    (path,) = find_motions([tmp_path])
    motion = read_motion(path, fps=25.0)
    assert (motion.text, motion.fps, motion.num_frames) == ("bows", 25.0, 4)


def test_folders_of_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "new" / "000_a.npz")
    write_bvh(tmp_path / "new" / "000_a.bvh", as_motion(walking_joints(3), fps=20.0))
    write_bvh(tmp_path / "new" / "b.bvh", as_motion(walking_joints(3), fps=20.0))
    np.savez(tmp_path / "new" / "embeddings.npz", generated=np.zeros(3))
    with caplog.at_level(logging.INFO):
        found = find_motions([tmp_path / "new", tmp_path / "new" / "b.bvh"])
    assert [p.name for p in found] == ["000_a.npz", "b.bvh"]
    assert "no motions: embeddings.npz" in caplog.text
    folder = GenerationFolder(tmp_path / "test" / "generations")
    for job in (Job(0, 3), Job(1, 3)):
        folder.save(job, as_motion(walking_joints(3), text="a"))
    for place in ("test", "test/generations"):
        found = find_motions([tmp_path / place])
        assert [read_motion(p).name for p in found] == ["repeat_00/00003_s000", "repeat_01/00003_s000"]
    assert len(find_motions([tmp_path / "test/generations/repeat_01"])) == 1


def test_invalid_paths_and_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for places, error, message in (
        (["gone", "lost"], FileNotFoundError, "gone, .*lost"),
        (["empty"], FileNotFoundError, "No motion in"),
        (["a.txt"], ValueError, "expected .npz, .bvh, .pth"),
    ):
        with pytest.raises(error, match=message):
            find_motions([tmp_path / place for place in places])
    assert find_motions([tmp_path])  # damaged motions are not passed over in silence
    with pytest.raises(ValueError, match="not an .npz file"):
        read_motion(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("LeftArm", "left"),
        ("arm_L", "left"),
        ("lShin", "left"),
        ("mixamorig:RightFoot", "right"),
        ("clavicle_r", "right"),
        ("thigh.R", "right"),
        ("R_Hip", "right"),
        ("Spine", "center"),
        ("Root", "center"),
        ("lowerback", "center"),
        ("Head", "center"),
    ],
)
def test_sides_of_joint_names(name: str, side: str) -> None:
    assert side_of(name) == side
