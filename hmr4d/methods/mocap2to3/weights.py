"""File layout of the parameters of the denoiser, and the groups that can be frozen."""

from __future__ import annotations

from hmr4d.utils.weights import WeightFiles

WEIGHTS = WeightFiles(
    network="denoiser",
    new_in_views=(  # parameters that a checkpoint of the first stage lacks
        "view_attention",
        "view_out",
        "view_norm",
        "mix_attention",
        "mix_out",
        "mix_norm",
        "embed_other",
        "embed_condition2d",
        "condition2d_out",
        "embed_hints",
        "hints_out",
        "hints_head",
    ),
)
# Parameters of the first stage; all others, which several views add, stay trainable.
FREEZE_GROUPS = {
    "none": (),
    "prior": (
        "embed_step",
        "embed_cam",
        "null_cam",
        "embed_motion",
        "embed_patch",
        "null_map",
        "norm",
        "self_attention",
        "self_norm",
        "memory_attention",
        "memory_norm",
        "feed_forward",
        "motion_head",
    ),
}
