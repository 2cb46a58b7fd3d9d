"""What one prediction of a Motion-2-to-3 model explains at each noise step, and how much movement sampling keeps.

Both are measured on one batch of training windows, in the codec's 2D features: how they vary over time, item by item.
Sampling starts from the true window with the noise of a step; from the last step it starts from noise alone.

    python benchmarks/noisy_steps.py exp=motion2to3/everyday --model motion2to3-everyday
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

from hmr4d import load_pipeline
from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import build

PREDICTED_FROM = (99, 90, 75, 60, 30, 10)
SAMPLED_FROM = (99, 98, 95, 89, 60)


def main() -> None:
    known = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    known.add_argument("overrides", nargs="*", help="of a training, such as exp=motion2to3/everyday")
    known.add_argument("--model", default="motion2to3-everyday")
    known.add_argument("--items", type=int, default=40)
    known.add_argument("--steps", type=int, default=20)
    args = known.parse_args()
    pipeline: Any = load_pipeline(args.model)
    pipeline.eval()
    _, data, _ = build(compose_config([*args.overrides, "data.num_workers=0"]))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    batch = {k: v[: args.items] for k, v in batch.items()}
    with torch.no_grad():
        measure(pipeline, batch, args.steps)


def measure(pipeline: Any, batch: dict[str, Any], num_steps: int) -> None:
    """Prints both tables."""
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    x_0, schedule = pipeline.codec.encode(batch["joints2d"]), pipeline.schedule
    valid = batch["valid"][:, None, :, None]
    conditions = pipeline._text_inputs(pipeline._batch_text(batch))
    cam = pipeline._training_cam(batch)

    def over_time(x: Tensor) -> Tensor:
        """Deviations from the mean over the valid frames."""
        return (x - (x * valid).sum(2, keepdim=True) / valid.sum(2, keepdim=True)) * valid

    def predict(x_t: Tensor, t: int) -> Tensor:
        step = torch.full((len(x_t),), t)
        return pipeline.denoiser(x_t, step, lengths=batch["lengths"], cam=cam, **conditions).float()

    true = over_time(x_0)
    print("| step | explained variance over time |\n| --- | --- |")
    for t in PREDICTED_FROM:
        left = over_time(predict(schedule.add_noise(x_0, draws.eps, torch.tensor(t)), t)) - true
        print(f"| {t} | {1 - float(left.square().sum() / true.square().sum()):.2f} |", flush=True)
    print("\n| spacing | from step | standard deviation over time, relative to the window |\n| --- | --- | --- |")
    for spacing in ("even", "quadratic"):
        all_steps = schedule.steps(num_steps, spacing)
        starts = {max(t for t, _ in all_steps if t <= first) for first in SAMPLED_FROM}
        for first in sorted(starts, reverse=True):
            steps = [(t, t_prev) for t, t_prev in all_steps if t <= first]
            x = draws.eps if first == 99 else schedule.add_noise(x_0, draws.eps, torch.tensor(steps[0][0]))
            for t, t_prev in steps:
                x = schedule.ddim_step(predict(x, t), x, t, t_prev, x)
            ratio = float(over_time(x).square().sum() / true.square().sum()) ** 0.5
            print(f"| {spacing} | {steps[0][0]} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
