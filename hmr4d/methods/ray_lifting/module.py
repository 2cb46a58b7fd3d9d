"""The training module of ray lifting."""

from __future__ import annotations

from hmr4d.methods.ray_lifting.method import RayLifting
from hmr4d.nn.training import PipelineModule


class RayLiftingModule(PipelineModule):
    """Trains and tests a `RayLiftingPipeline`; `freeze=joints` trains the network of the expected errors alone."""

    weights = RayLifting.weights
    freeze_groups = {"none": (), "joints": ("embed", "blocks", "norm", "head")}
