"""Pose errors: what each alignment forgives and what it does not, masks, batches, and averages over a set."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import roma
import torch
from torch import Tensor

from hmr4d.metrics.physical import jitter
from hmr4d.metrics.pose_errors import (
    METRICS,
    PoseErrorMetric,
    abs_mpjpe,
    acceleration_error,
    foot_sliding,
    mpjpe,
    pa_mpjpe,
    pose_errors,
    root_trajectory_error,
    w_mpjpe,
    wa_mpjpe,
)

HIPS, FPS = (1, 2), 30.0


def walk(length: int = 130, num_joints: int = 8, seed: int = 0) -> Tensor:
    """(L, J, 3) metres: a body of random joints that sways along a curve."""
    generator = torch.Generator().manual_seed(seed)
    body = torch.randn(num_joints, 3, generator=generator, dtype=torch.float64) * 0.3
    time = torch.arange(length, dtype=torch.float64) / FPS
    path = torch.stack([time, 0 * time + 1, (2 * time).sin()], -1)
    sway = 0.1 * torch.sin(time[:, None, None] + torch.randn(num_joints, 3, generator=generator))
    return path[:, None] + body + sway


def noisy(joints3d: Tensor, size: float = 0.02, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return joints3d + size * torch.randn(joints3d.shape, generator=generator, dtype=joints3d.dtype)


def turned(joints3d: Tensor, scale: float = 1.0) -> Tensor:
    R = roma.rotvec_to_rotmat(torch.tensor([0.3, -1.1, 0.4], dtype=joints3d.dtype))
    return scale * joints3d @ R.mT + torch.tensor([0.5, -2.0, 3.0], dtype=joints3d.dtype)


def errors(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
    return pose_errors(pred, target, fps=FPS, root_joints=HIPS, valid=valid, feet=(pred[:, 3:5], target[:, 3:5]))


def test_the_truth_has_no_error() -> None:
    found = errors(walk(), walk())
    assert set(found) == {*METRICS, "foot_sliding"}
    for name in set(METRICS) - {"jitter_10m_s3"}:
        torch.testing.assert_close(found[name], torch.zeros_like(found[name]), atol=1e-9, rtol=0)


def test_a_static_camera_changes_nothing() -> None:
    pred, target = noisy(walk()), walk()
    seen = errors(turned(pred), turned(target))
    for name, value in errors(pred, target).items():
        if name != "t_root_l1":  # a mean of coordinates is another one on other axes
            torch.testing.assert_close(seen[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_what_each_alignment_forgives() -> None:
    target = walk()
    shifted = errors(target + torch.tensor([3.0, 4.0, 0.0]), target)
    assert torch.allclose(shifted["abs_mpjpe"], torch.tensor(5000.0, dtype=torch.float64))
    assert torch.allclose(shifted["t_root_abs"], torch.tensor(5000.0, dtype=torch.float64))
    for name in ("mpjpe", "pa_mpjpe", "pa_seq", "w_mpjpe", "wa_mpjpe_full", "t_root", "t_root_l1", "rte_percent"):
        assert shifted[name].max() < 1e-6, name
    scaled = errors(turned(target, scale=1.3), target)
    for name in ("pa_mpjpe", "pa_seq", "w_mpjpe", "wa_mpjpe", "w_mpjpe_full", "wa_mpjpe_full"):
        assert scaled[name].max() < 1e-6, name
    for name in ("mpjpe", "t_root", "rte_percent"):
        assert scaled[name].max() > 1, name


def test_drift_shows_where_alignment_ends() -> None:
    target = walk(230)
    drift = target + torch.linspace(0, 1, 230)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    found = errors(drift, target)
    full, chunks = found["w_mpjpe_full"], found["w_mpjpe"]
    assert full[200] > 800 and chunks[100] < 5 and chunks[99] > 400  # it starts anew at frame 100
    assert found["wa_mpjpe"].mean() < found["w_mpjpe"].mean() < full.mean()
    torch.testing.assert_close(
        found["t_root"], 1000 * torch.linspace(0, 1, 230, dtype=torch.float64), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(found["t_root_l1"], found["t_root"] / 3)


def test_a_chunk_is_aligned_from_its_first_two_frames() -> None:
    exact = torch.zeros(230, dtype=torch.bool)
    exact[[0, 1, 100, 101, 200, 201]] = True
    pred = turned(torch.where(exact[:, None, None], walk(230), noisy(walk(230), 0.1)))
    found = errors(pred, walk(230))["w_mpjpe"]
    assert found[exact].max() < 1e-6 and found[~exact].min() > 10


def test_the_last_chunk_may_be_one_frame() -> None:
    pred, target = noisy(walk(101)), walk(101)
    for measure in (w_mpjpe, wa_mpjpe):
        torch.testing.assert_close(measure(pred, target)[100:], pa_mpjpe(pred, target)[100:])


def test_batches_are_sequences_side_by_side() -> None:
    target = torch.stack([walk(seed=0), walk(seed=3)])
    pred = noisy(target)
    known = torch.rand(target.shape[:-1], generator=torch.Generator().manual_seed(2)).double()
    measures: list[Callable[[Tensor, Tensor, Tensor | None], Tensor]] = [
        *(pa_mpjpe, abs_mpjpe, w_mpjpe, wa_mpjpe),
        lambda p, t, w: mpjpe(p, t, HIPS, w),
        lambda p, t, w: acceleration_error(p, t, HIPS, FPS, w),
        lambda p, t, w: root_trajectory_error(p[..., 0, :], t[..., 0, :]),
    ]
    for measure in measures:
        for weights in (None, known):
            of_each = [None, None] if weights is None else weights
            alone = torch.stack([measure(p, t, w) for p, t, w in zip(pred, target, of_each, strict=True)])
            torch.testing.assert_close(measure(pred, target, weights), alone)


def test_frames_that_are_not_valid_might_as_well_not_be_there() -> None:
    pred, target = noisy(walk()), walk()
    valid = torch.rand(len(target), generator=torch.Generator().manual_seed(4)) < 0.7
    spoiled = torch.where(valid[:, None, None], target, torch.tensor(float("nan"), dtype=target.dtype))
    found, expected = errors(pred, spoiled, valid), errors(pred[valid], target[valid])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_joints_that_are_not_valid_do_not_count() -> None:
    pred, target = noisy(walk()), walk()
    valid = torch.ones(len(target), 8, dtype=torch.bool)
    valid[:, 6:] = False
    spoiled = torch.where(valid[..., None], target, torch.tensor(float("nan"), dtype=target.dtype))
    found, expected = errors(pred, spoiled, valid), errors(pred[:, :6], target[:, :6])
    for name in set(METRICS) - {"jitter_10m_s3"}:
        torch.testing.assert_close(found[name], expected[name], msg=lambda text, name=name: f"{name}: {text}")
    valid[5, 1] = False  # without a hip there is no root
    assert len(errors(pred, spoiled, valid)["mpjpe"]) == len(target) - 1


def test_a_frame_counts_from_three_known_joints_on() -> None:
    valid = torch.zeros(130, 8, dtype=torch.bool)
    valid[:, list(HIPS)] = True
    valid[:40, 5] = True
    assert len(errors(noisy(walk()), walk(), valid)["mpjpe"]) == 40


def test_the_first_joint_may_be_the_root() -> None:
    pred, target = walk() + torch.tensor([0.3, 0.0, 0.0]), walk()
    found = pose_errors(pred, target, fps=FPS, root_joints=(0,))
    assert found["mpjpe"].max() < 1e-9 and found["t_root_abs"].min() > 299


def test_a_foot_that_is_not_known_does_not_stand() -> None:
    """Its target holds zeros, which do not move; the prediction slides by 2 mm on the left and by 7 mm on the right."""
    target = walk(20)
    target[:, 3:5] = target[:1, 3:5]
    pred = target.clone()
    pred[:, 3:5, 0] += torch.arange(20)[:, None] * torch.tensor([0.002, 0.007])
    valid = torch.ones(20, 8, dtype=torch.bool)
    metric = PoseErrorMetric(FPS, root_joints=HIPS, foot_joints=(3, 4))
    metric.update(pred, target, valid=valid)
    assert float(metric.compute()["foot_sliding"]) == pytest.approx(4.5)
    metric.reset()
    valid[:, 4] = False
    metric.update(pred, target.where(valid[..., None], torch.zeros(())), valid=valid)
    assert float(metric.compute()["foot_sliding"]) == pytest.approx(2.0)


def test_the_path_is_that_of_the_frames_that_know_the_first_joint() -> None:
    pred, target = noisy(walk()), walk()
    valid = torch.ones(len(target), 8, dtype=torch.bool)
    valid[::5, 0] = False  # as the nose of COCO keypoints may be
    found, expected = errors(pred, target, valid)["rte_percent"], errors(pred, target)["rte_percent"]
    known = errors(pred[valid[:, 0]], target[valid[:, 0]])["rte_percent"]
    torch.testing.assert_close(found, known)
    assert found.mean() < 1.5 * expected.mean()
    valid[:, 0] = False
    assert errors(pred, target, valid)["rte_percent"].shape == (0,)


def test_jitter_is_a_tenth_of_the_other_one() -> None:
    pred = noisy(walk())
    other = jitter(pred[None], torch.tensor([len(pred)]), FPS)
    torch.testing.assert_close(errors(pred, walk())["jitter_10m_s3"].mean()[None] * 10, other)


def test_feet_slide_where_the_true_ones_stand() -> None:
    true_feet = torch.zeros(4, 1, 3)
    true_feet[3] = 0.5  # the last step is a step
    feet = torch.tensor([0.0, 0.003, 0.006, 0.106])[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(foot_sliding(feet, true_feet), torch.tensor([3.0, 3.0]))


def test_someone_who_stands_still_has_no_path() -> None:
    target = walk()[:1].expand(20, -1, -1)
    assert not errors(noisy(target), target)["rte_percent"].isfinite().any()
    assert not errors(target, target)["rte_percent"].isfinite().any()


def test_the_two_averages() -> None:
    metric = PoseErrorMetric(FPS, root_joints=HIPS, foot_joints=(3, 4))
    short, long = walk(10), walk(90, seed=2)
    for index, (motion, shift) in enumerate(((short, 0.01), (long, 0.11))):
        metric.update(motion + torch.tensor([shift, 0.0, 0.0]), motion, index=index)
    metric.update(short + torch.tensor([0.01, 0.0, 0.0]), short, index=0)  # a copy that evened out shares
    found = metric.compute()
    torch.testing.assert_close(found["abs_mpjpe"].item(), (10 * 10 + 90 * 110) / 100)
    torch.testing.assert_close(found["abs_mpjpe_per_sequence"].item(), 60.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"target": walk(129)}, r"shape \(130, 8, 3\) and target \(129, 8, 3\)"),
        (lambda a: a | {"pred": walk() * math.nan}, "pred contains NaN"),
        (lambda a: a | {"pred": walk().index_fill(0, torch.tensor([7]), math.nan)}, "pred contains NaN"),
        (lambda a: a | {"target": walk() * math.inf}, "target contains NaN or infinity"),
        (lambda a: a | {"fps": 0.0}, "fps is 0"),
        (lambda a: a | {"root_joints": (1, 8)}, "root_joints is"),
        (lambda a: a | {"valid": torch.zeros(130, dtype=torch.bool)}, "None of the 130 frames"),
        (lambda a: a | {"valid": torch.ones(12, dtype=torch.bool)}, r"valid has shape \(12,\)"),
        (lambda a: a | {"feet": (walk(3), walk(3))}, "feet have shape"),
    ],
)
def test_wrong_input_is_named(change: object, message: str) -> None:
    arguments = {"pred": walk(), "target": walk(), "fps": FPS, "root_joints": HIPS}
    with pytest.raises(ValueError, match=message):
        pose_errors(**change(arguments))  # type: ignore[operator]
