"""Standing feet decide where the root goes."""

import torch

from hmr4d.body.foot_planting import plant_feet, remove_floating
from hmr4d.body.skeleton import SMPL22

FPS = 20.0


def standing(num_frames: int = 40) -> torch.Tensor:
    """(1, L, 22, 3) a figure at rest, feet on the floor."""
    pose = torch.rand(22, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 0.5, 0.0])
    for name, x in (("left_foot", 0.1), ("right_foot", -0.1)):
        pose[SMPL22.index(name)] = torch.tensor([x, 0.0, 0.1])
    return pose.expand(1, num_frames, 22, 3).clone()


def drift(metres_per_second: list[float], num_frames: int = 40) -> torch.Tensor:
    return (torch.arange(num_frames)[:, None] / FPS * torch.tensor(metres_per_second))[None, :, None]


def test_a_sliding_rising_figure_with_standing_feet_is_brought_to_rest() -> None:
    planted = plant_feet(standing() + drift([0.3, 0.1, -0.2]), fps=FPS)
    assert (planted - planted[:, :1]).abs().max() < 1e-5


def test_poses_are_kept() -> None:
    motion = standing() + drift([0.4, 0.0, 0.1]) + 0.02 * torch.randn(1, 40, 22, 3)
    planted = plant_feet(motion, fps=FPS)
    relative = [m - m[:, :, :1] for m in (motion, planted)]
    torch.testing.assert_close(*relative, atol=1e-5, rtol=0)


def test_feet_that_move_fast_do_not_stand() -> None:
    motion = standing() + drift([0.0, 0.0, 3.0])
    torch.testing.assert_close(plant_feet(motion, fps=FPS), motion, atol=1e-6, rtol=0)


def test_the_raised_foot_does_not_hold_the_body() -> None:
    motion = standing()
    motion[:, :, SMPL22.index("left_foot"), 1] += 0.3
    motion[:, :, SMPL22.index("left_foot")] += drift([0.0, 0.0, 0.5])[0, :, 0]
    torch.testing.assert_close(plant_feet(motion, fps=FPS), motion, atol=1e-6, rtol=0)


def test_frames_beyond_the_length_do_not_change_those_before() -> None:
    motion = standing() + drift([0.3, 0.0, 0.0])
    other = motion.clone()
    other[:, 25:] = 7.0
    lengths = torch.tensor([25])
    one, two = (plant_feet(m, fps=FPS, lengths=lengths)[:, :25] for m in (motion, other))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    torch.testing.assert_close(one, plant_feet(motion[:, :25], fps=FPS), atol=1e-6, rtol=0)


def test_a_figure_that_floats_away_is_brought_back() -> None:
    settled = remove_floating(standing() + drift([0.0, 0.5, 0.0]), fps=FPS)
    lowest = settled[..., 1].amin(-1)
    assert lowest[:, 8:-16].abs().max() < 0.02
    assert lowest.abs().max() < 0.5 * 0.4 + 0.01  # half a window is missing at the ends


def test_hops_and_horizontal_motion_are_kept() -> None:
    motion = standing(80) + drift([0.7, 0.0, 1.5], 80)
    phase = torch.arange(80) / FPS % 0.5 / 0.5
    motion[..., 1] += (0.6 * phase * (1 - phase))[None, :, None]
    torch.testing.assert_close(remove_floating(motion, fps=FPS)[:, :-24], motion[:, :-24], atol=1e-6, rtol=0)


def test_settling_does_not_depend_on_padding() -> None:
    motion = standing() + drift([0.0, 0.5, 0.0])
    padded = torch.cat([motion, torch.full_like(motion, -3.0)], 1)
    alone = remove_floating(motion, fps=FPS)
    torch.testing.assert_close(
        remove_floating(padded, fps=FPS, lengths=torch.tensor([40]))[:, :40], alone, atol=1e-6, rtol=0
    )
