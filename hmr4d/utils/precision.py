"""Keeps geometry and metrics in float32, and chooses the precision of a training for the hardware."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch

BFLOAT16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # names in torch.cpu.get_capabilities()
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def full_precision(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The same function with autocast switched off inside, on the device of its first tensor argument.

    Under autocast, matrix products of camera geometry would lose millimeters.
    """

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        tensor = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)), None)
        device_type = "cpu" if tensor is None else tensor.device.type
        with torch.autocast(device_type, enabled=False):
            return function(*args, **kwargs)

    return run


@contextmanager
def exact_float32(device_type: str) -> Generator[None, None, None]:
    """Inside, float32 means float32: autocast is off, and so are the TF32 and bfloat16 shortcuts of the libraries.

    They would move distances of embeddings in the third digit. Settings are those of the process and come back at the
    end.

    Args:
        device_type: "cpu", "cuda": where autocast is switched off.
    """
    libraries: Any = torch.backends  # it creates its attributes dynamically
    backends = (
        libraries.cuda.matmul,
        libraries.cudnn.conv,
        libraries.cudnn.rnn,
        libraries.mkldnn.matmul,
        libraries.mkldnn.conv,
        libraries.mkldnn.rnn,
    )
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def training_precision(accelerator: str = "auto") -> str:
    """The faster of the values "bf16-mixed" and "32-true" of Lightning's `precision` on this machine.

    Processors without instructions for bfloat16 emulate it; a training step then takes many times as long.

    Args:
        accelerator: Lightning's `accelerator`, such as "auto", "cpu" or "gpu".
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every release
        fast = accelerator in ("auto", "cpu") and any(capabilities.get(name) for name in BFLOAT16_INSTRUCTIONS)
    return "bf16-mixed" if fast else "32-true"
