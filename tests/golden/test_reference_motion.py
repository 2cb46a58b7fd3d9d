"""Reference motions against golden vectors: rotations, conversion, decoding and what a generator takes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.body.pose import Pose
from hmr4d.geometry import published_rotations as published
from hmr4d.motion.motion import Motion
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.condition import published_resampling, published_smoothing, reference_condition
from hmr4d.reference_motion.convert import convert, convert_published, published_features
from hmr4d.reference_motion.rest_joints import SMPLX_PELVIS
from hmr4d.reference_motion.video_camera import CAMERA_TO_Y_UP, pinhole, upright_camera
from hmr4d.representation.rep276 import SLICES, Rep276Statistics, decode, rest_joints
from hmr4d.utils import lazy_roma as roma
from tests.golden.vectors import assert_close, golden_file, golden_root

ROTATIONS, CONVERSION = 2e-6, 1e-5  # absolute tolerances; the README of the vectors asks for them
DRIFT = 1e-4  # of the root rotation that the published chain sums up from matrices that are not quite orthonormal
HALF_TURN = 3.13  # radians; beyond it the sign of an axis is arbitrary, and matrices are compared
MODES = {
    "direct": {},
    "velocity": {"from_velocities": True},
    "equal": {"extra_frame": True},
    "velocity_equal": {"from_velocities": True, "extra_frame": True},
}


@lru_cache
def vectors(name: str) -> dict[str, Tensor]:
    with np.load(golden_file(f"reference_motion/{name}"), allow_pickle=False) as data:
        return {key: torch.from_numpy(data[key]) for key in data.files if data[key].dtype.kind in "fiub"}


def names(pattern: str) -> list[str]:
    root = golden_root()
    found = [] if root is None else sorted(path.name for path in (root / "reference_motion").glob(pattern))
    return found or [pattern.replace("*", "")]


def assert_axis_angles(what: str, got: Tensor, expected: Tensor, atol: float = ROTATIONS) -> None:
    """Vectors where the angle is clear of half a turn, matrices everywhere."""
    clear = expected.norm(dim=-1) < HALF_TURN
    assert_close(what, got[clear], expected[clear], atol)
    assert_close(f"{what}, matrices", roma.rotvec_to_rotmat(got), roma.rotvec_to_rotmat(expected), 2 * atol)


def test_rotations_are_turned_into_each_other_as_published() -> None:
    v = vectors("rotations.npz")
    matrices = v["axis_angle_to_mat3x3"]
    assert_close("axis angle to matrix", published.axis_angle_to_matrix(v["axis_angle"]), matrices, ROTATIONS)
    assert_close(
        "axis angle to 6D",
        published.matrix_to_rot6d_block(published.axis_angle_to_matrix(v["axis_angle"])),
        v["axis_angle_to_rot6d"],
        ROTATIONS,
    )
    assert_close("matrix to 6D", published.matrix_to_rot6d_block(matrices), v["mat3x3_to_rot6d"], ROTATIONS)
    assert_close(
        "axis angle to quaternion",
        published.axis_angle_to_quat_wxyz(v["axis_angle"]),
        v["axis_angle_to_quaternion"],
        ROTATIONS,
    )
    assert_axis_angles("matrix to axis angle", published.matrix_to_axis_angle(matrices), v["mat3x3_to_axis_angle"])
    assert_axis_angles(
        "quaternion to axis angle", published.quat_wxyz_to_axis_angle(v["quaternion"]), v["quaternion_to_axis_angle"]
    )
    decoded = published.rot6d_block_to_matrix(v["rot6d"])
    assert_close("6D to matrix", decoded, v["rot6d_to_mat3x3"], ROTATIONS)
    assert_axis_angles("6D to axis angle", published.matrix_to_axis_angle(decoded), v["rot6d_to_axis_angle"])
    exact = published.rot6d_block_to_matrix(v["rot6d_exact"])
    assert_axis_angles("exact 6D to axis angle", published.matrix_to_axis_angle(exact), v["rot6d_exact_to_axis_angle"])


@pytest.mark.parametrize("name", names("convert_*.npz"))
@pytest.mark.parametrize("floor", ["lowest", "none"])
def test_conversion_of_a_clip_in_the_frame_of_its_camera(name: str, floor: str) -> None:
    v = vectors(name)
    clip = clip_of(v)
    reference = convert(clip, fps=None, floor=floor)
    suffix = "" if floor == "lowest" else "_nofloor"
    for block, columns in SLICES.items():
        expected = v[f"out_motion{suffix}"][:, columns]
        atol = DRIFT if block == "root_rotation" else CONVERSION
        assert_close(f"{name} {block}", reference.features[:, columns], expected, atol)
    assert reference.extrinsic is not None
    assert_close(f"{name} camera", reference.extrinsic, v[f"out_extrinsic{suffix}"], CONVERSION)
    assert_close(
        f"{name} intrinsics",
        torch.eye(3) if reference.intrinsic is None else reference.intrinsic,
        v["out_intrinsic"],
        CONVERSION,
    )
    features, rows = published_features(
        v["in_global_orient"], v["in_body_pose"], v["in_transl"], v["rest_joints"], floor=floor
    )
    assert_close(f"{name} published features", features, v[f"out_motion{suffix}"], CONVERSION)
    if floor == "lowest":
        published_clip = convert_published(clip)
        assert_close(f"{name} published clip", published_clip.features, v["out_motion"], CONVERSION)
    assert_close(f"{name} published camera", rows, v[f"out_extrinsic{suffix}"], CONVERSION)


def clip_of(v: dict[str, Tensor]) -> ReferenceClip:
    """The clip of parameters in the frame of a camera, with y up."""
    axis_angle = torch.cat([v["in_global_orient"], v["in_body_pose"]], -1).unflatten(-1, (-1, 3)).double()
    rotations, flip = roma.rotvec_to_rotmat(axis_angle), torch.tensor(CAMERA_TO_Y_UP).double()
    rotations[:, 0] = flip @ rotations[:, 0]
    rest = v["rest_joints"].double()
    pose = Pose("smplx", rotations, (v["in_transl"].double() + rest[0]) @ flip - rest[0], rest)
    K = None
    if "in_focal_length" in v:
        K = pinhole(*(float(v[f"in_{key}"].flatten()[0]) for key in ("focal_length", "width", "height")))
    return ReferenceClip(Motion(pose.joints().float(), 16, pose=pose), upright_camera(len(rotations), K))


@pytest.mark.parametrize("name", names("convert_*.npz"))
def test_rest_joints_are_found_in_the_features(name: str) -> None:
    v = vectors(name)
    found = rest_joints(v["out_motion"], v["rest_joints"][0])
    assert_close(f"{name} rest joints", found, v["rest_joints"], 2 * CONVERSION)


def test_the_pelvis_at_rest_is_the_published_one() -> None:
    expected = vectors("normalisation_stats.npz")["root_offset"][0]
    assert_close("pelvis at rest", torch.tensor(SMPLX_PELVIS), expected, ROTATIONS)


@pytest.mark.parametrize("name", names("inverse_*.npz"))
@pytest.mark.parametrize("mode", MODES)
def test_features_are_decoded_in_every_mode(name: str, mode: str) -> None:
    v = vectors(name)
    body = decode(v["motion"], **MODES[mode])
    expected = torch.cat([v[f"{mode}_global_orient"][:, None], v[f"{mode}_body_pose"].unflatten(-1, (-1, 3))], 1)
    got = published.matrix_to_axis_angle(body.rotations)
    assert_axis_angles(f"{name} {mode} rotations", got, expected, CONVERSION)
    assert_close(f"{name} {mode} translation", body.translation, v[f"{mode}_transl"], CONVERSION)
    assert_close(f"{name} {mode} joints", body.joints3d, v[f"{mode}_joints"], CONVERSION)


def test_the_input_of_a_generator() -> None:
    v, numbers = vectors("reference_input.npz"), vectors("normalisation_stats.npz")
    statistics = Rep276Statistics("published", numbers["mean"].numpy(), numbers["std"].numpy())
    given = reference_condition(published_resampling(v["motion"]), statistics)
    assert_close("resampled, normalised", given.features, v["resampled_normalised"], CONVERSION)
    assert_close("condition", given.condition, v["ref_motion"], CONVERSION)
    none = reference_condition(None, statistics)
    assert_close("no reference", none.features[0], v["noref_first_row"], CONVERSION)
    assert [given.attend_to_text, none.attend_to_text] == v["attend_to_text"].tolist()
    assert [len(given.features), len(none.features)] == v["length"].tolist()
    assert_close("smoothed", published_smoothing(v["motion"]), v["smoothed"], CONVERSION)
