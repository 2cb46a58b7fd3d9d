"""hmr4d: 2D human motion, which is everywhere, turned into 3D human motion, which is scarce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hmr4d.methods.defaults import TEXT_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from hmr4d.methods.base import Pipeline

__version__ = "0.1.0"

__all__ = ["load_pipeline"]


def load_pipeline(name_or_folder: str | Path = TEXT_MODEL, *, device: str | torch.device = "cpu") -> Pipeline:
    """A released model of any method, ready for use; no trainer, no configuration, no display.

    Args:
        name_or_folder: a model under inputs/checkpoints/hmr4d, or a folder of that layout.
        device: device of the network; noise is drawn on the CPU, so every device gives the same motion.

    Returns:
        A pipeline. Models of text to motion have `.sample(texts=[...], seconds=5)`, models that lift 2D keypoints have
        `.lift(kp2d, conf, rig)`; `.can("sample")` and `.can("lift")` test for them.

    Raises:
        FileNotFoundError: unknown model; the message lists the known ones.
        ValueError: one of its files is damaged, or its method is not installed.
    """
    from hmr4d.methods.registry import load_released

    return load_released(name_or_folder, device=device)
