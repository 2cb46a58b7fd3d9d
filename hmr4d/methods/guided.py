"""Two lifting pipelines in a row: what the first one lifts is the first guess of the second one."""

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
    """A pipeline that takes guesses, with another one that makes them. The motion is that of the first.

    Args:
        pipeline: takes guesses.
        guesser: lifts the same joints with one camera, and says how sure it is.

    Raises:
        ValueError: the two do not go together.
    """

    def __init__(self, pipeline: Pipeline, guesser: Pipeline) -> None:
        super().__init__({**pipeline.about, "guess": guesser.about.get("model") or guesser.method})
        if not pipeline.uses_guess or guesser.uses_virtual_views:
            raise ValueError(
                f"{pipeline.method} does not take what {guesser.method} lifts for its first guess. Leave the guess out."
            )
        if guesser.skeleton != pipeline.input_skeleton or guesser.input_skeleton != pipeline.input_skeleton:
            raise ValueError(
                f"The guess is of '{guesser.skeleton.name}' joints, but {pipeline.method} lifts "
                f"'{pipeline.input_skeleton.name}'. Choose another model for the guess, or leave it out."
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
        """As the pipeline; of several samples each begins from a guess of its own."""
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
