"""Configurations from elsewhere: what may be built from them."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hmr4d.engine.compose import check_targets, compose_config


def test_packaged_configurations_pass():
    check_targets(compose_config(["exp=motion2to3/finetune_mv"]))


@pytest.mark.parametrize(
    "target", ["torch.nn.Linear", "pytorch_lightning.Trainer", "hmr4d.data.datasets.Framing", "torch.optim.AdamW"]
)
def test_classes_of_known_packages_pass(target):
    check_targets(OmegaConf.create({"part": {"_target_": target}}))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torchx.Thing",
        "hmr4d",
        "torch.hub.load",
        "hmr4d.utils.files.write_text",
        "hmr4d.cli.console.os.system",
        "hmr4d.engine.run.instantiate",
        "hmr4d.engine.run.Path",
        "hmr4d.nowhere.Thing",
    ],
)
def test_other_targets_are_refused(target):
    cfg = OmegaConf.create({"name": target, "parts": [{"deep": {"_target_": "${name}"}}]})
    with pytest.raises(ValueError, match=f"has the targets {target};"):
        check_targets(cfg)


def test_licence_convention_rate_and_statistics_come_from_the_store(tmp_path: Path) -> None:
    """What the data configuration says of its own data does not stick to motion of another store."""
    words = ["exp=motion2to3/finetune_mv", f"data.train.store={tmp_path}"]
    assert compose_config(words).motion.licence == "CC BY-NC 4.0"  # no store yet: what the data configuration says
    entries = {"licence": "CC0", "fps": 30.0, "joint_convention": None}
    (tmp_path / "store.json").write_text(json.dumps(entries))
    motion = compose_config(words).motion
    assert (motion.licence, motion.fps, motion.joint_convention) == ("CC0", 30.0, None)
    assert motion.statistics == "bandai_namco_20fps"
    (tmp_path / "motion2d_statistics.npz").touch()
    assert compose_config(words).motion.statistics == str(tmp_path / "motion2d_statistics.npz")
    assert compose_config([*words, "motion.licence=mine"]).motion.licence == "mine"


def test_a_limited_test_has_one_repeat_and_no_multimodality() -> None:
    task = ["exp=motion2to3/finetune_mv", "global/task=text2motion/test"]
    costs = ("limit", "replications", "multimodality_captions")
    assert [compose_config(task)[key] for key in costs] == [None, 3, 16]
    assert [compose_config([*task, "limit=20"])[key] for key in costs] == [20, 1, 0]
    assert [compose_config([*task, "+global/append=quick", "replications=2"])[key] for key in costs] == [32, 2, 0]
