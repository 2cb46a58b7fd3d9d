"""Losses and projection: finite gradients whatever is behind the camera, masks, switches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hmr4d.body.pose_limits import load_pose_limits
from hmr4d.geometry.rotations import rotvec_to_matrix
from hmr4d.methods.k2m.checks import body_checks
from hmr4d.methods.k2m.losses import Drawn, LossOptions, LossWeights, Observed, approach_trend, loss_terms, weighted
from hmr4d.methods.k2m.projection import project

SIZE = torch.tensor([[1280.0, 720.0]])


def drawn(points: torch.Tensor) -> Drawn:
    pixels, visible = project(points, SIZE)
    frames = points.shape[1]
    pose, betas = torch.zeros(1, frames, 69), torch.zeros(1, frames, 10)
    return Drawn(pixels, visible, pose, betas, torch.eye(3).expand(1, frames, 3, 3), points[:, :, 0], points[:, :, 13:])


def observed(frames: int = 4, conf: float = 1.0) -> Observed:
    pixels = 400 * torch.rand(1, frames, 17, 2, generator=torch.Generator().manual_seed(0))
    return Observed(pixels, torch.full((1, frames, 17), conf), torch.ones(1, frames, dtype=torch.bool))


@pytest.mark.parametrize("depth", [-2.0, 0.0, 1e-9, 5.0])
def test_gradients_are_finite_for_all_point_positions(depth: float) -> None:
    points = torch.randn(1, 4, 17, 3)
    points[..., 2] = 10.0
    points[0, 1, 3, 2] = depth
    points.requires_grad_()
    loss = weighted(
        loss_terms(drawn(points), observed(), load_pose_limits(), LossOptions()) | {"rvq": torch.zeros(())},
        LossWeights(),
    )["loss"]
    (gradient,) = torch.autograd.grad(loss, points)
    assert loss.isfinite() and gradient.isfinite().all()
    assert (gradient[0, 1, 3] == 0).all() == (depth <= 0)


def test_a_clip_without_confident_keypoints_has_no_pixel_loss() -> None:
    terms = loss_terms(drawn(torch.ones(1, 4, 17, 3)), observed(conf=0.5), load_pose_limits(), LossOptions())
    assert all(float(terms[name]) == 0 for name in ("rec", "vel", "boundary"))


def test_values_of_invisible_keypoints_have_no_effect() -> None:
    seen = observed()
    seen.conf[0, 1, 2] = 0.0
    before = loss_terms(drawn(torch.ones(1, 4, 17, 3)), seen, load_pose_limits(), LossOptions())
    seen.pixels[0, 1, 2] = torch.nan
    after = loss_terms(drawn(torch.ones(1, 4, 17, 3)), seen, load_pose_limits(), LossOptions())
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", ["rvq", "rec", "smooth", "vel", "boundary", "pose", "shape"])
def test_every_term_can_be_switched_off(name: str) -> None:
    terms = {key: torch.tensor(1.0) for key, _ in LossWeights().items()}
    whole, less = weighted(terms, LossWeights()), weighted(terms, LossWeights(**{name: 0.0}))
    assert name in whole and name not in less
    assert torch.isclose(whole["loss"] - less["loss"], torch.tensor(getattr(LossWeights(), name)), atol=1e-6)


def test_the_normalized_error_does_not_depend_on_the_size_of_the_person() -> None:
    small = observed()
    large = Observed(3 * small.pixels, small.conf, small.frames)
    options = LossOptions(rec="l1_normalized")
    points = drawn(torch.ones(1, 4, 17, 3))
    values = []
    for scale, seen in ((1.0, small), (3.0, large)):
        moved = Drawn(scale * (seen.pixels / scale + 2.0), points.visible, *list(vars(points).values())[2:])
        values.append(loss_terms(moved, seen, load_pose_limits(), options)["rec"])
    assert torch.isclose(values[0], values[1], rtol=1e-4)


def test_the_relative_error_does_not_depend_on_place_but_on_size() -> None:
    seen, points = observed(), drawn(torch.ones(1, 4, 17, 3))
    values = []
    for scale, shift in ((1.0, 0.0), (1.0, 90.0), (1.5, 0.0)):
        moved = Drawn(scale * seen.pixels + shift, points.visible, *list(vars(points).values())[2:])
        values.append(float(loss_terms(moved, seen, load_pose_limits(), LossOptions())["relative"]))
    assert values[0] < 1e-3 and values[1] < 1e-3 and values[2] > 10


def test_a_root_rotated_away_from_the_nose_direction_has_a_loss() -> None:
    seen = observed()
    seen.pixels[..., 1] = torch.arange(17) * 10.0
    seen.pixels[:, :, [3, 4, 5, 6, 11, 12], 0] = 100.0
    seen.pixels[:, :, 0, 0] = 130.0  # the nose is to the right of the ears
    points = drawn(torch.ones(1, 4, 17, 3))
    values = []
    for yaw in (0.9, -0.9):  # radians; the root looks to the right, to the left
        turn = rotvec_to_matrix(torch.tensor([0.0, yaw, 0.0]))
        body = replace(points, root=turn.expand(1, 4, 3, 3))
        values.append(float(loss_terms(body, seen, load_pose_limits(), LossOptions())["front"]))
    assert values[0] == 0.0 and values[1] > 1.0
    unsure = replace(seen, conf=torch.full_like(seen.conf, 0.5))
    assert float(loss_terms(points, unsure, load_pose_limits(), LossOptions())["front"]) == 0.0


def test_checks_of_padding_alone_are_zero() -> None:
    limits = load_pose_limits()
    empty = replace(observed(), frames=torch.zeros_like(observed().frames))
    points = torch.randn(*observed().pixels.shape[:-1], 3) + torch.tensor([0.0, 0.0, 10.0])
    found = body_checks(drawn(points), empty, limits, 0.8)
    assert {name: float(value) for name, value in found.items()} == dict.fromkeys(found, 0.0)
    assert float(body_checks(drawn(points), observed(), limits, 0.8)["pixels"]) > 0


def test_far_points_do_not_count_in_training() -> None:
    points = torch.ones(1, 1, 17, 3)
    points[0, 0, 0] = torch.tensor([10.0, 0.0, 0.6])
    _, near = project(points, SIZE, min_depth=0.5, max_sides=10.0)
    assert not near[0, 0, 0] and near[0, 0, 1:].all()


def skate(feet: torch.Tensor, path: torch.Tensor) -> torch.Tensor:
    """The term for feet (1, F, 4, 3) from the root, whose path is (1, F, 3)."""
    body = replace(drawn(torch.ones(1, feet.shape[1], 17, 3)), feet=feet, translation=path)
    return loss_terms(body, observed(feet.shape[1]), load_pose_limits(), LossOptions())["skate"]


@pytest.mark.parametrize("axis", [0, 2])
def test_the_skate_term_is_least_for_steps_as_long_as_the_path(axis: int) -> None:
    # Two feet swing against each other below the root; the path goes on by 0.04 meters per frame.
    frame = torch.arange(61)
    swing = 0.04 * ((frame % 20) - 10).abs()
    path = torch.zeros(1, 61, 3)
    path[0, :, axis] = 0.04 * frame
    values = []
    for share in (0.0, 0.5, 1.0, 1.5, 2.0):
        feet = torch.zeros(1, 61, 4, 3)
        feet[..., axis] = share * torch.stack([swing, -swing, swing, -swing], -1)
        values.append(float(skate(feet, path)))
    assert values[2] == min(values) and values[2] < 0.05
    assert values[0] > values[1] > values[2] < values[3] < values[4]


def test_the_skate_term_changes_the_feet_and_not_the_path_and_counts_no_padding() -> None:
    feet, path = torch.zeros(1, 8, 4, 3), torch.zeros(1, 8, 3)
    feet[0, 2:, :, 0], path[0, 6:] = 0.05, 100.0
    feet.requires_grad_()
    path.requires_grad_()
    seen = observed(8)
    seen.frames[0, 6:] = False
    body = replace(drawn(torch.ones(1, 8, 17, 3)), feet=feet, translation=path)
    loss = loss_terms(body, seen, load_pose_limits(), LossOptions())["skate"]
    gradients = torch.autograd.grad(loss, [feet, path], allow_unused=True)
    assert gradients[0].abs().max() > 0 and gradients[0].isfinite().all()
    assert gradients[1] is None and float(loss.detach()) < 0.2


def test_people_who_bend_or_crouch_do_not_come_nearer() -> None:
    frames = 30
    lean = torch.linspace(0, 1.2, frames)  # radians
    standing = torch.zeros(1, frames, 17, 3)
    standing[..., 2] = 10.0
    for rows, height in (([5, 6], 1.4), ([11, 12], 0.9), ([13, 14], 0.5), ([15, 16], 0.1)):
        standing[..., rows, 1] = 0.9 - height
    standing[..., 5::2, 0], standing[..., 6::2, 0] = 0.15, -0.15
    bent, crouched, near = standing.clone(), standing.clone(), standing.clone()
    bent[0, :, 5:7, 1] = -0.5 * lean.cos()[:, None]  # towards the camera
    bent[0, :, 5:7, 2] -= 0.5 * lean.sin()[:, None]
    crouched[0, :, :13, 1] += 0.8 * (1 - lean.cos())[:, None]  # thighs and shins become shorter by the same share
    crouched[0, :, 13:15, 1] = 0.8 - 0.4 * lean.cos()[:, None]
    near[..., 2] -= torch.linspace(0, 2, frames)[None, :, None]
    seen = torch.ones(1, frames, 17, dtype=torch.bool)
    *still, nearer = (
        float(approach_trend(project(points, SIZE)[0], seen)[0]) for points in (standing, bent, crouched, near)
    )
    assert all(abs(trend) < 0.02 for trend in still)
    assert abs(nearer - math.log(10 / 8)) < 0.03
    walker = replace(observed(frames), pixels=project(near, SIZE)[0])
    right = [
        float(loss_terms(drawn(points), walker, load_pose_limits(), LossOptions())["approach"])
        for points in (near, standing)
    ]
    assert right[0] < 0.01 and right[1] > 0.2
    hidden = replace(walker, conf=torch.zeros(1, frames, 17))
    assert float(loss_terms(drawn(standing), hidden, load_pose_limits(), LossOptions())["approach"]) == 0


def test_the_growth_term_is_zero_for_any_constant_size_and_place_but_not_for_another_growth() -> None:
    frames = 10
    one = 100 * torch.rand(1, 1, 17, 2, generator=torch.Generator().manual_seed(0))
    growing = torch.linspace(1, 1.5, frames)[None, :, None, None]
    seen = replace(observed(frames), pixels=growing * one)
    points = drawn(torch.ones(1, frames, 17, 3))
    values = []
    for pixels in (3 * growing * one + 70, one.expand(1, frames, 17, 2), growing**0.5 * one):
        body = replace(points, pixels=pixels)
        values.append(float(loss_terms(body, seen, load_pose_limits(), LossOptions())["growth"]))
    assert values[0] < 1e-6 and abs(values[2] / values[1] - 0.5) < 1e-4
    assert abs(values[1] - float((growing.log() - growing.log().mean()).abs().mean())) < 1e-4
