"""Configurations from elsewhere: what may be built from them."""

import pytest
from omegaconf import OmegaConf

from hmr4d.engine.compose import check_targets, compose_config


def test_our_own_configurations_pass():
    check_targets(compose_config(["exp=motion2to3/finetune_mv"]))


@pytest.mark.parametrize(
    "target", ["torch.nn.Linear", "pytorch_lightning.Trainer", "hmr4d.data.datasets.Framing", "torch.optim.AdamW"]
)
def test_classes_of_known_packages_pass(target):
    check_targets(OmegaConf.create({"part": {"_target_": target}}))


@pytest.mark.parametrize(
    "target",
    [
        "os.system", "builtins.eval", "torchx.Thing", "hmr4d", "torch.hub.load", "hmr4d.utils.files.write_text",
        "hmr4d.cli.console.os.system", "hmr4d.engine.run.instantiate", "hmr4d.engine.run.Path", "hmr4d.nowhere.Thing",
    ],
)  # fmt: skip
def test_everything_else_is_refused(target):
    cfg = OmegaConf.create({"name": target, "parts": [{"deep": {"_target_": "${name}"}}]})
    with pytest.raises(ValueError, match=f"asks for {target};"):
        check_targets(cfg)
