"""The sampling loop: order of calls, and the distribution it ends in where that is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.diffusion.sampler import guide, sample
from hmr4d.diffusion.schedule import NoiseSchedule
from tests.diffusion.recorded_noise import RecordedNoise

MEAN, STD = 0.7, 0.4


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    return NoiseSchedule(100)


class SeededNoise:
    """Normal arrays of one shape."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.shape, self.generator, self.calls = shape, torch.Generator().manual_seed(seed), 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return torch.randn(*self.shape, generator=self.generator, dtype=torch.float64)


def ideal_prediction(schedule: NoiseSchedule) -> Callable[[Tensor, int], Tensor]:
    """E[x_0 | x_t] for data N(MEAN, STD^2)."""

    def predict(x_t: Tensor, t: int) -> Tensor:
        level = float(schedule.alphas_cumprod[t])
        gain = math.sqrt(level) * STD**2 / (level * STD**2 + 1 - level)
        return MEAN + gain * (x_t - math.sqrt(level) * MEAN)

    return predict


def predicted_spread(schedule: NoiseSchedule, steps: list[tuple[int, int]], eta: float) -> tuple[float, float]:
    """Mean and variance at the end by following the linear recursion of an implicit step with the ideal prediction."""
    cumulative = np.cumprod(1.0 - schedule.betas.double().numpy())
    mean, variance = 0.0, 1.0
    for t, t_prev in steps:
        level = cumulative[t]
        before = cumulative[t_prev] if t_prev >= 0 else 1.0
        gain = math.sqrt(level) * STD**2 / (level * STD**2 + 1 - level)
        offset = MEAN - gain * math.sqrt(level) * MEAN
        sigma2 = eta**2 * (1 - before) / (1 - level) * (1 - level / before)
        along = math.sqrt(max(1 - before - sigma2, 0.0)) / math.sqrt(1 - level)
        slope = math.sqrt(before) * gain + along * (1 - math.sqrt(level) * gain)
        constant = (math.sqrt(before) - along * math.sqrt(level)) * offset
        if t_prev < 0:
            return offset + gain * mean, gain**2 * variance
        mean, variance = slope * mean + constant, slope**2 * variance + sigma2
    raise AssertionError("the last step must end at the data")


@pytest.mark.parametrize("count", [100, 20, 5])
@pytest.mark.parametrize(("name", "eta"), [("posterior_step", 1.0), ("ddim_step", 0.0)])
def test_gaussian_data(schedule: NoiseSchedule, count: int, name: str, eta: float) -> None:
    """A perfect network for Gaussian data: the samples have the moments that the recursion gives."""
    steps = schedule.steps(count)
    noise = SeededNoise(40_000)
    got = sample(steps=steps, noise=noise, predict=ideal_prediction(schedule), step=getattr(schedule, name))
    mean, variance = predicted_spread(schedule, steps, eta)
    assert float(got.mean()) == pytest.approx(mean, abs=5 * STD / 200)
    assert float(got.var()) == pytest.approx(variance, rel=0.04)
    if count == 100:
        assert mean == pytest.approx(MEAN, abs=0.01)
        assert math.sqrt(variance) == pytest.approx(STD, rel=0.05)


@pytest.mark.parametrize("name", ["posterior_step", "ddim_step"])
def test_known_data_is_reached_from_anywhere(schedule: NoiseSchedule, name: str) -> None:
    target = torch.linspace(-2, 2, 7, dtype=torch.float64)
    got = sample(
        steps=schedule.steps(100), noise=SeededNoise(7), predict=lambda x, t: target, step=getattr(schedule, name)
    )
    assert torch.equal(got, target)


def test_same_noise_same_sample(schedule: NoiseSchedule) -> None:
    runs = [
        sample(
            steps=schedule.steps(50),
            noise=SeededNoise(6, seed=seed),
            predict=ideal_prediction(schedule),
            step=schedule.posterior_step,
        )
        for seed in (3, 3, 4)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])


def test_order_of_calls(schedule: NoiseSchedule) -> None:
    seen: list[tuple] = []

    def predict(x_t: Tensor, t: int) -> Tensor:
        seen.append(("predict", t))
        return x_t

    def correct(x_0: Tensor, t: int, is_last: bool) -> Tensor:
        seen.append(("correct", t, is_last))
        return x_0 + 1

    def step(x_0: Tensor, x_t: Tensor, t: int, t_prev: int, noise: Tensor) -> Tensor:
        seen.append(("step", t, t_prev))
        return x_0

    noise = SeededNoise(3)
    got = sample(steps=[(9, 4), (4, -1)], noise=noise, predict=predict, step=step, correct=correct)
    assert seen == [
        ("predict", 9),
        ("correct", 9, False),
        ("step", 9, 4),
        ("predict", 4),
        ("correct", 4, True),
        ("step", 4, -1),
    ]
    assert noise.calls == 3, "once for the start and once a step"
    start = SeededNoise(3)()
    assert torch.allclose(got, start + 2), "the result is the corrected prediction of the last step"


def test_guidance_is_a_line_through_both_predictions() -> None:
    conditional, unconditional = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0])
    assert torch.equal(guide(conditional, unconditional, 1.0), conditional)
    assert torch.equal(guide(conditional, unconditional, 0.0), unconditional)
    assert torch.equal(guide(conditional, unconditional, 3.0), torch.tensor([2.0, -2.0]))


def test_recorded_noise_runs_out_loudly() -> None:
    noise = RecordedNoise([torch.zeros(1), torch.ones(1)])
    assert torch.equal(noise(), torch.zeros(1))
    assert torch.equal(noise(), torch.ones(1))
    with pytest.raises(IndexError, match="used up"):
        noise()
