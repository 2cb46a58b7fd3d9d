"""Noise schedule and single steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hmr4d.diffusion.schedule import NoiseSchedule
from tests.golden.vectors import assert_close, features, numbered, tensors


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    return NoiseSchedule(len(tensors("scheduler.npz")["betas"]))


def test_betas_and_levels(schedule: NoiseSchedule) -> None:
    data = tensors("scheduler.npz")
    assert_close("betas", schedule.betas, data["betas"], atol=1e-7)
    assert_close("cumulative alphas", schedule.alphas_cumprod, data["alphas_cumprod"], atol=1e-7)


@pytest.mark.parametrize("spacing", ["even", "published"])
def test_full_chain(schedule: NoiseSchedule, spacing: str) -> None:
    timesteps = tensors("scheduler.npz")["timesteps"].tolist()
    assert schedule.steps(len(timesteps), spacing) == [(t, t - 1) for t in timesteps]


def test_posterior_steps(schedule: NoiseSchedule) -> None:
    data = tensors("scheduler.npz")
    steps = numbered(data, r"step_(\d+)_prev")
    assert 0 in steps
    for t in steps:
        arguments = (features(data[name]) for name in ("x0", "xt"))
        got = schedule.posterior_step(*arguments, t, t - 1, features(data["view_noise"]))
        assert_close("posterior step", got, features(data[f"step_{t}_prev"]))


def test_add_noise(schedule: NoiseSchedule) -> None:
    data = tensors("scheduler.npz")
    got = schedule.add_noise(data["x0"], data["view_noise"], data["addnoise_t"])
    assert_close("forward noising", got, data["addnoise"])


@pytest.mark.parametrize("count", [2, 4, 7, 10, 20, 25, 50, 99])
def test_fewer_steps_in_published_spacing(schedule: NoiseSchedule, count: int) -> None:
    """Visits round(linspace(0, T - 1, n)) downwards and steps by T // n, with a level of one below zero."""
    T = schedule.num_steps
    visited = np.linspace(0, T - 1, count).round()[::-1].astype(int).tolist()
    steps = schedule.steps(count, "published")
    assert [t for t, _ in steps] == visited
    assert [max(t - T // count, -1) for t in visited] == [t_prev for _, t_prev in steps]

    levels = tensors("scheduler.npz")["alphas_cumprod"].double().numpy()
    x_0, x_t, noise = 0.3, -1.1, 0.7
    for t in visited:
        before = levels[t - T // count] if t - T // count >= 0 else 1.0
        alpha = levels[t] / before
        mean = math.sqrt(before) * (1 - alpha) * x_0 + math.sqrt(alpha) * (1 - before) * x_t
        variance = (1 - alpha) * (1 - before) / (1 - levels[t]) if t > 0 else 0.0
        expected = mean / (1 - levels[t]) + math.sqrt(variance) * noise
        arguments = (torch.tensor([value]) for value in (x_0, x_t))
        got = schedule.posterior_step(*arguments, t, max(t - T // count, -1), torch.tensor([noise]))
        assert_close("posterior step, fewer steps", got, np.array([expected]))
