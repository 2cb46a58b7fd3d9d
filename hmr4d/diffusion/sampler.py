"""The one sampling loop: predict x_0, let a stage correct it, step towards the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from hmr4d.diffusion.noise import NoiseSource

Predict = Callable[[Tensor, int], Tensor]
Correct = Callable[[Tensor, int, bool], Tensor]
Step = Callable[[Tensor, Tensor, int, int, Tensor], Tensor]


def sample(
    *,
    steps: Iterable[tuple[int, int]],
    noise: NoiseSource,
    predict: Predict,
    step: Step,
    correct: Correct | None = None,
    begin: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The clean sample of the last step.

    Args:
        steps: pairs (t, t_prev) from noise to data, see `NoiseSchedule.steps`.
        noise: called once for x_T and once in every step.
        predict: (x_t, t) -> x_0.
        step: (x_0, x_t, t, t_prev, noise) -> x_{t_prev}; a bound method of `NoiseSchedule`.
        correct: (x_0, t, is_last) -> x_0, for example a projection to consistent views.
        begin: makes the first x_t of the first noise; None: it is the noise.
    """
    x_t = noise() if begin is None else begin(noise())
    x_0 = x_t
    for t, t_prev in steps:
        x_0 = predict(x_t, t)
        if correct is not None:
            x_0 = correct(x_0, t, t_prev < 0)
        x_t = step(x_0, x_t, t, t_prev, noise())
    return x_0


def guide(conditional: Tensor, unconditional: Tensor, guidance_scale: float) -> Tensor:
    """Classifier-free guidance u + s (c - u): Ho and Salimans 2022, arXiv 2207.12598."""
    return unconditional + guidance_scale * (conditional - unconditional)
