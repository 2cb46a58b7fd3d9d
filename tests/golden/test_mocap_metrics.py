"""Pose errors against golden vectors of an independent computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.geometry.alignment import align_points
from hmr4d.metrics.pose_errors import PoseErrorMetric, joint_errors, pose_errors, root_path
from tests.golden.vectors import assert_close, golden_file, golden_root

FOLDER = "mocap_metrics"
# Tolerances of the vectors' README. `out_*` were computed in float32: the places of a similarity carry its rounding.
MM, ACCEL, RTE, JITTER, FIT = 1e-3, 2e-3, 1e-4, 1e-3, 2e-5
METRICS = {
    "pa_mpjpe": MM,
    "mpjpe": MM,
    "pve": MM,
    "accel_m_s2": ACCEL,
    "w_mpjpe": MM,
    "wa_mpjpe": MM,
    "rte_percent": RTE,
    "jitter_10m_s3": JITTER,
    "foot_sliding": MM,
}
PUBLISHED = {
    "accel_m_s2": "accel",
    "w_mpjpe": "wa2_mpjpe",
    "wa_mpjpe": "waa_mpjpe",
    "rte_percent": "rte",
    "jitter_10m_s3": "jitter",
    "foot_sliding": "fs",
}


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(golden_file(f"{FOLDER}/{name}.npz"), allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def cases(*needed: str) -> list[str]:
    """Files of the folder that hold all these arrays."""
    root = golden_root()
    found = []
    for path in sorted((root / FOLDER).glob("*.npz")) if root is not None and (root / FOLDER).is_dir() else []:
        with np.load(path, allow_pickle=False) as data:
            if set(needed) <= set(data.files):
                found.append(path.stem)
    return found or ["missing"]


def stand_ins(joints3d: np.ndarray, index: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Surface points by the README's recipe."""
    return (joints3d[:, index] + offset).astype(np.float32)


def to_camera(points: np.ndarray, data: dict[str, np.ndarray]) -> Tensor:
    return torch.from_numpy((points @ data["R_w2c"].T + data["t_w2c"]).astype(np.float32))


def errors_of(data: dict[str, np.ndarray], *, in_camera: bool, masked: bool = True) -> dict[str, Tensor]:
    """All metrics of a case, from world joints or from camera joints."""
    motions = {}
    for who in ("pred_world", "target_world"):
        surface = stand_ins(data[who], data["points_joint_idx"], data["points_offset"])
        feet = stand_ins(data[who], data["foot_joint_idx"], data["foot_offset"])
        for name, points in (("joints", data[who]), ("points", surface), ("feet", feet)):
            moved = to_camera(points, data) if in_camera else torch.from_numpy(points)
            motions[name] = (*motions.get(name, ()), moved)
    return pose_errors(
        *motions["joints"],
        fps=float(data["fps"]),
        root_joints=data["pelvis_idxs"].tolist(),
        valid=torch.from_numpy(data["mask"]) if masked else None,
        feet=motions["feet"],
        points=motions["points"],
    )


@pytest.mark.parametrize("in_camera", [False, True], ids=["world", "camera"])
@pytest.mark.parametrize("name", cases("out_wa2_mpjpe", "pred_world"))
def test_metrics_of_a_sequence(name: str, in_camera: bool) -> None:
    data = arrays(name)
    errors = errors_of(data, in_camera=in_camera)
    for metric, tolerance in METRICS.items():
        expected = data[f"out_{PUBLISHED.get(metric, metric)}"]
        if not np.isfinite(expected).all():  # a true path without length
            assert not np.isfinite(errors[metric].numpy()).any()
            continue
        assert_close(f"{metric}", errors[metric], expected, atol=tolerance)


@pytest.mark.parametrize("name", cases("def_abs_mpjpe", "pred_world"))
def test_metrics_by_definition(name: str) -> None:
    data = arrays(name)
    errors = errors_of(data, in_camera=False, masked=False)
    assert_close("abs_mpjpe", errors["abs_mpjpe"], data["def_abs_mpjpe"], atol=MM)
    assert_close("t_root", errors["t_root"], data["def_t_root_firstframe_euclid"], atol=MM)
    assert_close("t_root_abs", errors["t_root_abs"], data["def_t_root_abs_euclid"], atol=MM)
    pred, target = to_camera(data["pred_world"], data), to_camera(data["target_world"], data)
    each = joint_errors(pred.double(), target.double(), data["pelvis_idxs"].tolist())
    assert_close("joint_errors", each, data["out_mpjpe_perjoint"], atol=MM)


@pytest.mark.parametrize("name", cases("out_align_first100_R", "pred_world"))
def test_alignments(name: str) -> None:
    data = arrays(name)
    pred, target = (torch.from_numpy(data[who]).double() for who in ("pred_world", "target_world"))  # before masking
    for what, frames in (("first100", 100), ("2frames", 2)):
        fit = align_points(pred[:frames].flatten(0, 1), target[:frames].flatten(0, 1))
        for part, got in zip(("s", "R", "t"), fit, strict=True):
            expected = data[f"out_align_{what}_{part}"]
            assert_close(f"align_{what}_{part}", got.reshape(expected.shape), expected, atol=FIT)


@pytest.mark.parametrize("name", cases("out_trans_err", "pred_world"))
def test_metrics_of_the_sequence_protocol(name: str) -> None:
    data = arrays(name)
    hips = [8, 11]  # of OpenPose's 18 joints, from the README
    pred, target = (torch.from_numpy(data[who]) for who in ("pred_world", "target_world"))
    errors = pose_errors(pred, target, fps=30, root_joints=hips)
    expected = {
        "mpjpe": "out_mpjpe",
        "pa_seq": "out_pa_mpjpe",
        "t_root_l1": "out_trans_err",
        "mpjpe_t_root": "out_mpjpe_w_trans",
        "t_root": "def_t_root_euclid",
    }
    for metric, key in expected.items():
        assert_close(f"protocol {metric}", errors[metric].mean(), data[key], atol=MM)


@pytest.mark.parametrize("name", cases("pooled_mpjpe", "files"))
def test_both_averages(name: str) -> None:
    data = arrays(name)
    files = [arrays(str(file)) for file in data["files"]]
    metric = PoseErrorMetric(float(files[0]["fps"]), root_joints=files[0]["pelvis_idxs"].tolist())
    for file in files:
        pred, target = (torch.from_numpy(file[who]) for who in ("pred_world", "target_world"))
        metric.update(pred, target, valid=torch.from_numpy(file["mask"]))
    found = metric.compute()
    for name_, tolerance in METRICS.items():
        key = PUBLISHED.get(name_, name_)
        if f"pooled_{key}" in data:
            assert_close(f"pooled {name_}", found[name_], data[f"pooled_{key}"], atol=tolerance)
            assert_close(f"per sequence {name_}", found[f"{name_}_per_sequence"], data[f"perseq_{key}"], atol=tolerance)


def test_root_is_the_mean_of_its_joints() -> None:
    joints3d = torch.arange(18.0).reshape(2, 3, 3)
    assert torch.equal(root_path(joints3d, [0, 2]), joints3d[:, 1])
