"""Saved configurations of earlier versions name classes where they were then."""

from __future__ import annotations

import importlib

import pytest
from omegaconf import OmegaConf

from hmr4d.engine.moved_names import MOVED_MODULES, current_target
from hmr4d.engine.published_names import map_targets


@pytest.mark.parametrize("old", sorted(MOVED_MODULES))
def test_earlier_modules_are_gone_and_their_successors_exist(old: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(old)
    importlib.import_module(MOVED_MODULES[old])


def test_targets_of_an_older_run_are_found() -> None:
    saved = OmegaConf.create({"views": {"_target_": "hmr4d.data.rigs.OrbitRig"}, "other": {"_target_": "torch.nn.ELU"}})
    mapped = map_targets(saved)
    assert mapped.views._target_ == "hmr4d.camera.orbit_rigs.OrbitRig"
    assert mapped.other._target_ == "torch.nn.ELU"
    assert current_target("hmr4d.models.any.module.AnyModule") == "hmr4d.methods.any.module.AnyModule"
    assert current_target("hmr4d.camera.orbit_rigs.OrbitRig") == "hmr4d.camera.orbit_rigs.OrbitRig"
