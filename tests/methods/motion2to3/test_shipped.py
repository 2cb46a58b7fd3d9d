"""The models that ship: whole, described, and the same through every door."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from hmr4d import load_pipeline
from hmr4d.engine.compose import compose_config
from hmr4d.methods.motion2to3.method import METHOD
from hmr4d.methods.motion2to3.options import SamplingOptions
from hmr4d.metrics.physical import physical_metrics

FOLDER = Path(__file__).resolve().parents[3] / "inputs" / "checkpoints" / "hmr4d"
EXPERIMENTS = {
    "motion2to3-bandai": "motion2to3/finetune_mv",
    "motion2to3-bandai-2d": "motion2to3/pretrain_2d",
    "motion2to3-everyday": "motion2to3/everyday",
}


def plain(node: object) -> dict[str, object]:
    values = OmegaConf.to_container(node, resolve=True)  # type: ignore[call-overload]
    return {k: v for k, v in values.items() if k != "_target_"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_card_and_configuration_describe_the_model(name: str) -> None:
    card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    about = json.loads((FOLDER / name / "config.json").read_text(encoding="utf-8"))["about"]
    assert "CC BY-NC 4.0" in card
    assert "Bandai Namco Research" in card
    assert about["steps"] > 0
    assert about["commands"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_experiment_builds_the_released_pipeline(name: str) -> None:
    """tools/train.py composes what tools/generate.py reads from the folder."""
    released = json.loads((FOLDER / name / "config.json").read_text(encoding="utf-8"))
    cfg = compose_config([f"exp={EXPERIMENTS[name]}", "global/task=text2motion/new_text", "prompts=[walk]"])
    assert cfg.shipped_weights.endswith(name)
    pipeline = cfg.pipeline
    sizes = {key: value for key, value in released["network"].items() if key != "num_features"}
    assert plain(pipeline.denoiser) == sizes | {"_partial_": True}
    assert SamplingOptions(**plain(pipeline.sampling)) == SamplingOptions(**released["sampling"])
    assert plain(pipeline.rig) == released["rig"]
    assert plain(pipeline.schedule) == released["schedule"]
    for key in ("fps", "min_seconds", "max_seconds", "relative_cameras", "use_pooled_token"):
        assert pipeline[key] == released[key], key
    assert cfg.text.name == released["text_encoder"]["name"]


def test_a_training_on_other_motion_does_not_know_the_actions_of_the_shipped_adapter() -> None:
    cfg = compose_config(["exp=motion2to3/cmu"])
    assert "motion2to3-everyday" in cfg.pipeline.text_adapter
    assert METHOD.build(cfg).actions is None


def test_released_words_and_actions_go_with_the_weights() -> None:
    pipeline = load_pipeline("motion2to3-everyday")
    assert pipeline.text_adapter is not None
    assert pipeline.actions is not None
    out = pipeline.sample(["a man jumps up and down"], seed=0, num_inference_steps=2)
    assert torch.isfinite(out.joints3d).all()
    assert 1.5 <= len(out[0].joints3d) / out.fps <= 9.8


def test_the_shipped_model_follows_its_prompts() -> None:
    """A loose floor under quality; docs/results.md has the measurement."""
    out = load_pipeline("motion2to3-bandai").sample(
        ["a person walks forward", "a person raises the right hand"], seconds=3, seed=0
    )
    assert torch.isfinite(out.joints3d).all()
    walked = out[0].joints3d[-1, 0] - out[0].joints3d[0, 0]
    assert walked[2] > 1.0
    assert abs(float(walked[0])) < walked[2]
    wrists = out[1].joints3d[:, [20, 21], 1].amax(0)
    assert wrists[1] > wrists[0] + 0.2
    metrics = physical_metrics(out.joints3d, out.lengths, out.fps)
    assert metrics["bone_length_variation"].max() < 10.0
