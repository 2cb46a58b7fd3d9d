"""Saved configurations of earlier versions name classes where they were then."""

from __future__ import annotations

import importlib
import re

import pytest
from omegaconf import OmegaConf

from hmr4d.engine.compose import CONFIG_FOLDER, compose_config
from hmr4d.engine.moved_names import MOVED_CLASSES, MOVED_MODULES, RENAMED_CHOICES, current_target
from hmr4d.engine.published_names import map_targets


@pytest.mark.parametrize("old", sorted(MOVED_MODULES))
def test_earlier_modules_are_gone_and_their_successors_exist(old: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(old)
    importlib.import_module(MOVED_MODULES[old])


def test_targets_of_an_older_run_are_translated() -> None:
    saved = OmegaConf.create({"views": {"_target_": "hmr4d.data.rigs.OrbitRig"}, "other": {"_target_": "torch.nn.ELU"}})
    mapped = map_targets(saved)
    assert mapped.views._target_ == "hmr4d.camera.orbit_rigs.OrbitRig"
    assert mapped.other._target_ == "torch.nn.ELU"
    assert current_target("hmr4d.models.any.module.AnyModule") == "hmr4d.methods.any.module.AnyModule"
    assert current_target("hmr4d.camera.orbit_rigs.OrbitRig") == "hmr4d.camera.orbit_rigs.OrbitRig"


@pytest.mark.parametrize("old", sorted(MOVED_CLASSES))
def test_renamed_classes_exist(old: str) -> None:
    module, _, name = current_target(old).rpartition(".")
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("old", sorted(RENAMED_CHOICES))
def test_a_renamed_choice_is_refused_with_its_new_name(old: str) -> None:
    new = RENAMED_CHOICES[old]
    group, _, choice = new.partition("=")
    assert (CONFIG_FOLDER / group / f"{choice}.yaml").is_file() if choice else (CONFIG_FOLDER / group).is_dir()
    typed = old if "=" in old else f"{old}=feet"
    words = [typed] if typed.startswith("exp=") else ["exp=mocap2to3/finetune_mv_small", typed]
    with pytest.raises(ValueError, match=f"was renamed: use {re.escape(new)}"):
        compose_config(words)
