"""The contract of a method: a pipeline that samples or lifts, its construction, and its releases.

A method is one folder with a module `method` that holds `METHOD`, an instance of a `Method`. Everything outside the
folder reaches the method through this contract and through `hmr4d.methods.registry`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.geometry.rigs import Rig
from hmr4d.keypoint_files.gaps import SURE
from hmr4d.methods.defaults import FORMAT_PREFIX
from hmr4d.motion.motion import Motion, MotionBatch
from hmr4d.nn.action_index import ActionIndex
from hmr4d.nn.text import TextEncoder, TextFeatures
from hmr4d.utils.releases import CONFIG_NAME, find_release, model_metadata, read_release_config, write_release
from hmr4d.utils.weights import WeightFiles

if TYPE_CHECKING:
    from omegaconf import DictConfig

Capability = Literal["sample", "lift"]
DOES: Mapping[Capability, str] = {"sample": "samples motion from text", "lift": "lifts 2D keypoints to 3D motion"}
TEST_TASKS: Mapping[Capability, str] = {"sample": "text2motion/test", "lift": "lift/synthetic"}
DEFAULT_SECONDS = 5.0  # of a prompt without a duration


class Pipeline(nn.Module):
    """The algorithm of a method around its network; usable without a trainer and without a configuration.

    A pipeline overrides `sample`, `lift` or both, and for training `draw_training` and `training_loss`.

    Attributes:
        method: name of its method.
        fps: frames per second of the motion that the network knows.
        joint_convention: where the joints of that motion are in the body, see `body.joint_conventions`.
        about: what its motions say of it: `model`, and the `licence` of the motion it learnt from.
        min_seconds, max_seconds: what `sample` accepts.
        actions: what it has learnt to do, or None where nobody listed it.
        skeleton: the joints that `lift` returns, and takes unless `input_skeleton` says otherwise.
        min_conf: keypoints of lower confidence count as missing in `lift`.
        foot_heights: metres of standing foot joints by part of the foot, see `motion.ground_contact.rest_heights`.
        uses_all_views: `lift` takes what all views of the rig show, (B, V, L, J, ...), which nobody has outside a test.
        uses_virtual_views: `lift` wants virtual cameras beside the real one.
        uses_depth: `lift` takes `depth` too, (B, L, J) metres that joints are farther away than the middle of the hips,
            as a detector tells it, NaN where it does not.
        uses_guess: `lift` takes `guess` too, what another method has lifted of the same tracks: motions of as many
            frames in the same world, with "sigma" (B, L, J) metres and perhaps "samples" (B, K, L, J, 3) in `extras`.
    """

    method: ClassVar[str]
    fps: float = 30.0
    joint_convention: str | None = None
    min_seconds: float = 1.0
    max_seconds: float = 10.0
    actions: ActionIndex | None = None
    skeleton: Skeleton = SMPL22
    min_conf: float = SURE
    foot_heights: Mapping[str, float] = {}
    uses_all_views: bool = False
    uses_virtual_views: bool = False
    uses_depth: bool = False
    uses_guess: bool = False

    def __init__(self, about: Mapping[str, str | None] | None = None) -> None:
        super().__init__()
        self.about = {key: value for key, value in (about or {}).items() if value is not None}

    # --- what it can do --------------------------------------------------------------------------------------------

    @classmethod
    def can(cls, capability: Capability) -> bool:
        """Whether the pipeline samples motion from text ("sample") or lifts 2D keypoints ("lift")."""
        return getattr(cls, capability) is not getattr(Pipeline, capability)

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
        """Motion for prompts, in prompt order, the samples of one prompt together.

        Sample k of a prompt depends on the prompt, its seconds and `seed + k` alone.

        Args:
            texts: prompts.
            seconds: one duration, or one per prompt; None: `suited_seconds`.
            seed: of sample 0; one, or one per prompt.
            generator: CPU generator that replaces the seed, or one per prompt.
            num_samples: motions per prompt.
            num_inference_steps, guidance_scale: instead of the pipeline's own, for methods that have them.

        Raises:
            ValueError: the method does not sample from text, or a request that it cannot fulfil.
        """
        raise ValueError(self._cannot("sample"))

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
        """World motion of tracks.

        Sample k of a track depends on the track, its rig and `seed + k` alone.

        Args:
            kp2d: (B, L, J, 2) undistorted pixels of view 0.
            conf: (B, L, J) confidence in [0, 1], 0 for missing.
            rig: V cameras, view 0 the real one, in its canonical world; (V, ...) for all tracks or (B, V, ...).
            fps: of the tracks; None: the network's.
            lengths: (B,) frames of each track; None: all L.
            seed: of sample 0; one, or one per track.
            generator: CPU generator that replaces the seed, or one per track.
            num_samples: motions per track; their mean is returned with its spread.
            num_inference_steps: instead of the pipeline's own, for methods that have them.

        Raises:
            ValueError: the method does not lift, or a request that it cannot fulfil.
        """
        raise ValueError(self._cannot("lift"))

    @property
    def input_skeleton(self) -> Skeleton:
        """The joints that `lift` takes."""
        return self.skeleton

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
        """Regenerates parts of a motion from a text and keeps the others.

        Args:
            motion: one that a model of this method has made.
            text: what the whole motion shall show.
            keep: from and to seconds of what stays; the motion may become longer or shorter behind it.
            seconds: of the result; None: those of the motion.
            seed: of the draw.
            num_inference_steps, guidance_scale: instead of the pipeline's own.

        Raises:
            ValueError: the method cannot edit, or a request that it cannot fulfil.
        """
        raise ValueError(f"{type(self).__name__} cannot keep parts of a motion. Choose another model.")

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
        """Motion for a text that starts from a reference motion.

        Args:
            reference: any motion with the joints that the model makes.
            text: what the motion shall show.
            strength: how much is drawn anew, more than 0; 1 leaves nothing of the reference.
            seconds: of the reference from its beginning; None: all of it, as far as the model goes.
            seed: of the draw.
            num_inference_steps, guidance_scale: instead of the pipeline's own.

        Raises:
            ValueError: the method cannot start from a motion, or a request that it cannot fulfil.
        """
        raise ValueError(f"{type(self).__name__} cannot start from a reference motion. Choose another model.")

    def sample_batches(
        self,
        texts: Sequence[str],
        *,
        seconds: float | Sequence[float] | None = None,
        seed: int | Sequence[int] = 0,
        num_samples: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> Iterator[tuple[list[tuple[int, int]], MotionBatch]]:
        """As `sample`, yielding results prompt by prompt; methods that are faster in larger batches override it.

        Yields:
            The (prompt number, sample number) of each motion of a batch, and the batch, on the CPU.
        """
        for number, text in enumerate(texts):
            motions = self.sample(
                [text],
                seconds=seconds[number] if isinstance(seconds, Sequence) else seconds,
                seed=seed[number] if isinstance(seed, Sequence) else seed,
                num_samples=num_samples,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
            )
            yield [(number, sample) for sample in range(num_samples)], motions

    def _cannot(self, capability: Capability) -> str:
        does = " and ".join(f"{DOES[name]} with `.{name}`" for name in DOES if self.can(name)) or "does neither"
        return f"{type(self).__name__} has no `.{capability}`: it {does}. Choose another model."

    # --- training --------------------------------------------------------------------------------------------------

    def draw_training(self, batch: dict[str, Any], generator: torch.Generator) -> Any:
        """All random numbers of a training step on `batch`, from a CPU generator."""
        raise NotImplementedError(f"{type(self).__name__} cannot be trained.")

    def training_loss(self, batch: dict[str, Any], draws: Any) -> dict[str, Tensor]:
        """Loss terms by name for what `draw_training` drew; "loss" is what to minimise."""
        raise NotImplementedError(f"{type(self).__name__} cannot be trained.")

    @torch.no_grad()
    def monitor(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """What validation logs: loss terms of motion that is not trained on, unless a method has something better."""
        return self.training_loss(batch, self.draw_training(batch, generator))

    # --- prompts ---------------------------------------------------------------------------------------------------

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The encoder of prompts, used also for warnings about prompts; None if there is none."""
        return None

    def encode_text(self, texts: list[str]) -> TextFeatures:
        """Features of prompts; RuntimeError when there is no encoder."""
        if self.text_encoder is None:
            raise RuntimeError("This pipeline has no text encoder; give it one or pass batches with cached text.")
        return self.text_encoder.encode(texts)

    def suited_seconds(self, texts: Sequence[str]) -> list[float]:
        """A duration for each prompt, by those of the nearest known actions, in tenths of a second within the limits.

        Where the known actions are not listed it is DEFAULT_SECONDS, or the nearest limit.
        """
        chosen = [DEFAULT_SECONDS] * len(texts)
        if self.actions is not None:
            chosen = [round(facts.seconds, 1) for facts in self.actions.facts(self.encode_text(list(texts)).pooled)]
        return [min(max(seconds, self.min_seconds), self.max_seconds) for seconds in chosen]


