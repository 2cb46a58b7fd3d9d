"""Geometry stays in float32 whatever precision a trainer chose for the network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def full_precision(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The same function with autocast switched off inside, on the device of its first tensor argument.

    Under autocast, matrix products of camera geometry would lose millimetres.
    """

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        tensor = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)), None)
        device_type = "cpu" if tensor is None else tensor.device.type
        with torch.autocast(device_type, enabled=False):
            return function(*args, **kwargs)

    return run
