"""Sampling of one window of a track: a loop of denoising, triangulation and reprojection."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from hmr4d.diffusion.noise import NoiseSource
from hmr4d.diffusion.sampler import sample
from hmr4d.diffusion.schedule import NoiseSchedule, from_step
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.drawn_views import observe, reproject
from hmr4d.methods.mocap2to3.guess import Guess
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.methods.mocap2to3.values import CameraInputs, Lifted, Track, ViewCodec
from hmr4d.motion.tracks import join
from hmr4d.representation.world_joints import WorldJointsCodec
from hmr4d.utils.progress import progress


class SampledModel(Protocol):
    """Interface: the parts of a pipeline that the sampling loop uses; `Mocap2to3Pipeline` describes them."""

    denoiser: LiftingDenoiser
    codec: ViewCodec
    world_codec: WorldJointsCodec | None
    schedule: NoiseSchedule

    def contact_features(self, rig: Rig, pixels: Tensor, seen: Tensor, guess: Tensor | None = None) -> Tensor | None:
        """Features (B, V, L, C) of foot contacts from pixels (B, L, J, 2) that are `seen` (B, L, J); None: not used."""
        ...

    def first_guess(self, rig: Rig, pixels: Tensor, seen: Tensor) -> Tensor:
        """Motion (B, L, J, 3), meters, world of the rig, from which the robust triangulation starts."""
        ...

    def in_world(
        self, x_0: Tensor, rig: Rig, track: Track, options: LiftSamplingOptions, prior: Tensor | None
    ) -> Lifted:
        """The 3D motion of the clean features x_0 (B, V, L, D) of all views."""
        ...


class WindowSampler:
    """Samples the views of one window and lifts it; its methods are the stages of the loop.

    The loop is multi-view ancestral sampling (Kapon et al., "MAS", CVPR 2024, arXiv 2310.14729), conditioned on the
    observation of view 0. A network that regresses 3D motion, with a `world_codec`, takes no part in the reprojection.

    Args:
        pipeline: network, codec and schedule.
        inputs: camera inputs.
        track: observed motion at the frame rate of the network.
        options: sampling options.
        before: (B, N, J, 3) motion of the first N frames from the previous window; the result is blended with it.
        guess: motion that another method has lifted; sampling of the views starts from it plus noise. A network that
            regresses 3D motion gets it as an input, and its result is blended with it.
    """

    def __init__(
        self,
        pipeline: SampledModel,
        inputs: CameraInputs,
        track: Track,
        options: LiftSamplingOptions,
        before: Tensor | None = None,
        guess: Guess | None = None,
    ) -> None:
        self.pipeline, self.inputs, self.track, self.options = pipeline, inputs, track, options
        self.before, self.guess, self.rig = before, guess, inputs.rig
        seen, guessed = track.seen(options.min_conf), None if guess is None else guess.joints3d
        self.contacts = pipeline.contact_features(self.rig, track.pixels, seen, guessed)
        self.condition2d = None
        if pipeline.denoiser.num_condition_features:
            self.condition2d = pipeline.codec.encode_condition(track.pixels, self.rig.size[:, 0], seen)
        self.steps = pipeline.schedule.steps(options.num_inference_steps)
        self.starts_from_guess = guess is not None and pipeline.world_codec is None
        if self.starts_from_guess:
            last = options.guess_noise * (pipeline.schedule.num_steps - 1)
            self.steps = [step for step in self.steps if step[0] <= last] or from_step(self.steps, round(last))
        self.free = {t for t, _ in self.steps[: round(options.free_share * len(self.steps))]}
        self.prior = pipeline.first_guess(self.rig, track.pixels, seen) if guessed is None else guessed
        self.lifted: Lifted | None = None

    @torch.no_grad()
    def run(self, noise: NoiseSource) -> Lifted:
        """The lifted window; `noise` (B, V, L, D) is x_T, then one array per step."""
        schedule = self.pipeline.schedule
        sample(
            steps=progress(self.steps, "lifting", unit="step"),
            noise=noise,
            predict=self.predict,
            step=schedule.ddim_step if self.options.step == "ddim" else schedule.posterior_step,
            correct=self.correct,
            begin=self.begin,
        )
        assert self.lifted is not None
        return self.lifted

    def begin(self, eps: Tensor) -> Tensor:
        """The first x_t (B, V, L, D): the noise `eps` of this shape, or the reprojected guess plus noise."""
        if self.guess is None or not self.starts_from_guess:
            return eps
        views = reproject(self.guess.joints3d, torch.zeros_like(eps), self.pipeline.codec, self.rig)
        first = torch.full((len(eps),), self.steps[0][0], device=eps.device)
        return self.pipeline.schedule.add_noise(views, eps, first)

    def predict(self, x_t: Tensor, t: int) -> Tensor:
        """The network's x_0 (B, V, L, D)."""
        return self.pipeline.denoiser(
            x_t,
            torch.tensor(t, device=x_t.device),
            lengths=self.track.lengths,
            cam=self.inputs.cam,
            memory=self.inputs.memory,
            condition2d=self.condition2d,
            contacts=self.contacts,
        ).float()

    def correct(self, x_0: Tensor, t: int, is_last: bool) -> Tensor:
        """x_0 (B, V, L, D) with the observation in view 0 and, in consistent steps, moved to views of one 3D motion."""
        draws_views = self.pipeline.world_codec is None
        if draws_views:
            x_0 = self._observed(x_0)
        guided = self.options.consistency > 0 and t not in self.free and draws_views
        if not (guided or is_last):
            return x_0
        self.lifted = self._lift(x_0)
        if not guided:
            return x_0
        y = reproject(self.lifted.joints3d, x_0, self.pipeline.codec, self.rig)
        return self._observed(x_0 + self.options.consistency * (y - x_0))

    def _observed(self, x_0: Tensor) -> Tensor:
        return observe(x_0, self.pipeline.codec, self.rig, self.track, self.options)

    def _lift(self, x_0: Tensor) -> Lifted:
        """World motion of a prediction, led by the guess and blended with the previous window."""
        prior = self.prior if self.lifted is None else self.lifted.joints3d
        found = self.pipeline.in_world(x_0, self.rig, self.track, self.options, prior)
        if self.guess is not None:
            found = replace(found, joints3d=self.guess.led(found.joints3d))
        if self.before is not None:
            common = self.before.shape[1]
            start = join(self.before, found.joints3d[:, :common])
            found = replace(found, joints3d=torch.cat([start, found.joints3d[:, common:]], 1))
        return found
