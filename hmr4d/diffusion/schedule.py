"""Noise schedules and the single-step formulas, for a network that predicts the clean sample x_0.

Ho et al., "Denoising Diffusion Probabilistic Models", 2020, arXiv 2006.11239 (eq. 4, 7); Nichol and Dhariwal, "Improved
Denoising Diffusion Probabilistic Models", 2021, arXiv 2102.09672 (cosine schedule, eq. 17); Song et al., "Denoising
Diffusion Implicit Models", 2021, arXiv 2010.02502 (eq. 12).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

MAX_BETA = 0.999
MIN_VARIANCE = 1e-20


def cosine_betas(num_steps: int) -> Tensor:
    """(T,) float32: beta_i = min(1 - a((i + 1) / T) / a(i / T), 0.999), a(u) = cos^2((u + 0.008) / 1.008 * pi / 2)."""

    def level(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1.0 - level((i + 1) / num_steps) / level(i / num_steps), MAX_BETA) for i in range(num_steps)]
    return torch.tensor(betas, dtype=torch.float32)


def linear_betas(num_steps: int, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """(T,) float32, evenly spaced from `first` to `last`."""
    return torch.linspace(first, last, num_steps, dtype=torch.float32)


SPACINGS = ("even", "quadratic", "published")
BETAS = {"cosine": cosine_betas, "linear": linear_betas}


class NoiseSchedule(nn.Module):
    """A discrete variance-preserving noise schedule of T steps.

    Args:
        num_steps: T.
        kind: "cosine" or "linear".
    """

    betas: Tensor
    alphas_cumprod: Tensor

    def __init__(self, num_steps: int = 100, kind: str = "cosine") -> None:
        super().__init__()
        if kind not in BETAS:
            raise ValueError(f"Unknown noise schedule '{kind}'; known: {sorted(BETAS)}.")
        if num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}; a schedule needs at least one step.")
        self.num_steps, self.kind = num_steps, kind
        betas = BETAS[kind](num_steps)
        self.register_buffer("betas", betas, persistent=False)
        self.register_buffer("alphas_cumprod", torch.cumprod(1.0 - betas, 0), persistent=False)

    def steps(self, num_inference_steps: int, spacing: str = "even") -> list[tuple[int, int]]:
        """Pairs (t, t_prev) to visit, from noise to data; t_prev = -1 is the clean sample.

        Args:
            num_inference_steps: n <= T.
            spacing: "even" visits round(linspace(0, T - 1, n)) downwards and steps to the next visited t, ending at -1;
                "quadratic" visits round((T - 1) (1 - (i / (n - 1))^2)), each t once at most, so most steps are noisy
                ones; "published" visits the t of "even" but always steps by T // n, as the released sampler does. For
                n = T all are the full chain.
        """
        if not 1 <= num_inference_steps <= self.num_steps:
            raise ValueError(
                f"num_inference_steps is {num_inference_steps}; the schedule has {self.num_steps} steps. Choose 1 to "
                f"{self.num_steps}."
            )
        if spacing not in SPACINGS:
            raise ValueError(f"Unknown step spacing '{spacing}'; known: {', '.join(map(repr, SPACINGS))}.")
        if num_inference_steps == 1:
            return [(self.num_steps - 1, -1)]
        last = self.num_steps - 1
        visited = np.linspace(0, last, num_inference_steps).round().astype(int)[::-1].tolist()
        if spacing == "quadratic":
            visited = _quadratic(last, num_inference_steps)
        if spacing == "published":
            stride = self.num_steps // num_inference_steps
            return [(t, max(t - stride, -1)) for t in visited]
        return list(zip(visited, [*visited[1:], -1], strict=True))

    def alpha_bar(self, t: int | Tensor, like: Tensor) -> Tensor:
        """Cumulative signal variance at steps t (B,), or () at one step; 1 at t = -1.

        Device and dtype are those of `like` (B, ...), and the shape (B, 1, ..., 1) broadcasts to it.
        """
        index = torch.as_tensor(t, device=self.alphas_cumprod.device)
        value = torch.where(index < 0, torch.ones_like(self.betas[0]), self.alphas_cumprod[index.clamp(min=0)])
        return value.to(like).reshape(value.shape + (1,) * (like.ndim - value.ndim)) if value.ndim else value.to(like)

    def add_noise(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps; t (B,) along the first axis of x_0."""
        level = self.alpha_bar(t, x_0)
        return level.sqrt() * x_0 + (1.0 - level).sqrt() * eps

    def posterior_step(self, x_0: Tensor, x_t: Tensor, t: int, t_prev: int, noise: Tensor) -> Tensor:
        """Draws x_{t_prev} from q(x_{t_prev} | x_t, x_0) with given standard normal `noise` (unused at t = 0)."""
        level, level_prev = self.alpha_bar(t, x_t), self.alpha_bar(t_prev, x_t)
        alpha = level / level_prev
        beta = 1.0 - alpha
        mean = (level_prev.sqrt() * beta * x_0 + alpha.sqrt() * (1.0 - level_prev) * x_t) / (1.0 - level)
        if t == 0:
            return mean
        variance = (beta * (1.0 - level_prev) / (1.0 - level)).clamp(min=MIN_VARIANCE)
        return mean + variance.sqrt() * noise

    def ddim_step(self, x_0: Tensor, x_t: Tensor, t: int, t_prev: int, noise: Tensor, eta: float = 0.0) -> Tensor:
        """Deterministic (eta = 0) to ancestral (eta = 1) implicit step from t to t_prev."""
        level, level_prev = self.alpha_bar(t, x_t), self.alpha_bar(t_prev, x_t)
        eps = (x_t - level.sqrt() * x_0) / (1.0 - level).sqrt()
        sigma = eta * ((1.0 - level_prev) / (1.0 - level) * (1.0 - level / level_prev)).clamp(min=0.0).sqrt()
        direction = (1.0 - level_prev - sigma**2).clamp(min=0.0).sqrt() * eps
        return level_prev.sqrt() * x_0 + direction + sigma * noise


def from_step(steps: list[tuple[int, int]], first: int) -> list[tuple[int, int]]:
    """The end of a run (pairs of `NoiseSchedule.steps`) that starts at noise step `first`, which it need not visit."""
    later = [pair for pair in steps if pair[0] <= first]
    if later and later[0][0] == first:
        return later
    return [(first, later[0][0] if later else -1), *later]


def _quadratic(last: int, count: int) -> list[int]:
    """`count` different whole numbers from `last` down to 0, near last (1 - (i / (count - 1))^2)."""
    places = (last * (1.0 - np.linspace(0.0, 1.0, count) ** 2)).round().astype(int)
    ranks = np.arange(count)
    different = np.minimum.accumulate(places + ranks) - ranks
    return np.maximum(different, ranks[::-1]).tolist()
