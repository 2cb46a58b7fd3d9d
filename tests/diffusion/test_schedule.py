"""Noise schedule and steps against formulas written by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.diffusion.schedule import MAX_BETA, SPACINGS, NoiseSchedule, cosine_betas, linear_betas

JUMPS = [(99, 98), (60, 59), (1, 0), (99, 66), (50, 20), (9, -1), (0, -1)]


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    return NoiseSchedule(100)


def levels(schedule: NoiseSchedule, *steps: int) -> list[float]:
    """Cumulative signal variances from the betas, in double precision."""
    cumulative = np.cumprod(1.0 - schedule.betas.double().numpy())
    return [1.0 if t < 0 else float(cumulative[t]) for t in steps]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cosine_betas_by_hand() -> None:
    T = 50
    level = [math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(T + 1)]
    expected = [min(1 - level[i + 1] / level[i], MAX_BETA) for i in range(T)]
    assert np.allclose(cosine_betas(T).numpy(), expected, rtol=1e-6)


def test_linear_betas_by_hand() -> None:
    assert torch.allclose(linear_betas(3, 0.1, 0.3), torch.tensor([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_levels_fall_from_signal_to_noise(kind: str) -> None:
    cumulative = NoiseSchedule(1000, kind).alphas_cumprod
    assert (cumulative.diff() < 0).all()
    assert cumulative[0] > 0.999
    assert cumulative[-1] < 1e-3


@pytest.mark.parametrize(("t", "t_prev"), JUMPS)
def test_posterior_is_bayes_rule(schedule: NoiseSchedule, t: int, t_prev: int) -> None:
    """q(x_prev | x_t, x_0) from the prior N(sqrt(b) x_0, 1 - b) and the likelihood N(x_t; sqrt(a) x_prev, 1 - a)."""
    level, before = levels(schedule, t, t_prev)
    alpha = level / before
    x_0, x_t, noise = draw(50, seed=1), draw(50, seed=2), draw(50, seed=3)
    if before == 1.0:
        mean, variance = x_0.numpy(), 0.0
    else:
        precision = 1 / (1 - before) + alpha / (1 - alpha)
        variance = 1 / precision
        mean = variance * (math.sqrt(before) / (1 - before) * x_0 + math.sqrt(alpha) / (1 - alpha) * x_t).numpy()
    got = schedule.posterior_step(x_0, x_t, t, t_prev, noise)
    assert np.allclose(got, mean + math.sqrt(variance) * noise.numpy(), atol=1e-4)


@pytest.mark.parametrize(("t", "t_prev"), JUMPS)
def test_ancestral_implicit_step_is_the_posterior_step(schedule: NoiseSchedule, t: int, t_prev: int) -> None:
    x_0, x_t, noise = draw(50, seed=1), draw(50, seed=2), draw(50, seed=3)
    implicit = schedule.ddim_step(x_0, x_t, t, t_prev, noise, eta=1.0)
    assert torch.allclose(implicit, schedule.posterior_step(x_0, x_t, t, t_prev, noise), atol=1e-5)


@pytest.mark.parametrize(("t", "t_prev"), JUMPS)
def test_deterministic_step_keeps_the_noise_direction(schedule: NoiseSchedule, t: int, t_prev: int) -> None:
    level, before = levels(schedule, t, t_prev)
    x_0, eps = draw(50, seed=1), draw(50, seed=2)
    x_t = math.sqrt(level) * x_0 + math.sqrt(1 - level) * eps
    got = schedule.ddim_step(x_0, x_t, t, t_prev, torch.full_like(x_0, 1e9))
    assert torch.allclose(got, math.sqrt(before) * x_0 + math.sqrt(1 - before) * eps, atol=1e-4)


def test_a_step_to_itself_stays(schedule: NoiseSchedule) -> None:
    x_0, x_t = draw(20, seed=1), draw(20, seed=2)
    assert torch.allclose(schedule.ddim_step(x_0, x_t, 40, 40, torch.zeros(20)), x_t, atol=1e-6)


def test_noise_is_added_per_sample(schedule: NoiseSchedule) -> None:
    x_0, eps, t = draw(3, 2, 5, 4), draw(3, 2, 5, 4, seed=1), torch.tensor([0, 42, 99])
    got = schedule.add_noise(x_0, eps, t)
    for b, level in enumerate(levels(schedule, *t.tolist())):
        assert torch.allclose(got[b], math.sqrt(level) * x_0[b] + math.sqrt(1 - level) * eps[b], atol=1e-5)


def test_one_step_after_the_other_is_one_long_step_of_noise(schedule: NoiseSchedule) -> None:
    """Noising to t and on to t + 1 by beta has the level of t + 1."""
    level, after = levels(schedule, 41, 42)
    beta = float(schedule.betas[42])
    assert (1 - beta) * level == pytest.approx(after, rel=1e-6)
    assert (1 - beta) * (1 - level) + beta == pytest.approx(1 - after, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_keep_the_dtype(schedule: NoiseSchedule, dtype: torch.dtype) -> None:
    x = torch.ones(2, 3, dtype=dtype)
    assert schedule.posterior_step(x, x, 5, 4, x).dtype == dtype
    assert schedule.ddim_step(x, x, 5, 4, x).dtype == dtype
    assert schedule.add_noise(x, x, torch.tensor([1, 2])).dtype == dtype


@pytest.mark.parametrize("count", [1, 2, 3, 10, 33, 99, 100])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_visited_steps(schedule: NoiseSchedule, count: int, spacing: str) -> None:
    steps = schedule.steps(count, spacing)
    visited = [t for t, _ in steps]
    assert len(steps) == count
    assert visited[0] == 99
    assert all(a > b for a, b in zip(visited, visited[1:], strict=False))
    assert all(-1 <= t_prev < t for t, t_prev in steps)
    assert steps[-1][1] == -1
    if spacing != "published":
        assert [t_prev for _, t_prev in steps[:-1]] == visited[1:]
        gaps = -np.diff(visited)
        assert count < 3 or spacing == "quadratic" or gaps.max() - gaps.min() <= 1
    assert sum(t_prev < 0 for _, t_prev in steps) == 1, "only the last step ends at the data"


@pytest.mark.parametrize(
    ("count", "visited"),
    [
        (2, [99, 0]),
        (3, [99, 74, 0]),
        (4, [99, 88, 55, 0]),
        (6, [99, 95, 83, 63, 36, 0]),
        (12, [99, 98, 96, 92, 86, 79, 70, 59, 47, 33, 17, 0]),
    ],
)
def test_quadratic_spacing_dwells_on_noisy_steps(schedule: NoiseSchedule, count: int, visited: list[int]) -> None:
    assert [t for t, _ in schedule.steps(count, "quadratic")] == visited


def test_wrong_requests_give_the_possible_values(schedule: NoiseSchedule) -> None:
    for count in (0, -1, 101):
        with pytest.raises(ValueError, match=f"is {count}; the schedule has 100 steps. Choose 1 to 100"):
            schedule.steps(count)
    with pytest.raises(ValueError, match="'odd'.*'even', 'quadratic', 'published'"):
        schedule.steps(10, "odd")
    with pytest.raises(ValueError, match="'quadratic'.*cosine"):
        NoiseSchedule(100, "quadratic")
    with pytest.raises(ValueError, match="num_steps is 0"):
        NoiseSchedule(0)


def test_schedule_is_not_in_checkpoints(schedule: NoiseSchedule) -> None:
    assert schedule.state_dict() == {}


def test_a_schedule_of_one_step_goes_from_noise_to_data() -> None:
    assert NoiseSchedule(1).steps(1) == [(0, -1)]
    with pytest.raises(ValueError, match="num_steps is 0; a schedule needs at least one step"):
        NoiseSchedule(0)


def test_signal_is_whole_before_the_first_step_alone(schedule: NoiseSchedule) -> None:
    like = torch.zeros(3, 1, dtype=torch.float64)
    got = schedule.alpha_bar(torch.tensor([-1, 0, 5]), like)
    assert got[:, 0].tolist() == pytest.approx(levels(schedule, -1, 0, 5), abs=1e-6)
    assert got[1, 0] < 1.0 and float(schedule.alpha_bar(0, like)) == pytest.approx(levels(schedule, 0)[0], abs=1e-6)
