"""Noise of joints: its size is found without knowing the motion, and what is smoothed away is the noise."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from hmr4d.body.joint_noise import joint_noise, without_noise
from hmr4d.body.loading import load_body
from tests.body.true_motions import true_motions

BODY = load_body("anny")
MOTIONS = true_motions()
MILLIMETER = 1e-3


def noise(joints3d: torch.Tensor, size: float, seed: int = 0) -> torch.Tensor:
    return size * torch.randn(joints3d.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("motion", MOTIONS)
def test_its_size_is_found_and_most_of_it_taken_away(motion: str, size: float) -> None:
    true = BODY.pose(MOTIONS[motion])
    given = true + noise(true, size * MILLIMETER)
    found = joint_noise(given)
    assert found == pytest.approx(size * MILLIMETER, rel=0.15)
    left, before = ((x - true).norm(dim=-1).mean() for x in (without_noise(given, found), given))
    assert left < (0.8 if size < 1 else 0.5) * before


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_without_noise_is_left_alone(motion: str) -> None:
    joints3d = BODY.pose(MOTIONS[motion]) + torch.tensor([30.0, 0.0, -20.0])
    assert joint_noise(joints3d) < 0.02 * MILLIMETER
    assert without_noise(joints3d, joint_noise(joints3d)) is joints3d
    assert joint_noise(joints3d[:5]) == 0.0


def test_a_quick_move_is_no_noise() -> None:
    """A step of 20 cm between two frames stays one; nothing is moved by more than six times the noise."""
    true = BODY.pose(MOTIONS["bow"])
    true[60:] += torch.tensor([0.2, 0.0, 0.0])
    given = true + noise(true, MILLIMETER)
    found = joint_noise(given)
    moved = (without_noise(given, found) - given).norm(dim=-1)
    assert 0 < moved.max() <= 6.001 * found


def test_turning_the_world_turns_the_result() -> None:
    true = BODY.pose(MOTIONS["two turns"])
    given = true + noise(true, 3 * MILLIMETER)
    turn, shift = roma.rotvec_to_rotmat(torch.tensor([0.4, 2.8, -1.0])), torch.tensor([2.0, -1.0, 5.0])
    one, other = (without_noise(j, 3 * MILLIMETER) for j in (given, given @ turn.mT + shift))
    torch.testing.assert_close(other, one @ turn.mT + shift, atol=1e-5, rtol=0)


def test_long_clips_are_the_same_in_the_middle() -> None:
    """The stiffness of a clip of minutes is chosen from a part of it."""
    true = BODY.pose(MOTIONS["two turns"])
    true = torch.cat([true, true.flip(0)]).repeat(21, 1, 1)  # 5,040 frames
    given = true + noise(true, 3 * MILLIMETER)
    smooth = without_noise(given, joint_noise(given))
    assert (smooth - true).norm(dim=-1).mean() < 0.5 * math.sqrt(8 / math.pi) * 3 * MILLIMETER
