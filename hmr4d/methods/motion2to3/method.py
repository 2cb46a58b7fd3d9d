"""Motion-2-to-3 as a method: its construction and its releases."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.base import Method
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.options import SamplingOptions
from hmr4d.methods.motion2to3.patch_denoiser import PatchDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.methods.motion2to3.weights import WEIGHTS
from hmr4d.nn.action_index import FILE_NAME, load_actions
from hmr4d.nn.text import build_text_encoder
from hmr4d.nn.text_adapter import ADAPTER_NAME
from hmr4d.representation.motion2d import Motion2DCodec, Statistics
from hmr4d.utils.files import atomic_path
from hmr4d.utils.releases import plain, read_release_config

if TYPE_CHECKING:
    from omegaconf import DictConfig

logger = logging.getLogger(__name__)

NETWORKS = {network.__name__: network for network in (MotionDenoiser, PatchDenoiser)}
STATISTICS_NAME = "statistics.npz"


class Motion2to3(Method):
    """Text to 2D motion in one or several views, lifted to 3D by triangulation.

    A release contains weights, configuration and statistics and, if available, a text adapter and the list of known
    actions.
    """

    name, title = "motion2to3", "Motion-2-to-3"
    pipeline_class, weights = Motion2to3Pipeline, WEIGHTS
    trained_settings = (*Method.trained_settings, "views", "framing")

    def build(self, cfg: DictConfig) -> Motion2to3Pipeline:
        from hydra.utils import instantiate
        from omegaconf import OmegaConf

        framing = instantiate(cfg.framing) if "framing" in cfg else None
        pipeline = instantiate(
            cfg.pipeline,
            text_encoder=build_text_encoder(**_text_settings(cfg)),
            meters_per_unit=None if framing is None else framing.meters_per_unit,
            _convert_="all",
        )
        adapter, store = (OmegaConf.select(cfg, key) for key in ("pipeline.text_adapter", "data.train.store"))
        if adapter and store and Path(adapter).resolve().parent == Path(store).resolve():
            pipeline.actions = load_actions(Path(store))  # of the training motion
        _tell_missing_actions(pipeline)
        return pipeline

    def settings(self, cfg: DictConfig) -> dict[str, Any]:
        return {"network": plain(cfg.network), "text_encoder": _text_settings(cfg)}

    def set_released(self, cfg: DictConfig, folder: Path) -> None:
        adapter = folder / ADAPTER_NAME
        cfg.motion.statistics = str(folder / STATISTICS_NAME)
        cfg.pipeline.text_adapter = str(adapter) if adapter.is_file() else None
        cfg.pipeline.sampling.update(read_release_config(folder, kind=self.format, version=self.version)["sampling"])

    def describe(self, pipeline: Motion2to3Pipeline) -> dict[str, Any]:
        return {
            "skeleton": pipeline.codec.statistics.skeleton,
            "representation": pipeline.codec.statistics.representation,
            "joint_convention": pipeline.joint_convention,
            "fps": pipeline.fps,
            "min_seconds": pipeline.min_seconds,
            "max_seconds": pipeline.max_seconds,
            "network_class": type(pipeline.denoiser).__name__,
            "schedule": {"num_steps": pipeline.schedule.num_steps, "kind": pipeline.schedule.kind},
            "sampling": asdict(pipeline.sampling),
            "rig": asdict(pipeline.rig),
            "relative_cameras": pipeline.relative_cameras,
            "use_pooled_token": pipeline.use_pooled_token,
            "meters_per_unit": pipeline.meters_per_unit,
        }

    def save_files(self, folder: Path, pipeline: Motion2to3Pipeline) -> None:
        with atomic_path(folder / STATISTICS_NAME) as path:
            pipeline.codec.statistics.save(path)
        adapter = pipeline.text_adapter
        if pipeline.actions is not None:
            pipeline.actions.save(folder / FILE_NAME)
            adapter = adapter or pipeline.actions.adapter
        if adapter is not None:
            adapter.save(folder / ADAPTER_NAME)

    def restore(self, config: dict[str, Any], folder: Path) -> Motion2to3Pipeline:
        codec = Motion2DCodec(Statistics.load(folder / STATISTICS_NAME))
        network = {"num_features": codec.num_features} | config["network"]  # older releases name it themselves
        pipeline = Motion2to3Pipeline(
            NETWORKS[config.get("network_class", "MotionDenoiser")](**network),
            codec,
            NoiseSchedule(**config["schedule"]),
            text_encoder=build_text_encoder(**config["text_encoder"]),
            sampling=SamplingOptions(**config["sampling"]),
            rig=OrbitRig(**config["rig"]),
            relative_cameras=config["relative_cameras"],
            text_adapter=folder / ADAPTER_NAME if (folder / ADAPTER_NAME).is_file() else None,
            use_pooled_token=config["use_pooled_token"],
            fps=config["fps"],
            min_seconds=config["min_seconds"],
            max_seconds=config["max_seconds"],
            joint_convention=config.get("joint_convention"),
            meters_per_unit=config.get("meters_per_unit", config.get("metres_per_unit")),
        )
        pipeline.actions = load_actions(folder)
        _tell_missing_actions(pipeline)
        return pipeline


def _tell_missing_actions(pipeline: Motion2to3Pipeline) -> None:
    """Logs a message if the option `action_pull` or `max_draws` has no effect."""
    if pipeline.sampling.max_draws > 1 and (pipeline.actions is None or pipeline.actions.motion_recognizer is None):
        logger.info(
            "max_draws=%d has no effect: the known actions have no recognizer of motion. hmr4d prepare text-adapter "
            "makes one.",
            pipeline.sampling.max_draws,
        )
    pull = pipeline.sampling.action_pull
    if not pull:
        return
    if pipeline.denoiser.text_mode != "tokens_and_pooled":
        logger.info("action_pull=%g has no effect: this network does not use the pooled text vector.", pull)
    elif pipeline.actions is None:
        logger.info(
            "action_pull=%g has no effect: there is no list of known actions. hmr4d prepare text-adapter makes one; "
            "it is saved next to the text adapter in the store of the training data, or released with --actions.",
            pull,
        )


def _text_settings(cfg: DictConfig) -> dict[str, Any]:
    """Keyword arguments of `build_text_encoder`."""
    return {"name": cfg.text.name, "folder": cfg.text.folder, "dim": cfg.text.dim}


METHOD = Motion2to3()
