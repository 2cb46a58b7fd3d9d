"""Weights into a pipeline: checkpoints of either stage and released folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.utils.weights import load_strictly, part_of_state, read_state

# What a checkpoint of the first stage lacks.
NEW_IN_VIEWS = (
    "view_attention", "view_out", "view_norm", "mix_attention", "mix_out", "mix_norm", "embed_other",
    "embed_condition2d", "condition2d_out", "embed_hints", "hints_out", "hints_head",
)  # fmt: skip


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Denoiser parameters of a Lightning checkpoint, a .safetensors file or its folder; errors as `read_state`."""
    return part_of_state(read_state(path), "pipeline.denoiser.", path=path)


def load_weights(
    pipeline: Mocap2to3Pipeline, path: str | Path | Sequence[str | Path], ckpt_type: str = "pl", *,
    may_start_views: bool = False,
) -> None:  # fmt: skip
    """Loads weights into the denoiser.

    Args:
        pipeline: filled in place.
        path: checkpoint or released folder.
        ckpt_type: "pl"; there are no others.
        may_start_views: training is about to begin, so that a checkpoint of the first stage may fill its part of a
            network of several views; otherwise every parameter must be there.

    Raises:
        ValueError: unknown type, more than one path, missing, unexpected or misshapen parameters.
    """
    if ckpt_type != "pl" or not isinstance(path, (str, Path)):
        raise ValueError(f"ckpt_type is '{ckpt_type}' and ckpt_path {path}; this method takes ckpt_type=pl, one path.")
    allowed = NEW_IN_VIEWS if may_start_views and pipeline.denoiser.use_views else ()
    load_strictly(pipeline.denoiser, read_weights(path), allowed, source=str(path))
