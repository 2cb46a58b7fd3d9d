"""Weights into a pipeline: our own checkpoints, released folders and published files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.methods.motion2to3.published_weights import is_published, translate
from hmr4d.utils.weights import load_strictly, part_of_state, read_state

CKPT_TYPES = ("pl", "pl_2d_mv")
NEW_IN_VIEWS = ("embed_cam", "root_head", "view_attention", "view_out", "view_norm")  # what a 2D checkpoint lacks


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Denoiser parameters by our names from a Lightning checkpoint, a published one, a .safetensors file or its folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or holds no denoiser.
    """
    state = read_state(path)
    return translate(state) if is_published(state) else part_of_state(state, "pipeline.denoiser.", path=path)


def load_weights(
    pipeline: Motion2to3Pipeline, path: str | Path | Sequence[str | Path], ckpt_type: str = "pl", *,
    may_start_views: bool = False,
) -> None:  # fmt: skip
    """Loads weights into the denoiser.

    Args:
        pipeline: filled in place.
        path: one path, or two for `pl_2d_mv`, of which the second wins where both have a parameter.
        ckpt_type: "pl" or "pl_2d_mv".
        may_start_views: training is about to begin, so a 2D checkpoint may fill its part of a multi-view network;
            otherwise every parameter must be there.

    Raises:
        ValueError: unknown type, missing, unexpected or misshapen parameters.
    """
    if ckpt_type not in CKPT_TYPES:
        raise ValueError(f"Unknown ckpt_type '{ckpt_type}'; known: {CKPT_TYPES}.")
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if len(paths) != (2 if ckpt_type == "pl_2d_mv" else 1):
        raise ValueError(f"ckpt_type '{ckpt_type}' got {len(paths)} path(s); pl takes one, pl_2d_mv takes two.")
    weights: dict[str, Tensor] = {}
    for one in paths:
        weights |= read_weights(one)
    allowed = NEW_IN_VIEWS if may_start_views and pipeline.denoiser.use_views else ()
    load_strictly(pipeline.denoiser, weights, allowed, source=str(path))
