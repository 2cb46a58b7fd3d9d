"""From which side a picture shows a person, by COCO-17 keypoints."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.skeleton import COCO17

CLEAR_TURN = 0.25  # width of shoulders and hips over the torso, from which front and back are told apart
LEAST_TORSO = 1e-6  # pixels
_SIDES = COCO17.indices("left_shoulder", "right_shoulder"), COCO17.indices("left_hip", "right_hip")


def frontness(pixels: Tensor) -> Tensor:
    """(...) width from right to left shoulder and hip over the torso's length: positive seen from the front.

    Args:
        pixels: (..., 17, 2).
    """
    width = torch.stack([pixels[..., left, 0] - pixels[..., right, 0] for left, right in _SIDES]).mean(0)
    shoulders, hips = (pixels[..., list(pair), :].mean(-2) for pair in _SIDES)
    return width / (shoulders - hips).norm(dim=-1).clamp(min=LEAST_TORSO)
