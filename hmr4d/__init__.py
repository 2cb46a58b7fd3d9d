"""hmr4d: 2D human motion, which is everywhere, turned into 3D human motion, which is scarce."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from hmr4d.models.motion2to3.pipeline import Motion2to3Pipeline

__version__ = "0.1.0"

__all__ = ["load_pipeline"]


def load_pipeline(
    name_or_folder: str | Path = "motion2to3-bandai", *, device: str | torch.device = "cpu"
) -> Motion2to3Pipeline:
    """A released model, ready for `.sample(texts=[...], seconds=5)`; no trainer, no configuration, no display.

    Args:
        name_or_folder: a model under inputs/checkpoints/hmr4d, or a folder of that layout.
        device: where the network runs; noise is drawn on the CPU, so every device gives the same motion.

    Raises:
        FileNotFoundError: there is no such model; the known ones are listed.
        ValueError: one of its files is damaged.
    """
    from hmr4d.models.motion2to3.release import load_release

    return load_release(name_or_folder, device=device)
