"""The 263 features, their inverses and statistics against golden vectors and the published sample clip."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.geometry.rotations import (
    conjugate_quat_wxyz,
    multiply_quat_wxyz,
    quat_wxyz_between,
    quat_wxyz_to_matrix,
    quat_wxyz_to_rot6d_cols,
    rot6d_cols_to_matrix,
    rotate_by_quat_wxyz,
)
from hmr4d.motion.canonical import face_first_frame, facing_transform, mirror
from hmr4d.representation.hml263 import (
    CONTACT_SQUARED,
    FEET,
    SLICES,
    Hml263Codec,
    fit_statistics,
    load_statistics,
    local_positions,
    root_path,
    with_evaluator_bias,
)
from hmr4d.representation.hml263_kinematics import (
    body_heading,
    bone_rotations,
    joint_rotations,
    place,
    published_target_offsets,
    retarget,
    skeleton_offsets,
    smooth_over_time,
)
from tests.golden.vectors import assert_close, golden_file, golden_root

TOLERANCE = 5e-5  # absolute; the README of the vectors asks for it
PUBLISHED_TOLERANCE = 1e-6  # metres, a few units in the last place
BAD_FRAMES = 3  # where the reference crosses along the frames; the README says to leave such calls out
ROUNDING = 2e-7  # square metres; how near to the threshold a contact may go either way
Arrays = dict[str, np.ndarray]


@lru_cache
def arrays(name: str) -> Arrays:
    with np.load(golden_file(f"humanml3d/{name}"), allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def tensors(name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in arrays(name).items()}


def traced_clips() -> list[str]:
    """`<file>` or `<file>:<clip>` of every traced clip there is."""
    root = golden_root()
    names: list[str] = []
    for path in sorted((root / "humanml3d").glob("rep_*.npz")) if root else []:
        keys = arrays(path.name)
        clips = dict.fromkeys(key.split("__")[0] for key in keys if "__" in key)
        names += [f"{path.name}:{clip}" for clip in clips] or [path.name]
    return names


@pytest.fixture(params=traced_clips() or ["rep_012314.npz"])
def clip(request: pytest.FixtureRequest) -> Arrays:
    file, _, name = request.param.partition(":")
    values = arrays(file)
    return {key.removeprefix(f"{name}__"): value for key, value in values.items() if not name or f"{name}__" in key}


def joints_first(joints3d: np.ndarray) -> Tensor:
    return torch.from_numpy(joints3d)[None].permute(2, 0, 1, 3)


def frames_first(x: Tensor) -> Tensor:
    return x.permute(1, 2, 0, 3)[0]


def assert_features(what: str, got: Tensor, expected: np.ndarray, placed: Tensor) -> None:
    """All but the contacts close; contacts equal, save where a displacement is within rounding of the threshold."""
    is_contact = np.zeros(263, dtype=bool)
    is_contact[SLICES["contacts"]] = True
    assert_close(what, got[:, ~is_contact], expected[:, ~is_contact], atol=TOLERANCE)
    feet = placed[:, list(FEET)].double().diff(dim=0).square().sum(-1)
    clear = ((feet - CONTACT_SQUARED).abs() > ROUNDING).numpy()
    assert (got.numpy()[:, is_contact] == expected[:, is_contact])[clear].all(), f"{what}: contacts"


def test_steps_of_the_encoder(clip: Arrays) -> None:
    if len(clip["joints_in"]) == BAD_FRAMES:
        pytest.skip("a clip of 3 frames, which the reference gets wrong")
    offsets = torch.from_numpy(clip["tgt_offsets"]) if "tgt_offsets" in clip else published_target_offsets()
    uniform = retarget(joints_first(clip["joints_in"]), offsets, "humanml3d")
    assert_close("hml263 retargeted joints", frames_first(uniform), clip["uniform_joints"], atol=TOLERANCE)
    placed = frames_first(place(uniform, "humanml3d"))
    assert_close("hml263 global positions", placed, clip["global_positions"], atol=TOLERANCE)
    reference = joints_first(clip["global_positions"])
    bones = bone_rotations(reference, "humanml3d")
    for smooth, key in ((True, "ik_quat_smooth"), (False, "ik_quat_nosmooth")):
        heading = body_heading(reference, "humanml3d", smooth=smooth)
        if key in clip:
            quats = torch.cat([heading[None], joint_rotations(heading, bones)])
            assert_close(f"hml263 {key}", frames_first(quats), clip[key], atol=TOLERANCE)
    heading = body_heading(reference, "humanml3d")
    assert_close(
        "hml263 local positions",
        frames_first(local_positions(reference, heading)),
        clip["rifke_positions"],
        atol=TOLERANCE,
    )


def test_features(clip: Arrays) -> None:
    if len(clip["joints_in"]) == BAD_FRAMES:
        pytest.skip("a clip of 3 frames, which the reference gets wrong")
    got = Hml263Codec().encode(torch.from_numpy(clip["joints_in"]))
    assert_features("hml263 features", got, clip["feat"], torch.from_numpy(clip["global_positions"]))


def test_features_with_corrected_hips(clip: Arrays) -> None:
    codec = Hml263Codec("corrected_hips")
    joints3d = torch.from_numpy(clip["joints_in"])
    inputs = {"m2t3_feat": joints3d, "m2t3_feat_dup": torch.cat([joints3d, joints3d[-1:]])}
    for key, joints in inputs.items():
        if key in clip and len(joints) != BAD_FRAMES:
            placed = place(retarget(joints_first(joints.numpy()), codec.target_offsets, codec.variant), codec.variant)
            assert_features(f"hml263 {key}", codec.encode(joints), clip[key], frames_first(placed))


def test_inverses(clip: Arrays) -> None:
    features = torch.from_numpy(clip["feat"])
    heading, root = root_path(features)
    assert_close("hml263 recovered heading", heading, clip["rec_root_quat"], atol=TOLERANCE)
    assert_close("hml263 recovered root", root, clip["rec_root_pos"], atol=TOLERANCE)
    assert_close("hml263 joints by positions", Hml263Codec().decode(features), clip["rec_ric"], atol=TOLERANCE)
    assert_close(
        "hml263 joints by rotations", Hml263Codec().decode_rotations(features), clip["rec_rot"], atol=TOLERANCE
    )


def test_skeletons_placement_and_mirror(clip: Arrays) -> None:
    joints3d = torch.from_numpy(clip["joints_in"])
    assert_close("hml263 source skeleton", skeleton_offsets(joints3d[0]), clip["src_offsets"], atol=1e-6)
    if "tgt_offsets" in clip:
        assert_close("hml263 target skeleton", published_target_offsets(), clip["tgt_offsets"], atol=1e-7)
    assert_close("start facing transform", facing_transform(joints3d[0]), clip["m2t3_T_ay2ayfz"], atol=TOLERANCE)
    assert_close("start facing joints", face_first_frame(joints3d), clip["m2t3_ayfz"], atol=TOLERANCE)
    if "mirror22" in clip:
        assert_close("mirrored joints", mirror(joints3d), clip["mirror22"], atol=1e-6)


def test_inverse_of_any_features_in_any_batch() -> None:
    data = tensors("recover_random.npz")
    heading, root = root_path(data["data"])
    assert_close("hml263 random heading", heading, data["root_quat"], atol=TOLERANCE)
    assert_close("hml263 random root", root, data["root_pos"], atol=TOLERANCE)
    assert_close("hml263 random joints", Hml263Codec().decode(data["data"]), data["ric"], atol=TOLERANCE)


def test_published_clips_decode_to_their_published_joints() -> None:
    first = golden_file("humanml3d")
    vectors = sorted(Path(first).glob("*_new_joint_vecs.npy"))
    if not vectors:
        pytest.skip(f"no published clips in {first}")
    for path in vectors:
        joints3d = np.load(path.with_name(path.name.replace("_joint_vecs", "_joints")))
        got = Hml263Codec().decode(torch.from_numpy(np.load(path)).float())
        assert_close("published clip", got, joints3d, atol=PUBLISHED_TOLERANCE)


def test_quaternions() -> None:
    data = tensors("quat_ops.npz")
    q, r, v, w = (data[key] for key in "qrvw")
    cases = {
        "qmul": multiply_quat_wxyz(q, r),
        "qrot": rotate_by_quat_wxyz(q, v),
        "qinv": conjugate_quat_wxyz(q),
        "qbetween": quat_wxyz_between(v, w),
        "mat": quat_wxyz_to_matrix(q),
        "cont6d": quat_wxyz_to_rot6d_cols(q),
        "cont6d_noisy_mat": rot6d_cols_to_matrix(data["cont6d_noisy"]),
    }
    for key, got in cases.items():
        assert_close(f"quaternions {key}", got, data[key], atol=TOLERANCE)
    three = quat_wxyz_between(data["cross_bug_v"], data["cross_bug_w"])
    assert_close("quaternions of three rows", three, data["qbetween_first3_of_40"], atol=TOLERANCE)
    assert_close("smoothing over time", smooth_over_time(data["gauss_in"]), data["gauss_out"], atol=1e-9)


def test_opposite_directions() -> None:
    data = tensors("quat_ops.npz")
    opposite = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    shape = data["qbetween_antiparallel"].shape
    assert data["qbetween_antiparallel"].isnan().all() and quat_wxyz_between(opposite, -opposite).isnan().all()
    guarded = quat_wxyz_between(opposite, -opposite, (0.0, 1.0, 0.0))
    assert_close("opposite directions", guarded, data["m2t3_qbetween_antiparallel"][: shape[0]], atol=TOLERANCE)


def test_packaged_statistics() -> None:
    data = arrays("meta_stats.npz")
    for name, key in (("hml263_evaluator", "evaluator_{}"), ("hml263_dataset", "dataset_{}")):
        statistics = load_statistics(name)
        for part, own in (("mean", statistics.mean), ("std", statistics.std)):
            expected = data[key.format(part if name == "hml263_evaluator" else part.capitalize())]
            assert_close(f"{name} {part}", own, expected, atol=0, rtol=1e-6)


def test_fitted_statistics() -> None:
    data = arrays("mean_std_small.npz")
    synthetic = arrays("rep_synth.npz")
    clips = [arrays("rep_012314.npz")["feat"], synthetic["walkturn__feat"], synthetic["f32__feat"]]
    broken = np.full_like(clips[0], np.nan)
    statistics = fit_statistics([*clips, broken])
    assert statistics.num_skipped == 1 and statistics.num_rows == sum(map(len, clips))
    assert_close("fitted mean", statistics.mean, data["Mean"], atol=1e-5)
    assert_close("fitted std", statistics.std, data["Std"], atol=1e-5)
    biased = with_evaluator_bias(statistics.std)
    assert_close("std of evaluators", biased, data["evaluator_style_Std"], atol=1e-5)
