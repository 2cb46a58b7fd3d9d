"""Motion-2-to-3: text to 2D motion in one or several views, lifted to 3D by triangulation.

The pipeline is a plain module without trainer or configuration: `training_loss` for training, `sample` for inference.
The method is that of Guo et al., "Motion-2-to-3: Leveraging 2D Motion Data for 3D Motion Generation", ICCV 2025, arXiv
2412.13111. docs/motion2to3.md lists the deviations of this implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from hmr4d.body.joint_conventions import convention_metadata, convention_of
from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.diffusion.noise import IndependentNoise, NoiseSource, WorldNoise
from hmr4d.diffusion.requests import fitting, seeds_of
from hmr4d.diffusion.sampler import guide, sample
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.geometry.cameras import square_intrinsics
from hmr4d.methods.base import Pipeline
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.finishing import finish_motion, in_camera_world, in_prompt_order, replace_motions
from hmr4d.methods.motion2to3.losses import loss_terms
from hmr4d.methods.motion2to3.options import SamplingOptions, TrainingOptions
from hmr4d.methods.motion2to3.patch_denoiser import PatchDenoiser
from hmr4d.methods.motion2to3.reference import ReferenceStart, path_weight, reference_local, with_path
from hmr4d.methods.motion2to3.text_inputs import drop_text, text_inputs
from hmr4d.methods.motion2to3.training_draws import draw_training
from hmr4d.methods.motion2to3.values import Conditions, TrainingDraws, ViewsSample, views_of
from hmr4d.motion.motion import Motion, MotionBatch, Provenance, joined_licences
from hmr4d.nn.action_index import ACTION_AGREEMENT, DRAW
from hmr4d.nn.text import TextEncoder, TextFeatures
from hmr4d.nn.text_adapter import TextAdapter
from hmr4d.representation.motion2d import Motion2DCodec
from hmr4d.representation.root_velocity import normalize_height
from hmr4d.representation.views import PATCH, embed_views
from hmr4d.utils.progress import progress
from hmr4d.utils.prompts import check_prompts, check_seconds
from hmr4d.utils.randomness import ItemRandom, mix_seed

Denoiser = MotionDenoiser | PatchDenoiser
MAX_TOKENS = 40_000  # frames times views per batch; about 1 GB with the published network


class Motion2to3Pipeline(Pipeline):
    """The algorithm with its denoiser, codec, schedule and text encoder.

    Args:
        denoiser: network; multi-view if its `use_views` is set, otherwise single-view. Also a function that builds it
            from `num_features`.
        text_adapter: maps the pooled text vector for networks that take tokens and pooled text; None: identity.
        codec: feature codec of the motion.
        schedule: noise schedule.
        text_encoder: text encoder; None requires batches with text features.
        sampling, training: options.
        rig: cameras for sampling.
        relative_cameras: whether camera embeddings are relative to view 0.
        use_pooled_token: use the pooled text vector, scaled to unit variance, as the first token of the memory.
        fps: frames per second of the motion.
        max_seconds, min_seconds: range of durations of `sample`.
        joint_convention: joint convention of the training motion, see `body.joint_conventions`.
        about: metadata of its motions: `model`, and the `licence` of the training motion. None values are omitted.
        meters_per_unit: meters per box unit of the training motion; None: varies between clips.
    """

    method = "motion2to3"

    def __init__(
        self,
        denoiser: Denoiser | Callable[..., Denoiser],
        codec: Motion2DCodec,
        schedule: NoiseSchedule,
        *,
        text_adapter: TextAdapter | str | Path | None = None,
        text_encoder: TextEncoder | None = None,
        sampling: SamplingOptions | None = None,
        training: TrainingOptions | None = None,
        rig: OrbitRig | None = None,
        relative_cameras: bool = True,
        use_pooled_token: bool = False,
        fps: float = 30.0,
        min_seconds: float = 1.0,
        max_seconds: float = 10.0,
        joint_convention: str | None = None,
        about: Mapping[str, str | None] | None = None,
        meters_per_unit: float | None = None,
    ) -> None:
        super().__init__(about)
        if isinstance(denoiser, nn.Module):
            network = cast(Denoiser, denoiser)
        else:
            network = denoiser(num_features=codec.num_features)
        if codec.num_features != network.num_features:
            raise ValueError(
                f"Statistics '{codec.statistics.name}' have {codec.num_features} features, the network has "
                f"{network.num_features}. Choose statistics and network of the same representation."
            )
        measured = codec.statistics.fps
        if measured and measured != fps:
            raise ValueError(
                f"Statistics '{codec.statistics.name}' were measured at {measured:g} frames per second, the pipeline "
                f"has {fps:g}. Choose motion.fps={measured:g} or statistics of that rate."
            )
        self.denoiser, self.codec, self.schedule = network, codec, schedule
        self.text_adapter = TextAdapter.load(text_adapter) if isinstance(text_adapter, (str, Path)) else text_adapter
        self._text_encoder = [text_encoder]  # in a list, so that it is not part of the state dict
        self._null_text: TextFeatures | None = None
        self.sampling, self.training_options = sampling or SamplingOptions(), training or TrainingOptions()
        self.rig, self.relative_cameras = rig or OrbitRig(), relative_cameras
        self.use_pooled_token = use_pooled_token
        self.fps, self.min_seconds, self.max_seconds = fps, min_seconds, max_seconds
        self.joint_convention = convention_of(convention_metadata(joint_convention))
        self.meters_per_unit = meters_per_unit

    @property
    def device(self) -> torch.device:
        return self.denoiser.embed_motion.weight.device

    # --- text ------------------------------------------------------------------------------------------------------

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The text encoder; None if batches contain text features."""
        return self._text_encoder[0]

    def encode_text(self, texts: list[str]) -> TextFeatures:
        """Text features of prompts on the device of the pipeline. Raises RuntimeError without a text encoder."""
        return super().encode_text(texts).to(self.device)

    def set_null_text(self, features: TextFeatures) -> None:
        """Sets the text features of the empty prompt (batch size 1); training then needs no text encoder."""
        self._null_text = features

    def null_text(self) -> TextFeatures:
        """Text features of the empty prompt (batch size 1), encoded once."""
        if self._null_text is None:
            self._null_text = self.encode_text([""])
        return self._null_text.to(self.device)

    def _text_inputs(self, text: TextFeatures) -> dict[str, Tensor]:
        return text_inputs(
            text, self.denoiser.text_mode, use_pooled_token=self.use_pooled_token, adapter=self.text_adapter
        )

    # --- training --------------------------------------------------------------------------------------------------

    def draw_training(self, batch: dict[str, Any], generator: torch.Generator) -> TrainingDraws:
        """Draws all random numbers of a training step from a CPU generator; see `training_loss` for the keys of
        `batch`."""
        return draw_training(
            batch,
            generator,
            self.training_options,
            num_steps=self.schedule.num_steps,
            world_noise=self.sampling.world_noise,
            pooled_dim=self.denoiser.pooled_dim if self.denoiser.text_mode == "tokens_and_pooled" else None,
        )

    def training_loss(self, batch: dict[str, Any], draws: TrainingDraws) -> dict[str, Tensor]:
        """Loss terms by name; the trainer minimizes "loss".

        Args:
            batch: `joints2d` (B, V, L, P, 2), `lengths` (B,), `valid` (B, L), `conf` (B, L, P), `T_w2c`, `cam` (B, V,
                5), `elevation_cam` (B, 4) and either `text` (B strings) or `text_tokens`, `text_valid`, `text_pooled`.
            draws: result of `draw_training`.
        """
        device = self.device
        x_0 = self.codec.encode(batch["joints2d"])
        t = draws.t.to(device)
        x_t = self.schedule.add_noise(x_0, draws.eps.to(device), t)
        text = drop_text(self._batch_text(batch), self.null_text, draws)
        cam = self._training_cam(batch)
        if cam is not None:
            cam = cam * draws.keep_cam.to(device)[..., None]
        inputs = self._text_inputs(text)
        if draws.pooled_noise is not None:
            inputs["text_pooled"] = inputs["text_pooled"] + draws.pooled_noise.to(device)
        predicted = self.denoiser(x_t, t, lengths=batch["lengths"], cam=cam, **inputs).float()
        level = self.schedule.alpha_bar(t, t.float())
        return loss_terms(predicted, x_0, batch, self.codec, level, self.training_options)

    def _batch_text(self, batch: dict[str, Any]) -> TextFeatures:
        if "text_tokens" in batch:
            return TextFeatures(batch["text_tokens"], batch["text_valid"], batch["text_pooled"])
        return self.encode_text(batch["text"])

    def _training_cam(self, batch: dict[str, Any]) -> Tensor | None:
        if not self.denoiser.cam_dim:
            return None
        return batch["cam"] if self.denoiser.cam_dim == batch["cam"].shape[-1] else batch["elevation_cam"][:, None]

    # --- sampling --------------------------------------------------------------------------------------------------

    def predict(self, x_t: Tensor, t: int, conditions: Conditions, guidance_scale: float) -> Tensor:
        """Predicts x_0 (B, V, L, D) with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598).

        Guidance is applied to the clean motion instead of the noise. Scales 0 and 1 need one network pass, others two.
        Scale 0 keeps the cameras, as published.
        """
        step = torch.tensor(t, device=x_t.device)

        def run(text: TextFeatures, cam: Tensor | None, condition2d: Tensor | None) -> Tensor:
            inputs = self._text_inputs(text)
            if text is conditions.text and conditions.text_pooled is not None:
                inputs["text_pooled"] = conditions.text_pooled
            if len(inputs["text"]) == 1 < len(x_t):
                inputs = {k: v.expand(len(x_t), *v.shape[1:]) for k, v in inputs.items()}
            x_0 = self.denoiser(x_t, step, lengths=conditions.lengths, cam=cam, condition2d=condition2d, **inputs)
            return x_0.float()

        if guidance_scale == 0:
            return run(conditions.null_text, conditions.cam, conditions.condition2d)
        conditional = run(conditions.text, conditions.cam, conditions.condition2d)
        if guidance_scale == 1:
            return conditional
        no_cam = None if conditions.cam is None else torch.zeros_like(conditions.cam)
        no_2d = None if conditions.condition2d is None else torch.zeros_like(conditions.condition2d)
        return guide(conditional, run(conditions.null_text, no_cam, no_2d), guidance_scale)

    @torch.no_grad()
    def sample_views(
        self,
        conditions: Conditions,
        noise: NoiseSource,
        options: SamplingOptions,
        on_step: Callable[[int, Tensor, Tensor | None], None] | None = None,
        start: ReferenceStart | None = None,
    ) -> ViewsSample:
        """Samples 2D motion in V views and lifts it to 3D.

        The single-view network denoises the views independently; with `consistency` this is multi-view ancestral
        sampling (Kapon et al., "MAS", CVPR 2024, arXiv 2310.14729). The multi-view network needs triangulation only at
        the end.

        Args:
            conditions: text, cameras, lengths.
            noise: source of noise (B, V, L, D): x_T, then one array per step.
            options: sampling options.
            on_step: callback with t, x_0 (before correction) and the lifted motion or None.
            start: reference motion to start from; None: pure noise.
        """
        views = views_of(conditions, is_perspective=options.is_perspective)
        result: dict[str, Tensor] = {}

        def correct(x_0: Tensor, t: int, is_last: bool) -> Tensor:
            if not (options.consistency or is_last):
                if on_step is not None:
                    on_step(t, x_0, None)
                return x_0
            result["joints2d"] = self.codec.decode_with_root(x_0)
            local = views.lift(result["joints2d"])
            if is_last and options.height != "none":
                local = normalize_height(local, lengths=conditions.lengths, per_frame=options.height == "frame")
            result["local"] = local
            if on_step is not None:
                on_step(t, x_0, local)
            return self.codec.encode_with_root(views.reproject(local)) if options.consistency else x_0

        self._run(conditions, noise, options, correct, start)
        return ViewsSample(**result)

    def _run(
        self,
        conditions: Conditions,
        noise: NoiseSource,
        options: SamplingOptions,
        correct: Callable[[Tensor, int, bool], Tensor],
        start: ReferenceStart | None = None,
    ) -> Tensor:
        steps = self.schedule.steps(options.num_inference_steps, options.spacing)
        scale = options.guidance_scale
        share = options.guided_share if start is None and scale > 1 else 1.0
        guided_from = round((1 - share) * self.schedule.num_steps)

        def predict(x_t: Tensor, t: int) -> Tensor:
            return self.predict(x_t, t, conditions, scale if t >= guided_from else 1.0)

        begin, keep_path = None, None
        if start is not None:
            steps = start.steps(steps)
            seen = self.codec.encode_with_root(
                views_of(conditions, is_perspective=options.is_perspective).reproject(start.local)
            )
            t = torch.tensor(steps[0][0], device=seen.device)
            begin = partial(self.schedule.add_noise, seen, t=t)
            weight = path_weight(float(self.schedule.alpha_bar(t, seen)), self.fps)
            keep_path = partial(with_path, reference=seen, weight=weight)
        step = self.schedule.ddim_step if options.step == "ddim" else self.schedule.posterior_step
        return sample(
            steps=progress(steps, "sampling", unit="step"),
            noise=noise,
            predict=predict if keep_path is None else lambda x_t, t: keep_path(predict(x_t, t)),
            step=step,
            correct=correct,
            begin=begin,
        )

    def sample(
        self,
        texts: Sequence[str],
        *,
        seconds: float | Sequence[float] | None = None,
        seed: int | Sequence[int] = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_samples: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> MotionBatch:
        """Generates motion for prompts as in `Pipeline.sample`, independent of the other prompts, the batch and the
        device.

        Args:
            texts: prompts; an empty prompt raises ValueError, a prompt that is no string TypeError.
            seconds, seed, generator, num_samples: see `Pipeline.sample`.
            num_inference_steps, guidance_scale: override the options of the pipeline.
            max_tokens: largest number of frames times views per batch.

        Returns: The motions; `joints2d` is in normalized image units. `extras` contains the intermediate results:
            `next_root2d` (B, V, L, 1, 2), the projected next root; `camera_joints3d` (B, L, J, 3), meters, before
            cleaning, facing alignment and floor alignment, in the world of the cameras `T_w2c` (B, V, 4, 4); and
            `is_perspective`, the projection model of these cameras.
        """
        return in_prompt_order(
            self.sample_batches(
                texts,
                seconds=seconds,
                seed=seed,
                generator=generator,
                num_samples=num_samples,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                max_tokens=max_tokens,
            )
        )

    def sample_batches(
        self,
        texts: Sequence[str],
        *,
        seconds: float | Sequence[float] | None = None,
        seed: int | Sequence[int] = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_samples: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> Iterator[tuple[list[tuple[int, int]], MotionBatch]]:
        """Generates motion as `sample` does, but yields batches, shortest motions first.

        Yields:
            The (prompt index, sample index) of each motion of the batch, and the batch, on the CPU.
        """
        texts = check_prompts(texts)
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}; expected at least 1.")
        seconds = self.suited_seconds(texts) if seconds is None else seconds
        durations = check_seconds(seconds, len(texts), min_seconds=self.min_seconds, max_seconds=self.max_seconds)
        lengths = [round(duration * self.fps) for duration in durations]
        seeds = seeds_of(seed, generator, len(texts))
        options = self._options(num_inference_steps, guidance_scale)
        jobs = sorted(
            ((i, k) for i in range(len(texts)) for k in range(num_samples)), key=lambda job: (lengths[job[0]], job)
        )
        while jobs:
            count = fitting(jobs, lengths, max_tokens // self.rig.num_views)
            chunk, jobs = jobs[:count], jobs[count:]
            drawn_texts = [texts[i] for i, _ in chunk]
            drawn_lengths = torch.tensor([lengths[i] for i, _ in chunk])
            yield chunk, self._draw_accepted(drawn_texts, drawn_lengths, [seeds[i] + k for i, k in chunk], options)

    @torch.no_grad()
    def follow(
        self,
        reference: Motion,
        text: str,
        *,
        strength: float,
        seconds: float | None = None,
        seed: int = 0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> MotionBatch:
        if self.meters_per_unit is None or self.sampling.is_perspective:
            raise ValueError(
                "This model has no meters per box unit in its config.json, but a reference motion needs them. Choose "
                "a model that was trained with framing.box=fixed and parallel views."
            )
        texts = check_prompts([text])
        if seconds is not None:
            check_seconds(seconds, 1, min_seconds=self.min_seconds, max_seconds=self.max_seconds)
        local = reference_local(
            reference,
            fps=self.fps,
            seconds=seconds,
            min_seconds=self.min_seconds,
            max_seconds=self.max_seconds,
            meters_per_unit=self.meters_per_unit,
        )
        options = self._options(num_inference_steps, guidance_scale)
        start = ReferenceStart(local.to(self.device), strength)
        drawn = self._draw(texts, torch.tensor([local.shape[1]]), [seed], options, start)
        licence = joined_licences(drawn.provenance.licence, reference.provenance.licence)
        return replace(drawn, provenance=drawn.provenance.updated(**({"licence": licence} if licence else {})))

    def _options(self, num_inference_steps: int | None, guidance_scale: float | None) -> SamplingOptions:
        """The sampling options of the pipeline with overrides."""
        changes = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        return replace(self.sampling, **{k: v for k, v in changes.items() if v is not None})

    def _draw_accepted(
        self, texts: list[str], lengths: Tensor, seeds: list[int], options: SamplingOptions
    ) -> MotionBatch:
        """Samples B motions; those that do not show their prompt's action are drawn again, see `SamplingOptions`.

        The first draw of a motion has its own seed, so it is the motion that is drawn with `max_draws` 1. Whether it is
        drawn again does not depend on the other motions, except if rounding moves it across the limit.
        """
        drawn, actions = self._draw(texts, lengths, seeds, options), self.actions
        ignores_text = options.guidance_scale == 0
        if options.max_draws == 1 or ignores_text or actions is None or actions.motion_recognizer is None:
            return drawn
        pooled, draws = self.encode_text(texts).pooled, torch.zeros(len(texts), dtype=torch.int64)
        agreement = actions.agreement(pooled, [motion.joints3d for motion in drawn], self.fps)
        for attempt in range(1, options.max_draws):
            rejected = torch.nonzero(agreement < options.accepted_from)[:, 0]
            if not len(rejected):
                break
            rows = rejected.tolist()
            again = self._draw(
                [texts[i] for i in rows], lengths[rejected], [mix_seed(seeds[i], attempt) for i in rows], options
            )
            probability = actions.agreement(pooled[rejected], [motion.joints3d for motion in again], self.fps)
            better = probability > agreement[rejected]
            agreement[rejected[better]], draws[rejected[better]] = probability[better], attempt
            replace_motions(drawn, rejected[better], again, torch.nonzero(better)[:, 0])
        found = zip(agreement.tolist(), draws.tolist(), strict=True)
        return replace(drawn, more_provenance=[{ACTION_AGREEMENT: round(p, 3), DRAW: draw} for p, draw in found])

    def _draw(
        self,
        texts: list[str],
        lengths: Tensor,
        seeds: list[int],
        options: SamplingOptions,
        start: ReferenceStart | None = None,
    ) -> MotionBatch:
        """Samples B motions of `lengths` frames, each with its own seed."""
        rngs = [ItemRandom.from_seed(seed) for seed in seeds]
        conditions = self.text_conditions(texts, lengths, rngs)
        drawn = self.sample_views(conditions, self._noise(conditions, rngs, options), options, start=start)
        finished = finish_motion(drawn.local, conditions.lengths, options, fps=self.fps)
        return MotionBatch(
            joints3d=finished.cpu(),
            lengths=lengths,
            fps=self.fps,
            text=texts,
            joint_convention=self.joint_convention,
            joints2d=drawn.joints2d[..., :-1, :].cpu(),
            provenance=Provenance.from_metadata(self.about),
            seeds=seeds,
            extras={
                "next_root2d": drawn.joints2d[..., -1:, :].cpu(),
                "camera_joints3d": in_camera_world(drawn.local, options).cpu(),
                "T_w2c": conditions.T_w2c.cpu(),
                "is_perspective": options.is_perspective,
            },
        )

    def text_conditions(self, texts: list[str], lengths: Tensor, rngs: Sequence[ItemRandom]) -> Conditions:
        """Conditions for prompts, with one random rig per item."""
        device = self.device
        T_w2c = torch.stack([self.rig.draw(rng)[0] for rng in rngs]).to(device)
        box_size = torch.ones(len(texts), device=device)
        K = square_intrinsics(PATCH, like=T_w2c).expand(*T_w2c.shape[:2], 3, 3)
        cam = embed_views(T_w2c, 1.0, relative=self.relative_cameras) if self.denoiser.cam_dim else None
        if cam is not None and self.denoiser.cam_dim != cam.shape[-1]:
            raise ValueError("Sampling in several views needs a network with 5-d cameras or none.")
        text, pooled = self.encode_text(texts), None
        if self.sampling.action_pull and self.actions is not None and self.denoiser.text_mode == "tokens_and_pooled":
            pooled = self.actions.pulled(text.pooled, self.sampling.action_pull)
        return Conditions(
            text=text,
            text_pooled=pooled,
            null_text=self.null_text(),
            lengths=lengths.to(device),
            T_w2c=T_w2c,
            cam=cam,
            K=K,
            box_size=box_size,
        )

    def _noise(self, conditions: Conditions, rngs: Sequence[ItemRandom], options: SamplingOptions) -> NoiseSource:
        generators = [rng.tensors for rng in rngs]
        points = self.codec.num_features // 2
        if options.world_noise:
            return WorldNoise(generators, conditions.lengths.cpu(), conditions.T_w2c, num_points=points)
        return IndependentNoise(
            generators,
            conditions.lengths.cpu(),
            num_views=conditions.T_w2c.shape[1],
            num_features=2 * points,
            device=self.device,
        )
