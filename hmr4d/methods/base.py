"""The interface of a method: its pipeline, which samples or lifts motion, the construction of the pipeline, and
releases.

A method is one folder with a module `method` that defines `METHOD`, an instance of a `Method`. All code outside the
folder uses the method through this interface and through `hmr4d.methods.registry`.
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
DEFAULT_SECONDS = 5.0  # seconds; default duration of a prompt


class Pipeline(nn.Module):
    """The algorithm of a method and its network; usable without trainer and configuration.

    A pipeline overrides `sample`, `lift` or both and, if it can be trained, `draw_training` and `training_loss`.

    Attributes:
        method: name of the method.
        fps: frame rate of the network, frames per second.
        joint_convention: position of the joints in the body, see `body.joint_conventions`.
        about: metadata of its motions: `model`, and the `licence` of the training motion.
        min_seconds, max_seconds: range of durations of `sample`.
        actions: known actions of the model, or None if there is no list.
        skeleton: joints that `lift` returns; also its input joints, unless the method overrides `input_skeleton`.
        min_conf: `lift` treats keypoints of lower confidence as missing.
        foot_heights: part of the foot -> height of its joint in a standing foot, meters, see
            `motion.ground_contact.rest_heights`.
        uses_all_views: whether `lift` takes the 2D of all views, (B, V, L, J, ...), which exists only in tests.
        uses_virtual_views: whether `lift` needs virtual cameras in addition to the real one.
        uses_depth: whether `lift` takes `depth` (B, L, J): depth of joints relative to the midpoint of the hips,
            meters, as a detector estimates it; NaN where unknown.
        uses_guess: whether `lift` takes `guess`, the result of another method for the same tracks: motions of equal
            length in the same world, with "sigma" (B, L, J), meters, and optionally "samples" (B, K, L, J, 3) in
            `extras`.
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

    # --- capabilities ----------------------------------------------------------------------------------------------

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
        """Generates motion for prompts, in prompt order, with the samples of a prompt next to each other.

        Sample k of a prompt depends only on the prompt, its duration and `seed + k`.

        Args:
            texts: prompts.
            seconds: one duration, or one per prompt; None: `suited_seconds`.
            seed: seed of sample 0; one, or one per prompt.
            generator: CPU generator that replaces the seed; one, or one per prompt.
            num_samples: motions per prompt.
            num_inference_steps, guidance_scale: override the options of the pipeline, for methods that have them.

        Raises:
            ValueError: the method does not sample from text, or the request is invalid.
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
        """Lifts 2D tracks to 3D motion in world coordinates.

        Sample k of a track depends only on the track, its rig and `seed + k`.

        Args:
            kp2d: (B, L, J, 2) undistorted pixels of view 0.
            conf: (B, L, J) confidence in [0, 1], 0 for missing.
            rig: V cameras in the canonical world of view 0, which is the real camera; (V, ...) for all tracks or (B, V,
                ...).
            fps: frame rate of the tracks; None: that of the network.
            lengths: (B,) frames of each track; None: all L.
            seed: seed of sample 0; one, or one per track.
            generator: CPU generator that replaces the seed; one, or one per track.
            num_samples: samples per track; the result is their mean, with their spread.
            num_inference_steps: overrides the option of the pipeline, for methods that have it.

        Raises:
            ValueError: the method does not lift, or the request is invalid.
        """
        raise ValueError(self._cannot("lift"))

    @property
    def input_skeleton(self) -> Skeleton:
        """The input joints of `lift`."""
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
        """Regenerates parts of a motion from a text and keeps the other parts.

        Args:
            motion: motion generated by a model of this method.
            text: description of the whole result.
            keep: (start, end) of the kept part, seconds; the motion may become longer or shorter after it.
            seconds: duration of the result; None: that of `motion`.
            seed: seed of the sample.
            num_inference_steps, guidance_scale: override the options of the pipeline.

        Raises:
            ValueError: the method cannot edit, or the request is invalid.
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
        """Generates motion for a text, starting from a reference motion.

        Args:
            reference: motion with the joints of the model.
            text: description of the result.
            strength: amount of regeneration, above 0; 1 ignores the reference.
            seconds: used duration of the reference, from its beginning; None: all of it, up to the limit of the model.
            seed: seed of the sample.
            num_inference_steps, guidance_scale: override the options of the pipeline.

        Raises:
            ValueError: the method cannot start from a motion, or the request is invalid.
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
        """Generates motion as `sample` does, but yields batches: one per prompt unless a method overrides it.

        Yields:
            The (prompt index, sample index) of each motion of a batch, and the batch, on the CPU.
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
        """Draws all random numbers of a training step on `batch` from a CPU generator."""
        raise NotImplementedError(f"{type(self).__name__} cannot be trained.")

    def training_loss(self, batch: dict[str, Any], draws: Any) -> dict[str, Tensor]:
        """Loss terms by name, given the result of `draw_training`. The trainer minimizes "loss"."""
        raise NotImplementedError(f"{type(self).__name__} cannot be trained.")

    @torch.no_grad()
    def monitor(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Validation metrics by name; by default the loss terms."""
        return self.training_loss(batch, self.draw_training(batch, generator))

    # --- prompts ---------------------------------------------------------------------------------------------------

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The text encoder, also used for warnings about prompts; None if the pipeline has none."""
        return None

    def encode_text(self, texts: list[str]) -> TextFeatures:
        """Text features of prompts. Raises RuntimeError if the pipeline has no text encoder."""
        if self.text_encoder is None:
            raise RuntimeError("This pipeline has no text encoder; set one, or pass batches with cached text features.")
        return self.text_encoder.encode(texts)

    def suited_seconds(self, texts: Sequence[str]) -> list[float]:
        """A duration for each prompt, from the most similar known actions, rounded to 0.1 s and clamped to the limits.

        Without a list of known actions it is DEFAULT_SECONDS, clamped to the limits.
        """
        chosen = [DEFAULT_SECONDS] * len(texts)
        if self.actions is not None:
            chosen = [round(nearest.seconds, 1) for nearest in self.actions.match(self.encode_text(list(texts)).pooled)]
        return [min(max(seconds, self.min_seconds), self.max_seconds) for seconds in chosen]


class Method(ABC):
    """Interface between the library and a method.

    The configuration defines the training: its node `model` is the training module, usually a `PipelineModule` of
        `hmr4d.nn.training`, and its node `pipeline` is the pipeline.

    Attributes:
        name: name of the method, its folder and its experiments; releases have the format `hmr4d-<name>`.
        title: name on cards.
        pipeline_class: class of its pipelines; its attribute `method` equals `name`.
        weights: file layout of the parameters of its network.
        version: version of its releases.
        configs: folder of configuration groups, for methods outside the repository.
        is_trained: whether its pipelines need weights; a method without weights overrides `untrained`.
        for_comparison: the method is only a comparison in tests; commands do not offer it.
        trained_settings: groups of the configuration that define a model in addition to weights and pipeline; a task
            adopts them from its checkpoint.
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
        """The `format` in the configuration of its release folders."""
        return FORMAT_PREFIX + self.name

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """Capabilities of its pipelines."""
        return tuple(name for name in DOES if self.pipeline_class.can(name))

    @property
    def test_task(self) -> str:
        """The default task for scoring: `global/task=<test_task>`."""
        return TEST_TASKS[self.capabilities[0]]

    def require(self, capability: Capability, *, asked_for: str) -> None:
        """Raises ValueError unless the method has a capability; `asked_for` starts the message."""
        if capability not in self.capabilities:
            does = " and ".join(DOES[name] for name in self.capabilities)
            raise ValueError(
                f"{asked_for} needs a method that {DOES[capability]}; {self.title} {does}. Choose another method. The "
                f"test of this one is global/task={self.test_task}."
            )

    def untrained(self, keypoints: Skeleton, prior: Path | None = None) -> Pipeline:
        """A pipeline of a method without weights.

        Args:
            keypoints: skeleton of its input.
            prior: file of a pose bank, for a method that uses one; None: synthetic motion.

        Raises:
            ValueError: the method needs weights.
        """
        del keypoints, prior
        raise ValueError(f"{self.title} needs weights; load a released model of it.")

    # --- from a configuration --------------------------------------------------------------------------------------

    def build(self, cfg: DictConfig) -> Pipeline:
        """The untrained pipeline of a composed configuration, ready for prompts and keypoints."""
        from hydra.utils import instantiate

        return instantiate(cfg.pipeline, _convert_="all")

    def settings(self, cfg: DictConfig) -> dict[str, Any]:
        """The training settings stored in a release, as a JSON object, for `restore`."""
        del cfg
        return {}

    def set_released(self, cfg: DictConfig, folder: Path) -> None:  # noqa: B027 - most trainings need no other file
        """Changes the configuration of a training, in place, to that of its release: paths are those of the folder."""

    def joined(self, cfg: DictConfig, others: Sequence[DictConfig]) -> DictConfig:
        """The configuration of a complete model from those of the trainings of its parts.

        Raises:
            ValueError: the method is trained as a whole.
        """
        del cfg, others
        raise ValueError(f"{self.title} is trained as a whole; release one run.")

    # --- releases --------------------------------------------------------------------------------------------------

    @abstractmethod
    def describe(self, pipeline: Any) -> dict[str, Any]:
        """The options of a pipeline that `restore` needs and `settings` lacks, as a JSON object."""

    @abstractmethod
    def restore(self, config: dict[str, Any], folder: Path) -> Pipeline:
        """The pipeline of a release folder, on the CPU, without weights; `config` is the content of `config.json`."""

    def save_files(self, folder: Path, pipeline: Any) -> None:  # noqa: B027 - most methods have nothing to add
        """Writes the additional files of a release."""

    def save(
        self, folder: str | Path, pipeline: Pipeline, settings: Mapping[str, Any], about: Mapping[str, Any]
    ) -> None:
        """Writes a release folder: weights (float16), configuration, and the files of `save_files`.

        Args:
            folder: folder; created if necessary.
            pipeline: pipeline whose network is saved.
            settings: see `settings`.
            about: JSON object for the card: data, licence, commands, steps, hardware, losses.
        """
        folder = Path(folder)
        self.save_files(folder, pipeline)
        config = self.describe(pipeline) | dict(settings) | {"about": dict(about)}
        write_release(folder, self.weights.network_of(pipeline), config, kind=self.format, version=self.version)

    def load(self, name_or_folder: str | Path, *, device: torch.device | str = "cpu") -> Pipeline:
        """Loads a released model.

        Args:
            name_or_folder: a model under inputs/checkpoints/hmr4d, or a folder of that layout.
            device: device of the network.

        Raises:
            FileNotFoundError: the model does not exist.
            ValueError: a file is damaged or does not match the others.
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
