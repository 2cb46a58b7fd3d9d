"""Which device to run on."""

from __future__ import annotations

import torch


def pick_device(name: str = "auto") -> torch.device:
    """The named device; "auto" is an accelerator if there is one. ValueError if the device is not available."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"Device '{name}' is not available here ({reason}). Use cpu or auto.") from error
    return device
