"""Confidence as a number in [0, 1], from the expected error of a joint."""

from __future__ import annotations

from torch import Tensor

GOOD_JOINT = 0.05  # meters; an error of this size halves the confidence


def confidence_of(uncertainty: Tensor) -> Tensor:
    """(...) in (0, 1]: 1 / (1 + e^2 / GOOD_JOINT^2) of expected errors e (...) in meters."""
    return 1 / (1 + (uncertainty / GOOD_JOINT) ** 2)
