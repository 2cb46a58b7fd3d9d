"""What `hmr4d lift` lifts with: a released model, or a baseline without a network."""

from __future__ import annotations

from pathlib import Path

from hmr4d.body.skeleton import Skeleton
from hmr4d.methods.base import Pipeline
from hmr4d.methods.lifting_baselines.pipeline import BaselinePipeline
from hmr4d.methods.lifting_baselines.table import USABLE
from hmr4d.methods.registry import load_released
from hmr4d.utils.devices import pick_device

MODEL = "model"


def load_lifter(method: str, model: str, *, device: str, keypoints: Skeleton, prior: Path | None = None) -> Pipeline:
    """What lifts.

    Args:
        method: "model", the name of the model's method, which says the same, or a baseline.
        model: name or folder of a released model; baselines need none.
        device: where networks run.
        keypoints: skeleton of the keypoints.
        prior: file of poses for baselines; None: made-up motion.

    Raises:
        FileNotFoundError: there is no such model, or no such file.
        ValueError: no such method, or a model that does not lift.
    """
    if method in USABLE:
        return BaselinePipeline(method, keypoints, prior)
    pipeline = load_released(model, device=pick_device(device), needs="lift")
    if method not in (MODEL, pipeline.method):
        raise ValueError(
            f"--method is '{method}'; choose {MODEL} (which --model names, here one of {pipeline.method}), or lift "
            f"without a network by one of {', '.join(USABLE)}."
        )
    return pipeline
