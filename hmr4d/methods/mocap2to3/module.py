"""The training module of Mocap-2-to-3."""

from __future__ import annotations

from hmr4d.methods.mocap2to3.weights import FREEZE_GROUPS, WEIGHTS
from hmr4d.nn.training import PipelineModule


class Mocap2to3Module(PipelineModule):
    """Trains and tests a `Mocap2to3Pipeline`; `freeze` names a group of FREEZE_GROUPS."""

    weights, freeze_groups = WEIGHTS, FREEZE_GROUPS
