"""An untrained evaluator of 2D keypoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hmr4d.evaluators.evaluator import Evaluator, EvaluatorRecipe
from hmr4d.representation.keypoint_features import KeypointStatistics


def keypoint_evaluator(variant: str = "coco17_person") -> Evaluator:
    """Small networks, features that are not normalized."""
    torch.manual_seed(0)
    recipe = EvaluatorRecipe(
        name="tiny", variant=variant, fps=30.0, min_rows=60, max_rows=120, text="tokens", text_encoder="hash",
        text_dim=32, movement_hidden=16, movement_dim=16, motion_hidden=16, text_hidden=16, embed_dim=8,
    )  # fmt: skip
    zero, one = np.zeros(34, np.float32), np.ones(34, np.float32)
    return Evaluator(recipe, KeypointStatistics(name="tiny", mean=zero, std=one, variant=variant, fps=30.0))


def tiny_evaluator(folder: Path) -> Path:
    """The folder that `keypoint_evaluator` is saved in."""
    keypoint_evaluator().save(folder)
    return folder
