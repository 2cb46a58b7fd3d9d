"""The models that ship: whole, described, and the same through every door."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from hmr4d import load_pipeline
from hmr4d.body.joint_conventions import MEAN_BONES
from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import adopt_settings, build
from hmr4d.methods.motion2to3.method import METHOD
from hmr4d.methods.motion2to3.options import SamplingOptions
from hmr4d.metrics.physical import physical_metrics
from hmr4d.utils.releases import release_kind

FOLDER = Path(__file__).resolve().parents[3] / "inputs" / "checkpoints" / "hmr4d"
# motion2to3-NAME is released from exp=motion2to3/NAME.
RELEASES = sorted(p.parent.name for p in FOLDER.glob("*/config.json") if release_kind(p.parent) == METHOD.format)
DATA = {"bandai_namco": "Bandai Namco Research", "cmu": "mocap.cs.cmu.edu"}  # joint convention -> credit of its motion


def config_of(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name / "config.json").read_text(encoding="utf-8"))


def plain(node: object) -> dict[str, object]:
    values = OmegaConf.to_container(node, resolve=True)  # type: ignore[call-overload]
    return {k: v for k, v in values.items() if k != "_target_"}


def test_the_default_model_ships() -> None:
    assert "motion2to3-everyday" in RELEASES


@pytest.mark.parametrize("name", RELEASES)
def test_card_and_configuration_describe_the_model(name: str) -> None:
    card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    config = config_of(name)
    credits = [DATA[part] for part in config["joint_convention"].split("+") if part != MEAN_BONES]
    assert credits and all(credit in card for credit in credits)
    assert f"| licence | {config['about']['licence']}: see below |" in card
    assert f"| steps | {config['about']['steps']} |" in card
    weights = hashlib.sha256((FOLDER / name / "model.safetensors").read_bytes()).hexdigest()
    assert f"| weights sha256 | `{weights}` |" in card
    assert config["about"]["commands"]


@pytest.mark.parametrize("name", RELEASES)
def test_a_seated_person_gets_up(name: str) -> None:
    motion = load_pipeline(name).sample(["he stands up"], seconds=3.0, seed=0)[0]
    height = motion.joints3d[:, 0, 1]
    assert height[0] < 0.7 and height[-1] > 0.8, f"the root goes from {height[0]:.2f} to {height[-1]:.2f} m"


@pytest.mark.parametrize("name", RELEASES)
def test_the_experiment_builds_the_released_pipeline(name: str) -> None:
    """tools/train.py composes what tools/generate.py reads from the folder."""
    released = config_of(name)
    exp = f"motion2to3/{name.removeprefix('motion2to3-')}"
    cfg = compose_config([f"exp={exp}", "global/task=text2motion/new_text", "prompts=[walk]"])
    assert cfg.shipped_weights.endswith(name)
    check_pipeline(cfg, released)


@pytest.mark.parametrize("name", RELEASES)
def test_a_recipe_of_another_network_takes_the_settings_of_the_released_model(name: str) -> None:
    words = ["exp=motion2to3/finetune_mv", "global/task=text2motion/new_text", "prompts=[walk]"]
    words += [f"shipped_weights={FOLDER / name}", "pipeline.sampling.guidance_scale=3.0"]
    cfg = compose_config(words)
    assert "network" in adopt_settings(cfg, words)
    assert cfg.pipeline.sampling.guidance_scale == 3.0
    released = config_of(name)
    check_pipeline(cfg, released | {"sampling": released["sampling"] | {"guidance_scale": 3.0}})
    assert Path(cfg.motion.statistics) == FOLDER / name / "statistics.npz"


@pytest.mark.parametrize("name", RELEASES)
def test_the_number_of_features_is_that_of_the_statistics(name: str) -> None:
    with np.load(FOLDER / name / "statistics.npz") as statistics:
        count = statistics["mean"].size
    assert config_of(name)["network"].get("num_features", count) == count


def check_pipeline(cfg: DictConfig, released: dict[str, Any]) -> None:
    pipeline = cfg.pipeline
    follows = ("_partial_", "num_features")  # the number of features follows from the statistics
    built, network = (
        {key: value for key, value in options.items() if key not in follows}
        for options in (plain(pipeline.denoiser), released["network"])
    )
    assert built == network
    assert SamplingOptions(**plain(pipeline.sampling)) == SamplingOptions(**released["sampling"])
    assert plain(pipeline.rig) == released["rig"]
    assert plain(pipeline.schedule) == released["schedule"]
    for key in ("fps", "min_seconds", "max_seconds", "relative_cameras", "use_pooled_token"):
        assert pipeline[key] == released[key], key
    assert cfg.text.name == released["text_encoder"]["name"]


def test_the_metrics_table_needs_no_training() -> None:
    """`exp=motion2to3/finetune_mv` without ckpt_path= samples as the everyday model, with its words and actions."""
    words = ["exp=motion2to3/finetune_mv", "global/task=text2motion/new_text", "prompts=[walk]"]
    cfg = compose_config([*words, "trainer.accelerator=cpu"])
    adopt_settings(cfg, words)
    module, _, _ = build(cfg)
    other = load_pipeline("motion2to3-everyday")
    request = {"texts": ["a man jumps up and down"], "seconds": 1.5, "seed": 0, "num_inference_steps": 2}
    out, wanted = module.pipeline.eval().sample(**request), other.sample(**request)
    assert torch.equal(out.joints3d, wanted.joints3d)
    assert wanted.provenance.licence == out.provenance.licence


def test_a_training_on_other_motion_does_not_know_the_actions_of_the_shipped_adapter() -> None:
    cfg = compose_config(["exp=motion2to3/cmu"])
    assert "motion2to3-everyday" in cfg.pipeline.text_adapter
    assert METHOD.build(cfg).actions is None


@pytest.mark.parametrize("name", RELEASES)
def test_the_shipped_model_follows_its_prompts(name: str) -> None:
    """A loose floor under quality; docs/results.md has the measurement."""
    pipeline = load_pipeline(name)
    assert pipeline.text_adapter is not None and pipeline.actions is not None
    out = pipeline.sample(["a person walks forward", "a person raises the right hand"], seconds=3, seed=0)
    assert torch.isfinite(out.joints3d).all()
    walked = out[0].joints3d[-1, 0] - out[0].joints3d[0, 0]
    assert walked[2] > 1.0
    assert abs(float(walked[0])) < walked[2]
    wrists = out[1].joints3d[:, [20, 21], 1].amax(0)
    assert wrists[1] > wrists[0] + 0.2
    metrics = physical_metrics(out.joints3d, out.lengths, out.fps)
    assert metrics["bone_length_variation"].max() < 0.1
    assert 1.5 <= pipeline.suited_seconds(["a man jumps up and down"])[0] <= 9.8
