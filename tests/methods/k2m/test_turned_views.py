"""Views of turned bodies: bodies of wrong depth are told from right ones, and gradients go where they belong."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from hmr4d.body.keypoint_body import load_keypoint_body
from hmr4d.geometry.rotations import rotvec_to_matrix
from hmr4d.methods.k2m.losses import LossWeights
from hmr4d.methods.k2m.module import K2MModule
from hmr4d.methods.k2m.smpl_head import SmplHead
from hmr4d.methods.k2m.turned_views import ViewCritic, turned_pixels, view_terms
from tests.methods.k2m.tiny import tiny_pipeline, tokenizer_batch

SIZE = torch.tensor([1280.0, 720.0])


def walkers(count: int, seed: int) -> Tensor:
    """(B, 16, 17, 3) keypoints in space of people who walk upright in all directions, and swing their legs."""
    generator = torch.Generator().manual_seed(seed)
    head, body = SmplHead("root_6d"), load_keypoint_body("anny")
    raw = torch.zeros(count, 16, head.dim)
    swing = 0.5 * torch.sin(6 * torch.arange(16) / 30 + 6.28 * torch.rand(count, 1, generator=generator))
    raw[..., 16], raw[..., 19] = swing, -swing
    found = head(raw, SIZE.expand(count, 2))
    points = body(found.betas, found.rotations, found.translation)[1]
    yaw = 2 * math.pi * torch.rand(count, generator=generator)
    turn = rotvec_to_matrix(torch.stack([torch.zeros(count), yaw, torch.zeros(count)], -1))
    middle = points.mean((1, 2), keepdim=True)
    return (points - middle) @ turn[:, None].mT + middle


def leaning(points: Tensor) -> Tensor:
    """The same pictures, nearly, of bodies that lean away from the camera by 40 degrees."""
    middle = points.mean((1, 2), keepdim=True)
    deeper = (points[..., 1:2] - middle[..., 1:2]) * math.tan(math.radians(40))
    return torch.cat([points[..., :2], points[..., 2:] - deeper], -1)


def test_zero_rotation_gives_the_camera_view_and_a_half_turn_mirrors_it() -> None:
    points, size = walkers(2, 0), SIZE.expand(2, 2)
    same = turned_pixels(points, torch.zeros(2), size)
    half = turned_pixels(points, torch.full((2,), math.pi), size)
    middle = SIZE / 2
    offset = points - points.mean((1, 2), keepdim=True)
    assert torch.allclose((same - middle)[..., 0].sign(), offset[..., 0].sign())
    assert torch.allclose((half - middle)[..., 0], -(same - middle)[..., 0], atol=0.05 * 288)
    assert torch.allclose(half[..., 1], same[..., 1], atol=0.05 * 288)


def test_a_body_with_wrong_depth_has_a_loss_and_a_correct_one_has_none() -> None:
    torch.manual_seed(0)
    critic = ViewCritic(24).train()
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.5, 0.9))
    size, straight = SIZE.expand(16, 2), torch.zeros(16)
    for step in range(50):
        points = walkers(16, step)
        yaw = 2 * math.pi * torch.rand(16)
        turned = turned_pixels(leaning(points), yaw, size)
        optimizer.zero_grad()
        view_terms(critic, turned_pixels(points, straight, size), turned, size)["critic"].backward()
        optimizer.step()
    critic.eval()
    points, yaw = walkers(16, 1000), 2 * math.pi * torch.rand(16)
    seen = turned_pixels(points, straight, size)
    right = view_terms(critic, seen, turned_pixels(points, yaw, size), size)["turned"]
    wrong = view_terms(critic, seen, turned_pixels(leaning(points), yaw, size), size)["turned"]
    assert float(right) < float(wrong) - 0.5


def test_each_side_learns_from_its_own_loss_alone() -> None:
    critic, size = ViewCritic(8), SIZE.expand(2, 2)
    seen, points = turned_pixels(walkers(2, 0), torch.zeros(2), size).requires_grad_(), walkers(2, 1).requires_grad_()
    terms = view_terms(critic, seen, turned_pixels(points, torch.ones(2), size), size)
    parameters = [p for p in critic.parameters() if p.requires_grad]
    assert len(parameters) == len(list(critic.parameters()))
    of_bodies = torch.autograd.grad(terms["turned"], [points, seen, *parameters], retain_graph=True, allow_unused=True)
    of_critic = torch.autograd.grad(terms["critic"], [points, seen, *parameters], allow_unused=True)
    assert of_bodies[0] is not None and of_bodies[0].abs().sum() > 0 and all(g is None for g in of_bodies[1:])
    assert of_critic[:2] == (None, None) and all(g is not None for g in of_critic[2:])


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_critic_exists_if_its_term_is_enabled_and_is_not_part_of_the_network(weight: float) -> None:
    pipeline = tiny_pipeline("tokenizer", weights=LossWeights(turned=weight)).train()
    found = pipeline.training_loss(tokenizer_batch(), 7)
    assert ("turned" in found) == ("critic" in found) == any("view_critic" in k for k in pipeline.state_dict())
    assert not any("critic" in name for name in pipeline.network.state_dict())
    assert all(value.isfinite() for value in found.values())


def test_the_critic_has_a_separate_learning_rate() -> None:
    pipeline = tiny_pipeline("tokenizer", weights=LossWeights(turned=0.3))
    module = K2MModule(pipeline, optimizer=partial(torch.optim.Adam, lr=1e-4), critic_lr=2e-3)
    bodies, critic = module.configure_optimizers().param_groups
    assert (bodies["lr"], critic["lr"], critic["betas"]) == (1e-4, 2e-3, (0.5, 0.9))
    assert pipeline.view_critic is not None
    assert [id(p) for p in critic["params"]] == [id(p) for p in pipeline.view_critic.parameters()]
    assert [id(p) for p in bodies["params"]] == [id(p) for p in pipeline.network.parameters()]
