"""File layout of the parameters of the denoisers, and the groups that can be frozen."""

from __future__ import annotations

from hmr4d.methods.motion2to3.published_weights import translate_published
from hmr4d.utils.weights import WeightFiles

WEIGHTS = WeightFiles(
    network="denoiser",
    new_in_views=(
        "embed_cam",
        "root_head",
        "view_attention",
        "view_out",
        "view_norm",
    ),  # parameters that a 2D checkpoint lacks
    num_files={"pl": 1, "pl_2d_mv": 2},
    translate=translate_published,
)
# Parameters of a 2D checkpoint; all others, which several views add, stay trainable.
FREEZE_GROUPS = {
    "none": (),
    "pretrained_2d": (
        "embed_motion",
        "embed_text",
        "embed_step",
        "motion_head",
        "self_attention",
        "self_norm",
        "memory_attention",
        "memory_norm",
        "feed_forward",
    ),
    "backbone": (
        "embed_motion",
        "embed_step",
        "motion_head",
        "self_attention",
        "self_norm",
        "memory_attention",
        "memory_norm",
        "feed_forward",
    ),
}
