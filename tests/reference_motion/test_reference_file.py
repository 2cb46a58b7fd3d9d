"""Files of reference motions: what is written is read, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.geometry.published_rotations import axis_angle_to_matrix
from hmr4d.motion.motion import Provenance
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.reference_file import ReferenceMotion, load_reference, reference_of, save_reference
from hmr4d.reference_motion.rest_joints import derived_rest_joints
from hmr4d.representation.rep276 import decode, encode
from hmr4d.utils import lazy_roma as roma
from tests.reference_clips import posed_clip

TURNS = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(46)  # a row of features that are all rotations


def test_the_root_of_the_published_chain_drifts_with_its_matrices_and_ours_does_not() -> None:
    """Both in double precision: it is the rotations that are inexact, not their sum."""
    turn = torch.linspace(2.9, 3.1, 90)[:, None].double() * torch.tensor([1.0, 0.1, 0.0])
    vectors = torch.cat([turn[:, None], torch.zeros(90, 21, 3).double()], 1)
    exact, places = roma.rotvec_to_rotmat(vectors), torch.zeros(90, 22, 3).double()
    drifts = []
    for rotations in (axis_angle_to_matrix(vectors), exact):
        summed = decode(encode(rotations, places[:, 0], places), extra_frame=True)
        drifts.append(float((summed.rotations[:, 0] - exact[:, 0]).abs().max()))
    assert drifts[0] > 1e-5 and drifts[1] < 1e-12


def test_a_written_file_is_read_back(tmp_path: Path) -> None:
    made = convert(posed_clip())
    save_reference(tmp_path / "a.pt", made)
    read = load_reference(tmp_path / "a.pt")
    for name in ("features", "extrinsic", "intrinsic", "rest"):
        assert torch.equal(getattr(read, name), getattr(made, name)), name
    assert (read.fps, read.text, read.provenance) == (20.0, "a person sways", Provenance(model="x"))


def test_the_published_forms_are_read(tmp_path: Path) -> None:
    features = convert(posed_clip()).features
    torch.save(features, tmp_path / "bare.pt")
    wide = {"motion": torch.cat([features, torch.zeros(len(features), 150)], -1), "intrinsic": torch.eye(3)}
    torch.save(wide, tmp_path / "wide.pt")
    np.save(tmp_path / "array.npy", features.numpy())
    for name in ("bare.pt", "wide.pt", "array.npy"):
        read = load_reference(tmp_path / name, fps=16)
        assert torch.equal(read.features, features), name
        assert read.fps == 16 and read.camera is None and read.intrinsic is None


def test_the_motion_of_the_features_equals_the_placed_and_rotated_motion() -> None:
    clip = posed_clip()
    reference = convert(clip)
    motion = reference.motion(extra_frame=True)
    distances = (motion.joints3d[:-1, :, None] - motion.joints3d[:-1, None]).norm(dim=-1)
    given = clip.motion.joints3d[:-1]
    torch.testing.assert_close(distances, (given[:, :, None] - given[:, None]).norm(dim=-1), atol=1e-4, rtol=0)
    assert motion.num_frames == clip.motion.num_frames
    assert float(motion.joints3d[..., 1].min()) == pytest.approx(0, abs=1e-4)
    left, right = motion.joints3d[0, 1], motion.joints3d[0, 2]
    assert float(left[0] - right[0]) > 0.1 and abs(float(left[2] - right[2])) < 1e-4  # left at +x: faces +z


def test_the_camera_sees_the_motion_where_the_source_saw_it() -> None:
    clip = posed_clip()
    reference = convert(clip)
    assert clip.camera is not None and reference.camera is not None
    seen = []
    for motion, camera in ((clip.motion, clip.camera), (reference.motion(), reference.camera)):
        joints = motion.joints3d[:11] @ camera.T_w2c[:11, :3, :3].mT + camera.T_w2c[:11, None, :3, 3]
        seen.append(joints)
    torch.testing.assert_close(seen[0], seen[1], atol=1e-4, rtol=0)
    assert reference.camera.size == (640, 480) and reference.camera.is_static


def test_rest_joints_are_measured_where_a_file_has_none() -> None:
    made = convert(posed_clip())
    measured = ReferenceMotion(made.features).rest_joints
    torch.testing.assert_close(measured, derived_rest_joints(), atol=1e-4, rtol=0)


def test_parameters_are_resampled_and_not_rows() -> None:
    slow, fast = convert(posed_clip(46, 30.0)), convert(posed_clip(31, 20.0))
    assert slow.features.shape == fast.features.shape
    torch.testing.assert_close(slow.features[:-1], fast.features[:-1], atol=0.02, rtol=0)
    assert slow.fps == 20.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"pose": torch.zeros(3)}, "the file contains pose"),
        (torch.zeros(5, 263), "expected 'motion'"),
        ({"motion": torch.zeros(0, 276)}, "at least one row"),
        ({"motion": torch.full((4, 276), float("nan"))}, "not finite in row 0"),
        ({"motion": TURNS.expand(4, 276), "extrinsic": torch.zeros(4, 4)}, r"expected \(4, 9\)"),
        ({"motion": TURNS.expand(4, 276), "fps": -1.0}, "fps"),
    ],
)
def test_files_that_are_no_reference_motion_are_refused(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=words):
        load_reference(tmp_path / "x.pt")


def test_one_frame_and_hips_above_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two frames"):
        convert(posed_clip(1))
    clip = posed_clip()
    assert clip.motion.pose is not None
    on_side = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, torch.pi / 2]))
    clip.motion.pose.rotations[0, 0] = on_side
    with pytest.raises(ValueError, match="heading is undefined"):
        convert(clip)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"fps": "fast"}, "could not convert"),
        ({"fps": [20]}, "'fps' is list"),
        ({"intrinsic": torch.zeros(3, 3)}, "expected focal lengths"),
        ({"intrinsic": torch.full((3, 3), float("nan"))}, "expected focal lengths"),
        ({"extrinsic": torch.full((11, 9), float("nan"))}, "'extrinsic' is not finite"),
    ],
)
def test_invalid_parts_are_named(part: dict[str, Any], said: str) -> None:
    features = convert(posed_clip(), fps=None).features
    with pytest.raises(ValueError, match=said):
        reference_of({"motion": features, **part})
    with pytest.raises(ValueError, match="no rotation in row 3"):
        reference_of(torch.where(torch.arange(len(features))[:, None] == 3, 0.0, features))
    assert reference_of({"motion": features, "fps": None}).fps == 20
