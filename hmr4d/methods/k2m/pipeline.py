"""K2M: generates body motion from text and lifts 2D keypoints to motion, trained on 2D keypoints alone.

"Learning Text-driven 3D Human Motion Generation from 3D-free Web Videos", 2025, OpenReview nvu9jVEqoo; docs/k2m.md
lists what the paper does not specify.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hmr4d.body.joint_conventions import convention_metadata, convention_of
from hmr4d.body.keypoint_body import KeypointBody, load_keypoint_body
from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import COCO17, Skeleton
from hmr4d.diffusion.requests import seeds_of
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.base import Pipeline
from hmr4d.methods.k2m.generation import GenerationOptions, draw_tokens, estimated_tokens, kept_tokens
from hmr4d.methods.k2m.keypoint_input import DEFAULT_SIZE
from hmr4d.methods.k2m.lifting import keypoints_of, lift_clip, pose_in_world
from hmr4d.methods.k2m.network import K2MNetwork, Part
from hmr4d.methods.k2m.projection import FOCAL_LENGTH
from hmr4d.methods.k2m.smpl_head import BodyParameters
from hmr4d.methods.k2m.stages import STAGES, Stage, TrainingOptions
from hmr4d.methods.k2m.tokenizer import UNIT
from hmr4d.methods.k2m.turned_views import ViewCritic
from hmr4d.methods.k2m.world import camera_center, cleaned, in_convention, moved, on_floor, world_pose
from hmr4d.motion.motion import CAMERA, Motion, MotionBatch, Provenance, camera_metadata, joined_licences
from hmr4d.motion.tracks import resample_motion, resample_track
from hmr4d.nn.text import TextEncoder
from hmr4d.nn.text_adapter import TextAdapter
from hmr4d.utils.prompts import check_prompts, check_seconds

logger = logging.getLogger(__name__)

TOKENS = "tokens"  # key in the provenance of a motion: its tokens, from which `edit` starts
MIN_TOKENS = 15


class K2MPipeline(Pipeline):
    """Tokenizer and transformers with training, sampling, editing and lifting.

    Args:
        network: all four parts, or the required ones.
        stage: part to train; None: no training.
        training: options of the training; they also determine the body model.
        generation: sampling options.
        text_encoder: text encoder; None for training on cached text features.
        text_adapter: maps the pooled text vectors to the input of the transformers, or its file; None: the vectors of
            the encoder.
        fps: frame rate of the motion.
        joint_convention: joint convention of sampled and lifted motion, see `body.joint_conventions`, for comparison
            with other motion of this convention. None: the joints of the body model.
        about: see `Pipeline`.
    """

    method = "k2m"
    min_seconds, max_seconds = 2.0, 10.0

    def __init__(
        self,
        network: K2MNetwork,
        *,
        stage: Part | None = None,
        training: TrainingOptions | None = None,
        generation: GenerationOptions | None = None,
        text_encoder: TextEncoder | None = None,
        text_adapter: TextAdapter | str | Path | None = None,
        fps: float = 30.0,
        joint_convention: str | None = None,
        about: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__(about)
        self.network, self.fps, self.encoder = network, fps, text_encoder
        self.text_adapter = TextAdapter.load(text_adapter) if isinstance(text_adapter, (str, Path)) else text_adapter
        self.training_options = training or TrainingOptions()
        self.generation = generation or GenerationOptions()
        if stage is not None and stage not in STAGES:
            raise ValueError(f"stage is '{stage}'; expected one of {list(STAGES)}.")
        self.joint_convention = convention_of(convention_metadata(joint_convention))
        self.stage_name = stage
        views = stage == "tokenizer" and self.training_options.weights.turned
        self.view_critic = (
            ViewCritic() if views else None
        )  # used in training only: saved in checkpoints, but not in releases
        self._stage: Stage | None = None

    @property
    def text_encoder(self) -> TextEncoder | None:
        return self.encoder

    @property
    def input_skeleton(self) -> Skeleton:
        return COCO17

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def body(self) -> KeypointBody:
        """The body model."""
        return load_keypoint_body(self.training_options.body, **self.training_options.body_options)

    # --- training --------------------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """The training of the part `stage`. Raises ValueError if there is none."""
        if self.stage_name is None:
            raise ValueError("This pipeline has no part to train; set pipeline.stage, or choose exp=k2m/...")
        if self._stage is None:
            self._stage = STAGES[self.stage_name](self.network, self.training_options, self.view_critic)
        return self._stage

    def draw_training(self, batch: dict[str, Any], generator: torch.Generator) -> Any:
        return self.stage.draw(self._adapted(batch), generator)

    def training_loss(self, batch: dict[str, Any], draws: Any) -> dict[str, Tensor]:
        return self.stage.loss(self._adapted(batch), draws)

    @torch.no_grad()
    def monitor(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        return self.stage.monitor(self._adapted(batch), generator)

    def _adapted(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with the text vectors of the adapter."""
        if self.text_adapter is None or "text_pooled" not in batch:
            return batch
        return batch | {"text_pooled": normalize(self.text_adapter(batch["text_pooled"]), dim=-1)}

    # --- text to motion --------------------------------------------------------------------------------------------

    def suited_seconds(self, texts: Sequence[str]) -> list[float]:
        """A duration for each text, from the length estimator if there is one, otherwise as in
        `Pipeline.suited_seconds`."""
        if "length" not in self.network.parts or not self.generation.estimate_length:
            return super().suited_seconds(texts)
        most = int(self.max_seconds * self.fps) // UNIT
        counts = estimated_tokens(self.network, self._pooled(list(texts)), least=MIN_TOKENS, most=most)
        return [count * UNIT / self.fps for count in counts]

    @torch.no_grad()
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
    ) -> MotionBatch:
        """Generates motions with poses; see `Pipeline.sample`. Lengths are cut to a multiple of four frames."""
        texts = check_prompts(texts)
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}; expected at least 1.")
        counts = self._token_counts(texts, seconds)
        seeds = seeds_of(seed, generator, len(texts))
        jobs = [(number, seeds[number] + k) for number in range(len(texts)) for k in range(num_samples)]
        pooled = self._pooled(texts)[[number for number, _ in jobs]]
        tokens = draw_tokens(
            self.network,
            pooled,
            torch.tensor([counts[number] for number, _ in jobs], device=self.device),
            [torch.Generator().manual_seed(one) for _, one in jobs],
            self._generation(num_inference_steps, guidance_scale),
        )
        return self._motions(tokens, [counts[n] for n, _ in jobs], [texts[n] for n, _ in jobs], [s for _, s in jobs])

    @torch.no_grad()
    def edit(
        self,
        motion: Motion,
        text: str,
        keep: Sequence[tuple[float, float]],
        *,
        seconds: float | None = None,
        seed: int = 0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> MotionBatch:
        (text,) = check_prompts([text])
        tokens = torch.tensor(motion.provenance.more.get(TOKENS, []), dtype=torch.int64)
        quantizers = self.network.motion_tokenizer.num_quantizers
        if tokens.ndim != 2 or tokens.shape[1] != quantizers or tokens.max() >= self.network.motion_tokenizer.num_codes:
            raise ValueError(
                f"The motion has no tokens of {quantizers} layers; give an .npz file generated by this model."
            )
        made_by, own = motion.provenance.model, self.about.get("model")
        if made_by and own and Path(made_by).name != Path(own).name:
            logger.warning(
                "The motion says that '%s' made it; for '%s' its tokens mean other motion. Edit it with its own model.",
                made_by,
                own,
            )
        (count,) = self._token_counts([text], len(tokens) * UNIT / self.fps if seconds is None else seconds)
        known = kept_tokens(tokens, keep, count, self.fps)
        drawn = draw_tokens(
            self.network,
            self._pooled([text]),
            torch.tensor([count], device=self.device),
            [torch.Generator().manual_seed(seed)],
            self._generation(num_inference_steps, guidance_scale),
            known=known[None].to(self.device),
        )
        made = self._motions(drawn, [count], [text], [seed])
        licence = joined_licences(made.provenance.licence, motion.provenance.licence)
        return replace(made, provenance=made.provenance.updated(**({"licence": licence} if licence else {})))

    def _pooled(self, texts: list[str]) -> Tensor:
        """Unit text vectors (B, C) of prompts, the input of the transformers."""
        pooled = self.encode_text(texts).pooled.to(self.device, torch.float32)
        if self.text_adapter is None:
            return pooled
        if self.actions is not None and self.generation.action_pull:
            return normalize(self.actions.pulled(pooled, self.generation.action_pull), dim=-1)
        return normalize(self.text_adapter(pooled), dim=-1)

    def _token_counts(self, texts: Sequence[str], seconds: float | Sequence[float] | None) -> list[int]:
        asked = self.suited_seconds(texts) if seconds is None else seconds
        checked = check_seconds(asked, len(texts), min_seconds=self.min_seconds, max_seconds=self.max_seconds)
        return [max(int(s * self.fps + 1e-6) // UNIT, 1) for s in checked]

    def _generation(self, num_steps: int | None, guidance: float | None) -> GenerationOptions:
        base = self.generation.base
        base = base if num_steps is None else replace(base, num_steps=num_steps)
        return replace(self.generation, base=base if guidance is None else replace(base, guidance_scale=guidance))

    def _motions(self, tokens: Tensor, counts: list[int], texts: list[str], seeds: list[int]) -> MotionBatch:
        """Motions from tokens (B, N, Q). Each is decoded separately and therefore independent of the others."""
        tokenizer, size = self.network.motion_tokenizer, torch.tensor([DEFAULT_SIZE], device=self.device).float()
        options = self.generation
        poses: list[Pose] = []
        metadata: list[dict[str, Any]] = []
        for one, count in zip(tokens, counts, strict=True):
            found = tokenizer.decode_tokens(one[None, :count], size)
            body = BodyParameters(*(v[0].cpu() for v in vars(found).values()))
            pose = world_pose(body, self.body)
            placed = on_floor(in_convention(pose, self.joint_convention))
            clean = cleaned(placed, fps=self.fps, smooth=options.smooth, plant=options.plant_feet)
            poses.append(on_floor(clean))
            shift = moved(pose, placed) + moved(clean, poses[-1])
            center = (camera_center(body, pose) + shift).tolist()
            metadata.append({TOKENS: one[:count].tolist(), CAMERA: camera_metadata(DEFAULT_SIZE, FOCAL_LENGTH, center)})
        return MotionBatch(
            joints3d=nn.utils.rnn.pad_sequence([pose.joints() for pose in poses], batch_first=True),
            lengths=torch.tensor([pose.num_frames for pose in poses]),
            fps=self.fps,
            joint_convention=self.joint_convention,
            text=texts,
            poses=poses,
            provenance=Provenance.from_metadata(self.about),
            seeds=seeds,
            more_provenance=metadata,
        )

    # --- 2D to motion ----------------------------------------------------------------------------------------------

    @torch.no_grad()
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
    ) -> MotionBatch:
        """Lifts COCO-17 tracks to motion in the world of the camera; the depth is relative, see `lifting`.

        The tokenizer is deterministic, so a track has one motion, which is independent of the seed. For the arguments
        see `Pipeline.lift`.

        Raises:
            ValueError: several samples or diffusion steps are requested, or the keypoints have another shape.
        """
        if kp2d.ndim != 4 or kp2d.shape[2:] != (COCO17.num_joints, 2):
            raise ValueError(f"kp2d has shape {tuple(kp2d.shape)}; expected (B, L, 17, 2): COCO keypoints.")
        if num_samples != 1 or num_inference_steps is not None:
            raise ValueError(
                f"{self.method} lifts without random draws: a track has one motion and no diffusion steps; got "
                f"num_samples={num_samples}, num_inference_steps={num_inference_steps}. Remove both."
            )
        rate = self.fps if fps is None else float(fps)
        lengths = torch.full((len(kp2d),), kp2d.shape[1]) if lengths is None else lengths.cpu()
        real = rig.select([0]).to("cpu")
        shared = real.K4.ndim == 2
        joints3d = []
        for item, length in enumerate(lengths.tolist()):
            one = real if shared else Rig(real.size[item], real.K4[item], real.T_w2c[item])
            joints3d.append(self._lifted(kp2d[item, :length], conf[item, :length], one.to(torch.float32), rate))
        joints = nn.utils.rnn.pad_sequence(joints3d, batch_first=True)
        seen_rig = real if not shared else Rig(*(t[None].expand(len(kp2d), *t.shape) for t in vars(real).values()))
        return MotionBatch(
            joints3d=joints,
            lengths=lengths,
            fps=rate,
            joint_convention=self.joint_convention,
            joints2d=project(seen_rig.to(torch.float32), joints)[0],
            rig=seen_rig,
            seeds=seeds_of(seed, generator, len(kp2d), "tracks"),
            provenance=Provenance.from_metadata({**self.about, "depth": "relative"}),
            extras={"spread": torch.zeros(joints.shape[:3]), "residual": torch.zeros(joints.shape[:3])},
        )

    def _lifted(self, kp2d: Tensor, conf: Tensor, rig: Rig, rate: float) -> Tensor:
        """Joints (L, 22, 3), meters, of one track at the frame rate of the track."""
        own2d, own_conf = resample_track(kp2d[None].float(), conf[None].float(), rate, self.fps)
        keypoints = keypoints_of(own2d[0].cpu(), own_conf[0].cpu(), rig.size[0])
        tokenizer, least = self.network.motion_tokenizer, self.training_options.losses.min_conf
        body = lift_clip(tokenizer, keypoints.to(self.device), self.body, min_conf=least)
        pose = pose_in_world(BodyParameters(*(v.cpu() for v in vars(body).values())), self.body, rig)
        pose = in_convention(pose, self.joint_convention)
        return resample_motion(pose.joints()[None], self.fps, rate, len(kp2d))[0]
