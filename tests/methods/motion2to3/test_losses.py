"""Losses against NumPy and against trajectories."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmr4d.methods.motion2to3.losses import global_velocity, masked_mse, padded_mse
from hmr4d.representation.root_velocity import from_root_velocity, to_root_velocity


def arrays() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 2, 3, 5, 4, generator=generator).unbind(0)
    return predicted, target, torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)[:, None, :, None]


def test_masked_mse_is_the_mean_over_the_mask() -> None:
    predicted, target, mask = arrays()
    counted = np.broadcast_to(mask.numpy(), target.shape)
    expected = ((predicted - target).numpy()[counted] ** 2).mean()
    assert float(masked_mse(predicted, target, mask)) == pytest.approx(expected, rel=1e-5)


def test_padded_mse_divides_by_everything() -> None:
    predicted, target, mask = arrays()
    expected = (((predicted - target).numpy() * mask.numpy()) ** 2).mean()
    assert float(padded_mse(predicted, target, mask)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [masked_mse, padded_mse])
def test_values_outside_the_mask_have_no_gradient(loss) -> None:
    predicted, target, mask = arrays()
    predicted.requires_grad_()
    loss(predicted, target, mask).backward()
    outside = ~mask.expand_as(target)
    assert not predicted.grad[outside].any()
    assert predicted.grad[~outside].all()


def test_an_empty_mask_gives_zero() -> None:
    predicted, target, mask = arrays()
    assert float(masked_mse(predicted, target, torch.zeros_like(mask))) == 0.0


def test_velocity_is_that_of_the_summed_trajectory() -> None:
    joints = torch.randn(3, 7, 22, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    steps = global_velocity(to_root_velocity(joints)[..., 1:, :])
    assert torch.allclose(steps, joints[:, 1:] - joints[:, :-1], atol=1e-12)
    again = from_root_velocity(to_root_velocity(joints))
    assert torch.allclose(steps, again[:, 1:] - again[:, :-1], atol=1e-12)
