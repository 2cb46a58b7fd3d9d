"""Physical metrics against closed forms."""

import math

import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.metrics.physical import (
    FEET,
    bone_length_variation,
    floor_clearance,
    floor_penetration,
    foot_contact,
    foot_skating,
    jitter,
    physical_metrics,
    root_speed,
    root_speed_error,
    to_neutral_height,
)
from hmr4d.representation.root_velocity import NEUTRAL_HEIGHT, body_height

FPS = 20.0
FOOT_JOINTS = [SMPL22.index(name) for foot in FEET for name in foot]


def standing(num_frames: int) -> torch.Tensor:
    """(1, L, 22, 3) a rigid figure of random bones, feet at 0.1 m or below, the rest above."""
    pose = torch.rand(22, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + torch.tensor(
        [0, 0.5, 0]
    )
    pose[FOOT_JOINTS, 1] = torch.tensor([0.1, 0.0, 0.1, 0.0], dtype=torch.float64)
    return pose.expand(1, num_frames, 22, 3).clone()


def moving(joints3d: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    return joints3d + offset[None, :, None]


def test_rigid_figure_at_one_meter_a_second_skates_at_that_speed():
    seconds = torch.arange(30, dtype=torch.float64) / FPS
    travel = torch.stack([0.6 * seconds, torch.zeros(30), 0.8 * seconds], -1)
    motion = moving(standing(30), travel)
    lengths = torch.tensor([30])
    assert foot_contact(motion, lengths).all()
    for value, expected in (
        (foot_skating(motion, lengths, FPS), 1.0),
        (root_speed(motion, lengths, FPS), 1.0),
        (jitter(motion, lengths, FPS), 0.0),
        (bone_length_variation(motion, lengths), 0.0),
        (floor_penetration(motion, lengths), 0.0),
        (floor_clearance(motion, lengths), 0.0),
    ):
        assert value.shape == (1,)
        assert value.item() == pytest.approx(expected, abs=1e-6)


def test_planted_feet_do_not_skate_while_the_body_moves():
    motion = standing(30)
    seconds = torch.arange(30, dtype=torch.float64) / FPS
    body = [j for j in range(22) if j not in FOOT_JOINTS]
    motion[0, :, body, 2] += seconds[:, None]
    lengths = torch.tensor([30])
    assert foot_skating(motion, lengths, FPS).item() == 0
    assert root_speed(motion, lengths, FPS).item() == pytest.approx(1.0)


def test_a_lifted_foot_may_move():
    motion = standing(40)
    left = list(SMPL22.indices("left_ankle", "left_foot"))
    motion[0, 10:30, left, 1] += 0.2
    motion[0, :, left, 0] += torch.linspace(0, 1, 20, dtype=torch.float64).repeat_interleave(2)[:, None].clamp(0, 1)
    motion[0, :10, left, 0] = motion[0, 10, left, 0]
    motion[0, 30:, left, 0] = motion[0, 29, left, 0]
    lengths = torch.tensor([40])
    assert foot_contact(motion, lengths)[0, :, 0].sum() == 20
    assert foot_skating(motion, lengths, FPS).item() == 0


def test_each_foot_rests_at_its_own_height_and_stands_by_itself():
    """The right foot is higher than the left all the time, and lifted for five frames."""
    motion = standing(30)
    right = [SMPL22.index(name) for name in FEET[1]]
    motion[0, :, right, 1] += 0.2
    motion[0, 10:15, right, 1] += 0.2
    expected = torch.ones(30, 2, dtype=torch.bool)
    expected[10:15, 1] = False
    assert torch.equal(foot_contact(motion, torch.tensor([30]))[0], expected)


def test_a_step_in_which_a_foot_lands_or_leaves_is_no_skating():
    motion = standing(30)
    motion[0, 10:20, FOOT_JOINTS, 1] += 0.2
    motion[0, 10:, :, 0] += 0.5  # it moves while it leaves
    motion[0, 20:, :, 0] += 0.5  # and while it lands
    assert foot_skating(motion, torch.tensor([30]), FPS).item() == 0.0


def test_a_low_toe_under_a_raised_ankle_is_not_in_contact():
    motion = standing(20)
    motion[0, 5:, SMPL22.index("left_ankle"), 1] += 0.1
    contact = foot_contact(motion, torch.tensor([20]))
    assert contact[0, :, 0].tolist() == [True] * 5 + [False] * 15
    assert contact[0, :, 1].all()


def test_contact_ignores_a_floating_figure_and_one_low_frame():
    motion = standing(100)
    motion[..., 1] += 3.0
    motion[:, 0, :, 1] -= 1.0  # one glitch must not become the reference
    contact = foot_contact(motion, torch.tensor([100]))
    assert contact.all()


def test_cubic_motion_has_constant_jitter():
    seconds = torch.arange(25, dtype=torch.float64) / FPS
    travel = torch.stack([seconds**3, torch.zeros(25), 2 * seconds**3], -1)
    value = jitter(moving(standing(25), travel), torch.tensor([25]), FPS)
    assert value.item() == pytest.approx(6 * math.sqrt(5), rel=1e-9)  # third derivative of t^3 is 6


def test_bones_that_change_their_length_are_measured():
    wave = 1 + 0.1 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(10)  # standard deviation 10 % of the mean
    motion = standing(20) * wave[None, :, None, None]
    assert bone_length_variation(motion, torch.tensor([20])).item() == pytest.approx(10.0)


def test_one_bone_that_breathes_counts_as_one():
    """The top of the head moves away from the neck and back, by 10 % of the bone."""
    motion, (neck, head) = standing(20), SMPL22.indices("neck", "head")
    wave = 0.1 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(10)
    motion[0, :, head] += wave[:, None] * (motion[0, :, head] - motion[0, :, neck])
    assert bone_length_variation(motion, torch.tensor([20])).item() == pytest.approx(10.0 / 21)


def test_the_root_is_the_pelvis():
    motion, lengths = standing(21), torch.tensor([21])
    motion[0, :, 1:, 0] += torch.arange(21)[:, None]
    assert root_speed(motion, lengths, FPS).item() == 0.0


def test_depth_and_height_of_the_lowest_joint():
    motion = standing(4)
    motion[0, 0, :, 1] -= 0.08
    motion[0, 1, :, 1] += 0.02
    lengths = torch.tensor([4])
    assert floor_penetration(motion, lengths).item() == pytest.approx(0.02)
    assert floor_clearance(motion, lengths).item() == pytest.approx(0.005)


def test_padding_and_batch_change_nothing():
    generator = torch.Generator().manual_seed(1)
    clips = [torch.rand(n, 22, 3, generator=generator, dtype=torch.float64) for n in (7, 19, 12)]
    lengths = torch.tensor([7, 19, 12])
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=9.0)
    together = physical_metrics(padded, lengths, FPS)
    for b, clip in enumerate(clips):
        alone = physical_metrics(clip[None], lengths[b : b + 1], FPS)
        for name, value in alone.items():
            assert together[name][b].item() == pytest.approx(value.item(), rel=1e-12, nan_ok=True), name
    assert padded[0, 7:].eq(9.0).all()


def test_too_short_clips_are_nan():
    motion = standing(5)
    assert jitter(motion, torch.tensor([3]), FPS).isnan().all()
    assert foot_skating(motion, torch.tensor([1]), FPS).isnan().all()


def test_neutral_height_scales_positions_with_the_body():
    seconds = torch.arange(10, dtype=torch.float64) / FPS
    motion = moving(standing(10), torch.stack([seconds, 0 * seconds, 0 * seconds], -1))
    lengths = torch.tensor([10])
    scaled = to_neutral_height(motion, lengths)
    assert body_height(scaled).mean().item() == pytest.approx(NEUTRAL_HEIGHT)
    factor = NEUTRAL_HEIGHT / body_height(motion).mean().item()
    assert root_speed(scaled, lengths, FPS).item() == pytest.approx(factor)
    assert torch.allclose(to_neutral_height(3 * motion, lengths), scaled)


def walking(num_frames: int, speed: float) -> torch.Tensor:
    """(1, L, 22, 3) the standing figure moved along x, m/s."""
    seconds = torch.arange(num_frames, dtype=torch.float64) / FPS
    return moving(standing(num_frames), torch.stack([speed * seconds, 0 * seconds, 0 * seconds], -1))


def test_root_speed_error_compares_mean_speeds_of_clips_of_any_length():
    error = root_speed_error(walking(20, 1.5), torch.tensor([20]), walking(31, 1.2), torch.tensor([25]), FPS)
    assert error.shape == (1,)
    assert error.item() == pytest.approx(0.3, abs=1e-6)
    slower = root_speed_error(walking(20, 1.2), torch.tensor([20]), walking(31, 1.5), torch.tensor([25]), FPS)
    assert slower.item() == pytest.approx(0.3, abs=1e-6)
