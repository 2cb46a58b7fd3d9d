"""The baselines as methods that need no training and have no releases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hmr4d.body.skeleton import Skeleton
from hmr4d.methods.base import Method
from hmr4d.methods.lifting_baselines.pipeline import (
    BaselinePipeline,
    GroundRayPipeline,
    LevelOptimizationPipeline,
    OptimizationPipeline,
    OraclePipeline,
)
from hmr4d.utils.weights import WeightFiles


class Baseline(Method):
    """Lifting without a network."""

    pipeline_class: ClassVar[type[BaselinePipeline]]
    weights = WeightFiles()  # none
    is_trained = False

    def untrained(self, keypoints: Skeleton, prior: Path | None = None) -> BaselinePipeline:
        return self.pipeline_class(keypoints, prior)

    def describe(self, pipeline: BaselinePipeline) -> dict[str, Any]:
        raise ValueError(self._no_release())

    def restore(self, config: dict[str, Any], folder: Path) -> BaselinePipeline:
        raise ValueError(self._no_release())

    def _no_release(self) -> str:
        return f"{self.title} needs no training and has no releases; use it by its name, '{self.name}'."


class GroundRay(Baseline):
    """Depth from the floor, poses from a bank."""

    name, title, pipeline_class = "ground_ray", "Ground ray", GroundRayPipeline


class Optimization(Baseline):
    """A kinematic chain fitted to the keypoints."""

    name, title, pipeline_class = "optimization", "Optimization", OptimizationPipeline


class LevelOptimization(Baseline):
    """The fit without the pose of the camera over the floor."""

    name, title, pipeline_class = "optimization_level", "Optimization, level camera", LevelOptimizationPipeline
    for_comparison = True


class Oracle(Baseline):
    """Triangulation of the true 2D of all views."""

    name, title, pipeline_class = "oracle", "Oracle", OraclePipeline
    for_comparison = True


METHODS: Mapping[str, Method] = {m.name: m for m in (GroundRay(), Optimization(), LevelOptimization(), Oracle())}
