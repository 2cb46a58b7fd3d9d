"""K2M as a method: its construction and its releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmr4d.masked_modeling.sampling import TokenSampling
from hmr4d.methods.base import Method
from hmr4d.methods.k2m.generation import GenerationOptions
from hmr4d.methods.k2m.losses import LossOptions, LossWeights
from hmr4d.methods.k2m.network import PARTS, K2MNetwork
from hmr4d.methods.k2m.pipeline import K2MPipeline
from hmr4d.methods.k2m.stages import TrainingOptions
from hmr4d.methods.k2m.tokenizer import MotionTokenizer
from hmr4d.methods.k2m.transformers import MaskedTransformer, PooledLengthEstimator, ResidualTransformer
from hmr4d.methods.k2m.weights import WEIGHTS
from hmr4d.nn.action_index import FILE_NAME, load_actions
from hmr4d.nn.text import build_text_encoder
from hmr4d.nn.text_adapter import ADAPTER_NAME
from hmr4d.utils.releases import plain

if TYPE_CHECKING:
    from omegaconf import DictConfig

KINDS = {
    "tokenizer": MotionTokenizer,
    "masked": MaskedTransformer,
    "residual": ResidualTransformer,
    "length": PooledLengthEstimator,
}


class K2M(Method):
    """A motion tokenizer learned from 2D keypoints, and text-to-token generation by masked modeling."""

    version = 2  # 1 read all frames at one size
    name, title = "k2m", "K2M"
    pipeline_class, weights = K2MPipeline, WEIGHTS

    def build(self, cfg: DictConfig) -> K2MPipeline:
        from hydra.utils import instantiate

        return instantiate(cfg.pipeline, text_encoder=build_text_encoder(**_text_settings(cfg)), _convert_="all")

    def joined(self, cfg: DictConfig, others: Sequence[DictConfig]) -> DictConfig:
        from omegaconf import DictConfig, OmegaConf

        whole = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
        assert isinstance(whole, DictConfig)
        configs = {str(one.network.only): one for one in (cfg, *others)}
        if set(configs) != set(PARTS) or len(others) != len(PARTS) - 1:
            raise ValueError(
                f"A model needs training runs of {', '.join(PARTS)}; got {', '.join(sorted(configs))}. "
                "Give one run per part."
            )
        for name, one in configs.items():
            whole.network[name] = OmegaConf.to_container(one.network[name], resolve=True)
        texts = {name: _text_of(one) for name, one in configs.items() if name != "tokenizer"}
        if any(text != texts["masked"] for text in texts.values()):
            raise ValueError(
                f"The parts were trained on different texts (encoder, adapter): {texts}. Train masked, residual and "
                "length with the same text=... and pipeline.text_adapter=..."
            )
        whole.text, whole.pipeline.text_adapter = configs["masked"].text, texts["masked"][1]
        whole.network.only = None
        whole.pipeline.network, whole.pipeline.stage = whole.network, None
        return whole

    def settings(self, cfg: DictConfig) -> dict[str, Any]:
        parts = {name: plain(cfg.network[name]) for name in PARTS if cfg.network.get(name) is not None}
        if (only := cfg.network.get("only")) is not None:
            parts = {only: parts[only]}
        return {"network": parts, "text_encoder": _text_settings(cfg)}

    def describe(self, pipeline: K2MPipeline) -> dict[str, Any]:
        return {
            "fps": pipeline.fps,
            "joint_convention": pipeline.joint_convention,
            "generation": asdict(pipeline.generation),
            "training": asdict(pipeline.training_options),
        }

    def save_files(self, folder: Path, pipeline: K2MPipeline) -> None:
        if pipeline.actions is not None:
            pipeline.actions.save(folder / FILE_NAME)
        if pipeline.text_adapter is not None:
            pipeline.text_adapter.save(folder / ADAPTER_NAME)

    def restore(self, config: dict[str, Any], folder: Path) -> K2MPipeline:
        generation, training = dict(config["generation"]), dict(config["training"])
        generation |= {name: TokenSampling(**generation[name]) for name in ("base", "residual")}
        training |= {"weights": LossWeights(**training["weights"]), "losses": LossOptions(**training["losses"])}
        pipeline = K2MPipeline(
            _network(config["network"]),
            training=TrainingOptions(**training),
            generation=GenerationOptions(**generation),
            text_encoder=build_text_encoder(**config["text_encoder"]),
            text_adapter=folder / ADAPTER_NAME if (folder / ADAPTER_NAME).is_file() else None,
            fps=config["fps"],
            joint_convention=config.get("joint_convention"),
        )
        pipeline.actions = load_actions(folder)
        return pipeline


def _network(parts: dict[str, dict[str, Any]]) -> K2MNetwork:
    """The network of a release, from the settings of its parts."""
    network = K2MNetwork()
    for name, options in parts.items():
        network.register_module(name, KINDS[name](**options))
    return network


def _text_of(cfg: DictConfig) -> tuple[str, str | None]:
    """The text encoder and the file of the text adapter of a training."""
    return cfg.text.name, cfg.pipeline.get("text_adapter")


def _text_settings(cfg: DictConfig) -> dict[str, Any]:
    """Keyword arguments of `build_text_encoder`."""
    return {"name": cfg.text.name, "folder": cfg.text.folder, "dim": cfg.text.dim}


METHOD = K2M()
