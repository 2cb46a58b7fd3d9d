"""Methods are found by name, by release and by configuration; what they cannot do is said in a sentence."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hmr4d import load_pipeline
from hmr4d.body.skeleton import SMPL22
from hmr4d.engine.compose import CONFIG_FOLDER, compose_config
from hmr4d.engine.published_names import translate_overrides
from hmr4d.engine.run import run
from hmr4d.methods import registry
from hmr4d.methods.base import Method, Pipeline
from hmr4d.methods.defaults import TEXT_MODEL
from hmr4d.methods.published_names import PublishedNameError
from hmr4d.methods.registry import (
    built_in,
    get_method,
    load_released,
    method_of_config,
    register,
    untrained_methods,
)
from hmr4d.utils.weights import WeightFiles


class Still(Pipeline):
    """Can do neither."""

    method = "still"


class StillMethod(Method):
    """Of `Still`."""

    name, title, pipeline_class, weights = "still", "Still", Still, WeightFiles()

    def describe(self, pipeline: Any) -> dict[str, Any]:
        return {}

    def restore(self, config: dict[str, Any], folder: Path) -> Pipeline:
        return Still()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Method:
    monkeypatch.setattr(registry, "_registered", {})
    method = StillMethod()
    register(method)
    return method


def test_every_method_of_the_repository_satisfies_the_interface() -> None:
    assert len(built_in()) >= 2
    for name in built_in():
        method = get_method(name)
        assert method.name == name == method.pipeline_class.method
        assert method.capabilities and method.title
        assert (CONFIG_FOLDER / "global" / "task" / f"{method.test_task}.yaml").is_file()


def test_a_package_adds_the_names_of_its_published_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names stand in a module beside the method, and are not looked for where there is none."""
    folder = tmp_path / "package_of_still"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from tests.methods.test_registry import StillMethod\n\n\nclass Own(StillMethod): ...\n"
    )
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.published_names()
    assert before  # those of the repository
    importlib.import_module("package_of_still")
    register(type("Own", (StillMethod,), {"__module__": "package_of_still"})())
    assert registry.published_names() == before
    (folder / "published_names.py").write_text(
        "from hmr4d.methods.published_names import PublishedNames, as_key\n\n"
        "PUBLISHED = PublishedNames(keys={'still.size': as_key('network.dim')}, parts=('still.',))\n"
    )
    registry._names_beside.cache_clear()
    assert translate_overrides(["still.size=8", "data.name=x"]) == ["network.dim=8", "data_name=x"]
    with pytest.raises(PublishedNameError, match="still.depth=2: this published option has no counterpart"):
        translate_overrides(["still.depth=2"])


def test_a_registered_method_is_found_by_the_format_of_its_release(registered: Method, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": "hmr4d-still", "version": 1}))
    assert registry.method_of_release(tmp_path) is registered
    with pytest.raises(ValueError, match="A method 'still' already exists"):
        register(StillMethod())
    register(registered)  # the same one again changes nothing


@pytest.mark.parametrize("kind", ["hmr4d-unheard", "motion2to3", None])
def test_a_release_of_an_unknown_method_names_the_known_formats(kind: str | None, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": kind, "version": 1}))
    with pytest.raises(ValueError, match=rf"has the format '{kind}'; known: \[.*'hmr4d-motion2to3'.*Install"):
        load_pipeline(tmp_path)


def test_methods_without_weights_are_ready_by_their_names(tmp_path: Path) -> None:
    found = untrained_methods()
    assert len(found) >= 2 and found.keys() < set(built_in())
    for name, method in found.items():
        pipeline = method.untrained(SMPL22)
        assert pipeline.method == name and pipeline.can("lift") and pipeline.skeleton == SMPL22
        (tmp_path / "config.json").write_text(json.dumps({"format": method.format, "version": 1}))
        with pytest.raises(ValueError, match=f"has the format '{method.format}'; known") as told:
            registry.method_of_release(tmp_path)
        assert str(told.value).count(method.format) == 1
    with pytest.raises(ValueError, match="Still needs weights"):
        StillMethod().untrained(SMPL22)


def test_missing_capabilities_are_reported_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="needs a method that lifts 2D keypoints.*Motion-2-to-3 samples motion from"):
        load_released(TEXT_MODEL, needs="lift")
    lifter = load_pipeline("mocap2to3-bandai")
    assert (lifter.can("lift"), lifter.can("sample")) == (True, False)
    with pytest.raises(ValueError, match="has no `.sample`: it lifts 2D keypoints to 3D motion with `.lift`"):
        lifter.sample(["a walk"])
    with pytest.raises(ValueError, match="Still has no `.lift`: it does neither"):
        Still().lift(torch.zeros(1), torch.zeros(1), None)  # type: ignore[arg-type]


def test_a_task_that_the_method_cannot_do_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    words = [f"paths.outputs={tmp_path}", "ckpt_path=none"]
    with pytest.raises(ValueError, match="samples motion from text; Mocap-2-to-3 lifts.*global/task=lift/synthetic"):
        run(compose_config([*words, "exp=mocap2to3/finetune_mv_small", "global/task=text2motion/test"]))
    with pytest.raises(ValueError, match="evaluator_matching trains no method"):
        run(compose_config([*words, "exp=evaluator/matching", "global/task=text2motion/test"]))
    assert method_of_config(compose_config(["exp=evaluator/matching"])) is None
    assert not any(tmp_path.iterdir())
