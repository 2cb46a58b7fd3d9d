"""Two consecutive lifting pipelines: the result of the first is the initial guess of the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hmr4d.diffusion.requests import seeds_of
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.base import Pipeline
from hmr4d.motion.motion import MotionBatch


class GuidedPipeline(Pipeline):
    """A pipeline that takes initial guesses, combined with the pipeline that provides them.

    Args:
        pipeline: pipeline that takes guesses and returns the motion.
        guesser: single-camera pipeline for the same joints that estimates its errors.

    Raises:
        ValueError: the pipelines do not match.
    """

    def __init__(self, pipeline: Pipeline, guesser: Pipeline) -> None:
        super().__init__({**pipeline.about, "guess": guesser.about.get("model") or guesser.method})
        if not pipeline.uses_guess or guesser.uses_virtual_views:
            raise ValueError(f"{pipeline.method} does not take an initial guess of {guesser.method}. Remove the guess.")
        if guesser.skeleton != pipeline.input_skeleton or guesser.input_skeleton != pipeline.input_skeleton:
            raise ValueError(
                f"The guess has '{guesser.skeleton.name}' joints, but {pipeline.method} lifts "
                f"'{pipeline.input_skeleton.name}'. Choose another model for the guess, or remove it."
            )
        self.pipeline, self.guesser = pipeline, guesser
        self.method, self.fps, self.skeleton = pipeline.method, pipeline.fps, pipeline.skeleton  # type: ignore[misc]
        self.joint_convention, self.min_conf = pipeline.joint_convention, pipeline.min_conf
        self.foot_heights, self.uses_virtual_views = pipeline.foot_heights, pipeline.uses_virtual_views
        self.uses_depth = guesser.uses_depth

    def lift(
        self,
        kp2d: Tensor,
        conf: Tensor,
        rig: Rig,
        *,
        fps: float | None = None,
        lengths: Tensor | None = None,
        seed: int | Sequence[int] = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_samples: int = 1,
        num_inference_steps: int | None = None,
        depth: Tensor | None = None,
    ) -> MotionBatch:
        """Lifts as `Pipeline.lift`; each of several samples starts from its own guess."""
        rate = self.fps if fps is None else fps
        first = Rig(rig.size[..., :1, :], rig.K4[..., :1, :], rig.T_w2c[..., :1, :, :])
        hints: dict[str, Any] = {} if depth is None else {"depth": depth}
        seeds = seeds_of(seed, generator, len(kp2d), "tracks")
        guess = self.guesser.lift(
            kp2d, conf, first, fps=rate, lengths=lengths, seed=seeds, num_samples=num_samples, **hints
        )
        lifted = self.pipeline.lift(
            kp2d,
            conf,
            rig,
            fps=rate,
            lengths=lengths,
            seed=seeds,
            num_samples=num_samples,
            num_inference_steps=num_inference_steps,
            guess=guess,  # type: ignore[call-arg]
        )
        return replace(lifted, provenance=lifted.provenance.updated(guess=self.about["guess"]))
