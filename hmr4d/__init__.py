"""hmr4d: 2D human motion, which is everywhere, turned into 3D human motion, which is scarce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch

__version__ = "0.1.0"

__all__ = ["load_pipeline"]


def load_pipeline(name_or_folder: str | Path = "motion2to3-bandai", *, device: str | torch.device = "cpu") -> Any:
    """A released model, ready for `.sample`; no trainer, no configuration, no display.

    Args:
        name_or_folder: a model under inputs/checkpoints/hmr4d, or a folder of that layout.
        device: where the network runs; noise is drawn on the CPU, so every device gives the same motion.

    Returns:
        A `Motion2to3Pipeline`, to be asked for `texts=[...], seconds=5`, or a `Mocap2to3Pipeline`, to be asked for the
        3D motion of a 2D track; which one is a property of the folder.

    Raises:
        FileNotFoundError: there is no such model; the known ones are listed.
        ValueError: one of its files is damaged.
    """
    from hmr4d.methods.mocap2to3 import release as mocap2to3
    from hmr4d.methods.motion2to3 import release as motion2to3
    from hmr4d.utils.releases import find_release, release_kind

    folder = find_release(name_or_folder)
    method = mocap2to3 if release_kind(folder) == mocap2to3.FORMAT else motion2to3
    return method.load_release(folder, device=device)
