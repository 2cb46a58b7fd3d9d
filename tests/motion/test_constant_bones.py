"""Motions put onto bones of constant length: nearest, rigid, and the feet first of all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hmr4d.body.inverse_kinematics import solve_pose
from hmr4d.body.kinematics import posed_joints
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion import constant_bones
from hmr4d.motion.constant_bones import STEADINESS, WEIGHTS, with_constant_bones
from tests.export.motions import HEADINGS, heading, rigid_motion

REST = load_body().rest_joints.double()
FEET = list(SMPL22.indices("left_ankle", "right_ankle", "left_foot", "right_foot"))


def noisy(num_frames: int = 30, scale: float = 0.006) -> torch.Tensor:
    """(L, 22, 3) meters; a moving body whose bones change their length by some millimeters."""
    noise = np.random.default_rng(4).normal(scale=scale, size=(num_frames, 22, 3))
    return torch.from_numpy(rigid_motion(num_frames, rest=REST.numpy()) + noise)


def test_a_motion_of_constant_bones_is_unchanged() -> None:
    motion = torch.from_numpy(rigid_motion(10, rest=REST.numpy()))
    assert torch.equal(with_constant_bones(motion, REST), motion)


def test_rigid_bones_follow_the_result_exactly_and_the_feet_nearly() -> None:
    given = noisy()
    made = with_constant_bones(given, REST)
    solved = solve_pose(made, REST)
    assert solved.residual.max() < 1e-4
    for parent, child in SMPL22.bones:
        lengths = (made[:, child] - made[:, parent]).norm(dim=-1)
        assert (lengths - (REST[child] - REST[parent]).norm()).abs().max() < 1e-4
    by_direction = solve_pose(given, REST).residual
    distance = (made - given).norm(dim=-1)
    assert distance.mean() < 0.8 * by_direction.mean()
    assert distance[:, FEET].mean() < 0.4 * by_direction[:, FEET].mean()


def test_short_bones_do_not_twitch_for_the_sake_of_long_ones() -> None:
    """An arm that is drawn out for a moment: most of it is given up, the collar hardly turns."""
    given = torch.from_numpy(rigid_motion(1, rest=REST.numpy())).double()
    arm = list(SMPL22.indices("left_elbow", "left_wrist"))
    out = given[:, arm[0]] - given[:, SMPL22.index("left_shoulder")]
    given[:, arm] += 0.03 * out / out.norm()
    before, after = (solve_pose(x, REST).rotations for x in (given, with_constant_bones(given, REST)))
    collar = SMPL22.index("left_collar")
    turn = torch.acos(((before[:, collar].mT @ after[:, collar]).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2)
    assert float(turn.rad2deg()) < 6


def test_feet_that_stand_do_not_slide_more_than_given() -> None:
    """Legs and trunk change their length by centimeters over a clip while the feet stay where they are."""
    still = torch.from_numpy(rigid_motion(1, rest=REST.numpy())).double().repeat(60, 1, 1)
    phase = torch.linspace(0, 12, 60, dtype=torch.float64)[:, None, None]
    sway = 0.015 * torch.sin(phase + torch.from_numpy(np.random.default_rng(2).uniform(0, 6, (1, 22, 3))))
    sway[:, FEET] = 0.0
    given = still + sway
    made = with_constant_bones(given, REST)
    solved = solve_pose(given, REST)
    by_direction = posed_joints(solved.rotations, solved.translation, REST)
    slides = [(x[1:, FEET] - x[:-1, FEET]).norm(dim=-1).mean() for x in (made, by_direction)]
    assert slides[0] < 5e-4 and slides[1] > 2e-3


def test_no_rigid_pose_is_nearer() -> None:
    """A general minimiser over rotations, started at the solution, finds nothing better."""
    given = noisy(1, 0.01)
    made = with_constant_bones(given, REST)
    names = (n.removeprefix("left_").removeprefix("right_") for n in SMPL22.joint_names)
    weights = torch.tensor([WEIGHTS.get(n, 1.0) for n in names])
    solved = solve_pose(made, REST)

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        values = torch.from_numpy(x).requires_grad_()
        turns, shift = values[:66].view(1, 22, 3), values[66:].view(1, 3)
        skew = torch.zeros(1, 22, 3, 3, dtype=torch.float64)
        skew[..., 0, 1], skew[..., 0, 2], skew[..., 1, 2] = -turns[..., 2], turns[..., 1], -turns[..., 0]
        rotations = solved.rotations @ torch.matrix_exp(skew - skew.mT)
        joints = posed_joints(rotations, solved.translation + shift, REST)
        moved = joints - given
        value = (moved.square().sum(-1) * weights).sum()
        for parent, child in SMPL22.bones:
            length = (REST[child] - REST[parent]).norm()
            value = value + (STEADINESS / length) ** 2 * (moved[:, child] - moved[:, parent]).square().sum()
        value.backward()
        assert values.grad is not None
        return float(value.detach()), values.grad.numpy()

    start = np.zeros(69)
    best = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    assert cost(start)[0] < 1.002 * best.fun


def test_the_heading_does_not_matter_nor_how_many_frames_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = noisy(9)
    made = with_constant_bones(given, REST)
    monkeypatch.setattr(constant_bones, "FRAMES_AT_ONCE", 4)
    for degrees in HEADINGS:
        turn = torch.from_numpy(heading(degrees).as_matrix())
        turned = with_constant_bones(given @ turn.mT, REST)
        torch.testing.assert_close(turned, made @ turn.mT, atol=1e-6, rtol=0)


def test_frames_that_no_body_takes_stay_finite() -> None:
    given = noisy(4)
    given[1] = 0.0
    given[2, SMPL22.index("left_knee")] = given[2, SMPL22.index("left_hip")]
    given[3] = torch.from_numpy(np.random.default_rng(0).normal(scale=10.0, size=(22, 3)))
    made = with_constant_bones(given, REST)
    assert made.isfinite().all() and (made[0] - given[0]).norm(dim=-1).max() < 0.05
    assert with_constant_bones(given, torch.zeros(22, 3)).isfinite().all()
