"""Mocap-2-to-3: lifts the 2D track of one calibrated camera to metric 3D motion by generating views of virtual cameras.

The pipeline is a plain module without trainer or configuration: `training_loss` for training, `lift` for inference.
The method is that of Wang et al., "Mocap-2-to-3: Multi-view Lifting for Monocular Motion Recovery with 2D Pretraining",
CVPR 2026, arXiv 2503.03222. docs/mocap2to3.md lists the deviations of this implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hmr4d.body.joint_conventions import convention_metadata, convention_of
from hmr4d.body.joint_conventions import foot_heights as convention_heights
from hmr4d.diffusion.noise import IndependentNoise
from hmr4d.diffusion.requests import fitting, seeds_of
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.geometry.ground_pointmap import DEFAULT_RANGE, ground_pointmap
from hmr4d.geometry.rigs import Rig, camera_condition, condition_size, first_camera, project
from hmr4d.methods.base import Pipeline
from hmr4d.methods.mocap2to3.cleaning import finish_motion
from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.drawn_views import triangulate
from hmr4d.methods.mocap2to3.foot_contact_conditioning import (
    FootContactConditioning,
    contacts_in_views,
    contacts_in_world,
    count_contact_features,
    foot_contact_conditioning,
)
from hmr4d.methods.mocap2to3.guess import UNCERTAINTY, Guess, check_guess, sampled_guess
from hmr4d.methods.mocap2to3.losses import masked_mean, point_terms
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions, LiftTrainingOptions
from hmr4d.methods.mocap2to3.requests import check_request, track_at_rate
from hmr4d.methods.mocap2to3.values import (
    MOTION,
    CameraInputs,
    LiftDraws,
    Lifted,
    Track,
    ViewCodec,
    mean_of_samples,
)
from hmr4d.methods.mocap2to3.window_sampling import WindowSampler
from hmr4d.motion.motion import MotionBatch, Provenance
from hmr4d.motion.resampling import resampled_length
from hmr4d.motion.tracks import resample_motion, window_starts
from hmr4d.representation.world_joints import WorldJointsCodec

MAX_TOKENS = 40_000  # frames times views per batch


class Mocap2to3Pipeline(Pipeline):
    """The algorithm with its denoiser, codec and schedule.

    Args:
        denoiser: network; single-view for the first stage, with `use_views` and observed motion for the second.
        codec: codec of the motion of a view.
        schedule: noise schedule.
        world_codec: codec of 3D motion, with which the network regresses 3D motion from view 0; None: the network
            generates views.
        sampling, training: options.
        cameras: preset of `camera_condition`, "paper" or "full".
        max_range: range of the pointmaps, meters.
        fps: frame rate of the network.
        joint_convention: joint convention of the training motion, see `body.joint_conventions`.
        foot_heights: part of the foot -> height of its joint in a standing foot, meters; None: those of the convention.
    """

    method = "mocap2to3"
    uses_virtual_views = True
    uses_guess = True

    def __init__(
        self,
        denoiser: LiftingDenoiser,
        codec: ViewCodec,
        schedule: NoiseSchedule,
        *,
        world_codec: WorldJointsCodec | None = None,
        sampling: LiftSamplingOptions | None = None,
        training: LiftTrainingOptions | None = None,
        cameras: str = "paper",
        max_range: float = DEFAULT_RANGE,
        fps: float = 30.0,
        joint_convention: str | None = None,
        foot_heights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        state = codec if world_codec is None else world_codec
        expected = {
            "num_features": state.num_features,
            "cam_dim": condition_size(cameras),
            "num_condition_features": denoiser.num_condition_features and codec.num_condition_features,
            "num_contact_features": denoiser.num_contact_features and count_contact_features(codec, world_codec),
        }
        wrong = [f"{name}={getattr(denoiser, name)}" for name, n in expected.items() if getattr(denoiser, name) != n]
        if wrong:
            raise ValueError(
                f"The network has {', '.join(wrong)}, but skeleton '{codec.skeleton.name}' with cameras='{cameras}' "
                f"needs {expected}. Choose matching network, representation and cameras."
            )
        self.denoiser, self.codec, self.schedule, self.world_codec = denoiser, codec, schedule, world_codec
        self.sampling, self.training_options = sampling or LiftSamplingOptions(), training or LiftTrainingOptions()
        self.cameras, self.max_range, self.fps = cameras, max_range, fps
        self.joint_convention = convention_of(convention_metadata(joint_convention))
        self.foot_heights = convention_heights(joint_convention) if foot_heights is None else dict(foot_heights)
        self.skeleton, self.min_conf = codec.skeleton, self.sampling.min_conf

    @classmethod
    def for_representation(
        cls,
        denoiser: Callable[..., LiftingDenoiser],
        codec: ViewCodec,
        schedule: NoiseSchedule,
        *,
        reads_observed_view: bool,
        reads_foot_contacts: bool,
        world_codec: WorldJointsCodec | None = None,
        cameras: str = "paper",
        **options: Any,
    ) -> Mocap2to3Pipeline:
        """A pipeline whose network has the input and output widths of its representation.

        Args:
            denoiser: function that builds the network from its widths; its other settings are bound.
            codec, schedule, world_codec, cameras, options: arguments of the pipeline.
            reads_observed_view: the network reads the observed 2D motion of view 0.
            reads_foot_contacts: the network reads the foot-contact conditioning.
        """
        network = denoiser(
            num_features=(codec if world_codec is None else world_codec).num_features,
            num_condition_features=codec.num_condition_features if reads_observed_view else 0,
            num_contact_features=count_contact_features(codec, world_codec) if reads_foot_contacts else 0,
            cam_dim=condition_size(cameras),
        )
        return cls(network, codec, schedule, world_codec=world_codec, cameras=cameras, **options)

    @property
    def device(self) -> torch.device:
        return self.denoiser.embed_motion.weight.device

    @property
    def num_token_features(self) -> int:
        return (self.codec if self.world_codec is None else self.world_codec).num_token_features

    # --- training --------------------------------------------------------------------------------------------------

    def draw_training(self, batch: dict[str, Any], generator: torch.Generator) -> LiftDraws:
        """Draws all random numbers of a training step from a CPU generator; see `training_loss` for the keys of
        `batch`."""
        batch_size, num_views, num_frames = batch["features"].shape[:3]
        last = self.schedule.num_steps - 1
        views = num_views if self.world_codec is None else 1
        eps = torch.randn(batch_size, views, num_frames, self.denoiser.num_features, generator=generator)
        t = torch.randint(0, self.schedule.num_steps, (batch_size,), generator=generator)
        keep_camera = torch.rand(batch_size, generator=generator) >= self.training_options.drop_camera
        is_last = torch.rand(batch_size, generator=generator) < self.training_options.noise_share
        return LiftDraws(eps, torch.where(is_last, last, t), keep_camera)

    def training_loss(self, batch: dict[str, Any], draws: LiftDraws) -> dict[str, Tensor]:
        """Loss terms by name; the trainer minimizes "loss".

        The paper does not specify a loss. This one combines the mean squared error of the clean state with terms on
        tokens, decoded points, their velocities and metric errors, weighted by `LiftTrainingOptions`.

        Args:
            batch: `features` (B, V, L, D), `size` (B, V, 2), `cond` (B, V, C), `pointmap` (B, V, 4, grid, grid),
                `lengths` (B,), `valid` (B, L), with several views `condition2d` (B, L, C2). Losses on 3D motion need
                `joints3d` (B, L, J, 3), zeros for items without 3D, `K4` and `T_w2c`. If points or cameras are partly
                unknown: `known2d` (B, V, L, J) and `camera_known` (B,) bool. For foot-contact conditioning: `kp2d_obs`,
                `visible`, `K4` and `T_w2c`.
            draws: result of `draw_training`.
        """
        predicted, x_0 = self._predict_clean(batch, draws)
        options, tokens = self.training_options, self.num_token_features
        known = self._known_points(batch)
        squared = (predicted - x_0) ** 2
        local = x_0.shape[-1] - tokens
        per_channel = known.repeat_interleave(local // known.shape[-1], -1)
        terms = {"local_loss": masked_mean(squared[..., :local], per_channel)}
        loss = terms["local_loss"]
        if tokens:
            terms["token_loss"] = masked_mean(squared[..., local:], known.any(-1, keepdim=True))
            loss = loss + options.token_weight * terms["token_loss"]
        if self.world_codec is None:
            for name, value in point_terms(predicted, x_0, self.codec, batch, known, options).items():
                terms[f"{name}_loss"] = value
                loss = loss + getattr(options, f"{name}_weight") * value
        return {"loss": loss} | terms

    def _known_points(self, batch: dict[str, Any]) -> Tensor:
        """Points with known training targets: (B, V, L, J) bool, with size 1 for dimensions without differences."""
        valid = batch["valid"][:, None, :, None]
        return valid & batch["known2d"] if "known2d" in batch and self.world_codec is None else valid

    def _predict_clean(self, batch: dict[str, Any], draws: LiftDraws) -> tuple[Tensor, Tensor]:
        """Predicted and true x_0, (B, V, L, D) each."""
        device = self.device
        if self.world_codec is None:
            x_0, cam, pointmap = batch["features"], batch["cond"], batch["pointmap"]
        else:
            x_0 = self.world_codec.encode(batch["joints3d"])[:, None]
            cam, pointmap = batch["cond"][:, :1], batch["pointmap"][:, :1]
        t, known = draws.t.to(device), draws.keep_camera.to(device) & batch.get("camera_known", True)
        x_t = self.schedule.add_noise(x_0, draws.eps.to(device), t)
        predicted = self.denoiser(
            x_t,
            t,
            lengths=batch["lengths"],
            cam=cam,
            memory=self.denoiser.encode_maps(pointmap, known),
            known=known,
            condition2d=batch["condition2d"] if self.denoiser.num_condition_features else None,
            contacts=self._training_contacts(batch, known),
        )
        return predicted, x_0

    @torch.no_grad()
    def _training_contacts(self, batch: dict[str, Any], known: Tensor) -> Tensor | None:
        """Foot-contact conditioning (B, V, L, H) from the observation of V0; zeros for unknown cameras."""
        if not self.denoiser.num_contact_features:
            return None
        condition = batch["cond"][:, 0].clone()
        condition[~known] = 1.0  # any valid intrinsics
        first = first_camera(condition, batch["size"][:, 0])
        K4, T_w2c = (torch.cat([a, batch[k][:, 1:]], 1) for k, a in (("K4", first.K4), ("T_w2c", first.T_w2c)))
        visible = batch["visible"] & known[:, None, None]
        return self.contact_features(Rig(batch["size"], K4, T_w2c), batch["kp2d_obs"], visible)

    def contact_features(self, rig: Rig, pixels: Tensor, seen: Tensor, guess: Tensor | None = None) -> Tensor | None:
        """Foot-contact conditioning (B, V, L, H) of observed joints (B, L, J, 2); None if the network takes none.

        A guess (B, L, J, 3) of the motion replaces the flat figure.
        """
        if not self.denoiser.num_contact_features:
            return None
        contacts = self._foot_contact_conditioning(pixels, seen, rig)
        if guess is not None:
            contacts = replace(contacts, figure=guess, known=torch.ones_like(contacts.known))
        if self.world_codec is not None:
            return contacts_in_world(contacts, self.world_codec)
        return contacts_in_views(contacts, rig, self.codec)

    def first_guess(self, rig: Rig, pixels: Tensor, seen: Tensor) -> Tensor:
        """Joints (B, L, J, 3) of the flat figure at the floor position of the visible feet; NaN where unknown."""
        contacts = self._foot_contact_conditioning(pixels, seen, rig)
        return torch.where(contacts.valid[..., -1:, None], contacts.figure, torch.nan)

    def _foot_contact_conditioning(self, pixels: Tensor, seen: Tensor, rig: Rig) -> FootContactConditioning:
        return foot_contact_conditioning(pixels, seen, rig, self.codec.skeleton, self.max_range, self.foot_heights)

    @torch.no_grad()
    def monitor(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Validation metrics of one prediction at the noise level `monitor_noise`, without sampling.

        Returns:
            `local`: mean absolute error of local points, box units. `offset`: error of the root, percent of the image.
                With several views `abs_mpjpe`: meters, after triangulation with the observed motion.
        """
        draws = self.draw_training(batch, generator)
        noise = 1.0 if self.training_options.noise_share == 1 else self.training_options.monitor_noise
        t = torch.full_like(draws.t, round(noise * (self.schedule.num_steps - 1)))
        draws = LiftDraws(draws.eps, t, torch.ones_like(draws.keep_camera))
        predicted, x_0 = self._predict_clean(batch, draws)
        valid, tokens = batch["valid"][:, None, :, None], self.num_token_features
        error = (predicted - x_0).abs()
        values = {"local": masked_mean(error[..., : x_0.shape[-1] - tokens], valid)}
        if self.world_codec is None and tokens:
            values["offset"] = 50 * masked_mean(error[..., -4:-2], valid)
        if self.denoiser.num_condition_features:
            rig = Rig(batch["size"], batch["K4"], batch["T_w2c"])
            track = Track(batch["kp2d_obs"], batch["visible"].to(predicted.dtype), batch["lengths"])
            lifted = self.in_world(predicted, rig, track, self.sampling, None)
            distance = (lifted.joints3d - batch["joints3d"]).norm(dim=-1)
            values["abs_mpjpe"] = masked_mean(distance, batch["valid"][..., None])
        return values

    # --- sampling --------------------------------------------------------------------------------------------------

    def camera_inputs(self, rig: Rig) -> CameraInputs:
        """Camera condition and map tokens of a rig (B, V, ...), computed once for all steps and windows."""
        cameras, pointmap = rig if self.world_codec is None else rig.select([0]), None
        if self.denoiser.pointmaps is not None:
            pointmap = ground_pointmap(cameras, self.denoiser.pointmaps.grid, self.max_range)
        return CameraInputs(rig, camera_condition(cameras, self.cameras), self.denoiser.encode_maps(pointmap))

    def in_world(
        self, x_0: Tensor, rig: Rig, track: Track, options: LiftSamplingOptions, prior: Tensor | None
    ) -> Lifted:
        """World motion of the network prediction, see `triangulate`."""
        if self.world_codec is None:
            return triangulate(x_0, self.codec, rig, track, options, prior)
        joints3d = self.world_codec.decode(x_0[:, 0])
        return Lifted(joints3d, torch.zeros_like(joints3d[..., 0]))

    @torch.no_grad()
    def sample_track(
        self,
        inputs: CameraInputs,
        track: Track,
        generators: Sequence[torch.Generator],
        options: LiftSamplingOptions,
        guess: Guess | None = None,
    ) -> Lifted:
        """One sample of tracks of any length, from cross-faded consecutive windows in one world.

        Args:
            inputs: camera inputs.
            track: observed motion at the frame rate of the network.
            generators: one per item; an item draws numbers for its own frames only.
            options: sampling options.
            guess: initial guess; its path is kept.
        """
        window, overlap = options.window, options.overlap
        shape = track.conf.shape
        joints3d, residual = track.conf.new_zeros(*shape, 3), track.conf.new_zeros(shape)
        for start in window_starts(shape[1], window, overlap):
            rows = (track.lengths > (start + overlap if start else 0)).nonzero()[:, 0]
            part = track.cut(rows, start, window)
            before = joints3d[rows, start : start + overlap] if start and overlap else None
            noise = IndependentNoise(
                [generators[int(i)] for i in rows],
                part.lengths.cpu(),
                device=self.device,
                num_views=inputs.rig.num_views if self.world_codec is None else 1,
                num_features=self.denoiser.num_features,
            )
            near = None if guess is None else guess.cut(rows, start, part.pixels.shape[1])
            motion = WindowSampler(self, inputs.select(rows), part, options, before, near).run(noise)
            end = start + motion.joints3d.shape[1]
            joints3d[rows, start:end], residual[rows, start:end] = motion.joints3d, motion.residual
        finished = finish_motion(
            joints3d,
            inputs.rig,
            track,
            options,
            fps=self.fps,
            skeleton=self.codec.skeleton,
            joint_convention=self.joint_convention,
            keeps_path=guess is not None,
        )
        return Lifted(finished, residual)

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
        window: int | None = None,
        overlap: int | None = None,
        guess: MotionBatch | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> MotionBatch:
        """Lifts tracks as in `Pipeline.lift`, independent of the other tracks, the batch and the device.

        Args:
            kp2d, conf, rig, fps, lengths, seed, generator, num_samples: see `Pipeline.lift`.
            num_inference_steps, window, overlap: override the options of the pipeline, see `LiftSamplingOptions`.
            guess: result of another method for the tracks, see `Pipeline.uses_guess`; sampling starts from it, and
                certain joints of the guess are kept.
            max_tokens: largest number of frames times views per batch.

        Returns:
            On the CPU: the mean of the samples of each track or, with a guess, the sample that starts from the motion
                of the guess. `joints2d` is its projection to the rig, pixels. `extras` contains the uncertainty of the
                guess, "samples" (B, K, L, J, 3), meters, "spread" (B, L, J), meters, the root mean square distance of
                the samples from the motion (0 for one sample), and "residual" (B, L, J), meters, the disagreement of
                the views of a joint at its distance from view 0 (mean over the samples).

        Raises:
            ValueError: shapes do not match, `num_samples` is below 1, or windows do not advance.
        """
        rate = self.fps if fps is None else fps
        lengths = torch.full((len(kp2d),), kp2d.shape[1]) if lengths is None else lengths.cpu()
        check_request(kp2d, conf, rig, lengths, rate, num_samples, draws_views=self.world_codec is None)
        if guess is not None:
            check_guess(guess, lengths, rate, self.codec.skeleton.num_joints)
        seeds = seeds_of(seed, generator, len(kp2d), "tracks")
        changes = {"num_inference_steps": num_inference_steps, "window": window, "overlap": overlap}
        options = replace(self.sampling, **{k: v for k, v in changes.items() if v is not None})
        track = track_at_rate(kp2d.to(self.device), conf.to(self.device), lengths, rate, self.fps, options)
        batched = rig if rig.K4.ndim == 3 else Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])
        inputs = self._for_all(batched.to(self.device).to(torch.float32), len(kp2d))
        frames = track.lengths.clamp(max=options.window).tolist()
        drawn = list(range(num_samples)) if guess is None else [MOTION, *range(num_samples if num_samples > 1 else 0)]
        jobs = sorted(((i, k) for i in range(len(kp2d)) for k in drawn), key=lambda j: (frames[j[0]], j))
        samples: dict[tuple[int, int], Lifted] = {}
        while jobs:
            count = fitting(jobs, frames, max_tokens // batched.num_views)
            chunk, jobs = jobs[:count], jobs[count:]
            rows = torch.tensor([i for i, _ in chunk], device=self.device)
            generators = [torch.Generator().manual_seed(seeds[i] + k) for i, k in chunk]
            part = track.cut(rows, 0, track.pixels.shape[1])
            near = None if guess is None else sampled_guess(guess, chunk, rate, self.fps).to(self.device)
            motion = self.sample_track(inputs.select(rows), part, generators, options, near)
            for row, (i, k) in enumerate(chunk):
                own = resampled_length(int(lengths[i]), rate, self.fps)
                back = (
                    resample_motion(x[row, None, :own], self.fps, rate, int(lengths[i]))[0].cpu()
                    for x in (motion.joints3d, motion.residual)
                )
                samples[i, k] = Lifted(*back)
        uncertainty = {} if guess is None else {key: guess.extras[key] for key in UNCERTAINTY if key in guess.extras}
        motions, extras = mean_of_samples(samples, len(lengths), drawn)
        on_cpu = inputs.rig.to("cpu")
        return MotionBatch(
            joints3d=motions,
            lengths=lengths,
            fps=rate,
            skeleton=self.codec.skeleton,
            joint_convention=self.joint_convention,
            joints2d=project(on_cpu, motions)[0],
            rig=on_cpu,
            seeds=seeds,
            extras=extras | uncertainty,
            provenance=Provenance.from_metadata(self.about),
        )

    @torch.no_grad()
    def _for_all(self, rig: Rig, count: int) -> CameraInputs:
        """Camera inputs of `count` tracks; the maps of a shared rig are encoded once."""
        inputs = self.camera_inputs(rig)
        shared = [x.expand(count, *x.shape[1:]) for x in (rig.size, rig.K4, rig.T_w2c, inputs.cam)]
        return CameraInputs(Rig(*shared[:3]), shared[3], inputs.memory)