class Method(ABC):
    """Interface between the library and a method.

    Training is named by the configuration: its node `model` is the training module, usually a `PipelineModule` of
    `hmr4d.nn.training`, its node `pipeline` the pipeline.

    Attributes:
        name: of the method, its folder and its experiments; releases have the format `hmr4d-<name>`.
        title: what cards call it.
        pipeline_class: of its pipelines; has the same name in `method`.
        weights: how the parameters of its network lie in files.
        version: of its releases.
        configs: folder of configuration groups that a method outside the repository brings along.
        is_trained: its pipelines need weights; a method that needs none overrides `untrained` instead.
        for_comparison: a test compares it with others, and nobody else is offered it.
        trained_settings: groups of the configuration that say what a model is, beside its weights and its pipeline; a
            task takes them from the checkpoint that it is given.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    pipeline_class: ClassVar[type[Pipeline]]
    weights: ClassVar[WeightFiles]
    version: ClassVar[int] = 1
    configs: ClassVar[Path | None] = None
    is_trained: ClassVar[bool] = True
    for_comparison: ClassVar[bool] = False
    trained_settings: ClassVar[tuple[str, ...]] = ("network", "text", "motion")

    @property
    def format(self) -> str:
        """Format name in the configuration of its release folders."""
        return FORMAT_PREFIX + self.name

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What its pipelines can do."""
        return tuple(name for name in DOES if self.pipeline_class.can(name))

    @property
    def test_task(self) -> str:
        """The default task for scoring: `global/task=<test_task>`."""
        return TEST_TASKS[self.capabilities[0]]

    def require(self, capability: Capability, *, asked_for: str) -> None:
        """ValueError with the capabilities of the method, unless it supports `asked_for`."""
        if capability not in self.capabilities:
            does = " and ".join(DOES[name] for name in self.capabilities)
            raise ValueError(
                f"{asked_for} needs a method that {DOES[capability]}; {self.title} {does}. Its test is "
                f"global/task={self.test_task}."
            )

    def untrained(self, keypoints: Skeleton, prior: Path | None = None) -> Pipeline:
        """A pipeline that lifts without weights.

        Args:
            keypoints: skeleton of the keypoints that it is given.
            prior: file of poses, for a method that looks at one; None: made-up motion.

        Raises:
            ValueError: the method is trained.
        """
        del keypoints, prior
        raise ValueError(f"{self.title} needs weights; load a released model of it.")

    # --- from a configuration --------------------------------------------------------------------------------------

    def build(self, cfg: DictConfig) -> Pipeline:
        """The pipeline of a composed configuration, untrained, with all that it needs for prompts and keypoints."""
        from hydra.utils import instantiate

        return instantiate(cfg.pipeline, _convert_="all")

    def settings(self, cfg: DictConfig) -> dict[str, Any]:
        """The training settings stored in a release, as a JSON object, for `restore`."""
        del cfg
        return {}

    def joined(self, cfg: DictConfig, others: Sequence[DictConfig]) -> DictConfig:
        """The configuration of a whole model from those of the trainings of its parts.

        Raises:
            ValueError: the method is trained as a whole.
        """
        del cfg, others
        raise ValueError(f"{self.title} is trained as a whole; release one run.")

    # --- releases --------------------------------------------------------------------------------------------------

    @abstractmethod
    def describe(self, pipeline: Any) -> dict[str, Any]:
        """All options of a pipeline for `restore` that are not in `settings`, as a JSON object."""

    @abstractmethod
    def restore(self, config: dict[str, Any], folder: Path) -> Pipeline:
        """The pipeline of a release folder, on the CPU, before its weights are loaded; `config` is `config.json`."""

    def save_files(self, folder: Path, pipeline: Any) -> None:  # noqa: B027 - most methods have nothing to add
        """Writes the additional files of a release."""

    def save(
        self, folder: str | Path, pipeline: Pipeline, settings: Mapping[str, Any], about: Mapping[str, Any]
    ) -> None:
        """Writes a release folder: weights (float16), configuration, and what `save_files` adds.

        Args:
            folder: made if needed.
            pipeline: whose network is saved.
            settings: see `settings`.
            about: JSON object for the card: data, licence, commands, steps, hardware, losses.
        """
        folder = Path(folder)
        self.save_files(folder, pipeline)
        config = self.describe(pipeline) | dict(settings) | {"about": dict(about)}
        write_release(folder, self.weights.network_of(pipeline), config, kind=self.format, version=self.version)

    def load(self, name_or_folder: str | Path, *, device: torch.device | str = "cpu") -> Pipeline:
        """A released model, ready for use.

        Args:
            name_or_folder: a model under inputs/checkpoints/hmr4d, or a folder of that layout.
            device: where the network runs.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: one of its files is damaged or does not fit the others.
        """
        folder = find_release(name_or_folder)
        config = read_release_config(folder, kind=self.format, version=self.version)
        try:
            pipeline = self.restore(config, folder)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{folder / CONFIG_NAME} does not describe a pipeline of this version ({error}). Restore the folder."
            ) from error
        self.weights.load(pipeline, folder)
        pipeline.about |= model_metadata(name_or_folder, folder)
        return pipeline.eval().to(device)
