"""Ray lifting as a method: its construction and its releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmr4d.methods.base import Method
from hmr4d.methods.ray_lifting.network import RayNetwork
from hmr4d.methods.ray_lifting.pipeline import RayLiftingPipeline
from hmr4d.utils.weights import WeightFiles


class RayLifting(Method):
    """Lifts 2D keypoints of one calibrated camera to metric 3D motion by regression along the rays and a body fit."""

    name, title = "ray_lifting", "Ray lifting"
    pipeline_class = RayLiftingPipeline
    weights = WeightFiles("network", added_later=("uncertainty",))

    def describe(self, pipeline: RayLiftingPipeline) -> dict[str, Any]:
        network = pipeline.network
        return {
            "network": {
                "dim": network.dim,
                "dilations": list(network.dilations),
                "uncertainty": network.uncertainty.dim if network.uncertainty is not None else 0,
            },
            "fps": pipeline.fps,
            "foot_heights": dict(pipeline.foot_heights),
            "calibration": dict(pipeline.calibration),
        }

    def restore(self, config: dict[str, Any], folder: Path) -> RayLiftingPipeline:
        network = RayNetwork(**config["network"])
        known = {key: config[key] for key in ("fps", "foot_heights", "calibration")}
        return RayLiftingPipeline(network, **known)


METHOD = RayLifting()
