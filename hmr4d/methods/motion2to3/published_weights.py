"""Translation of the parameter names of published checkpoints.

A published file is a Lightning checkpoint whose "state_dict" contains `pipeline.denoiser2d.*` (single view) or
`pipeline.denoisermv.*` (several views). It contains position tables twice; they are dropped, because hmr4d computes
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

PREFIXES = ("pipeline.denoiser2d.", "pipeline.denoisermv.")
TEXT_ENCODER_PREFIX = "pipeline.clip"
POSITION_TABLES = ("sequence_pos_encoder.pe", "embed_timestep.sequence_pos_encoder.pe")

# (published name, name in hmr4d), matched in this order on names without the pipeline prefix
_RULES = (
    (r"^input_process\.poseEmbedding\.", "embed_motion."),
    (r"^embed_timestep\.time_embed\.", "embed_step.mlp."),
    (r"^output_process\.poseFinal\.", "motion_head."),
    (r"^root_process\.poseFinal\.", "root_head."),
    (r"^embed_cond2d\.", "embed_condition2d."),
    (r"^seqTrans(?:Decoder|Encoder)\.layers\.", "trunk.layers."),
    (r"\.mv_norm\.", ".view_norm."),
    (r"\.mv_linear\.", ".view_out."),
    (r"\.mv_attn\.in_proj_", ".view_attention.qkv."),
    (r"\.mv_attn\.out_proj\.", ".view_attention.out."),
    (r"\.self_attn\.in_proj_", ".self_attention.qkv."),
    (r"\.self_attn\.out_proj\.", ".self_attention.out."),
    (r"\.multihead_attn\.in_proj_", ".memory_attention.qkv."),
    (r"\.multihead_attn\.out_proj\.", ".memory_attention.out."),
    (r"\.linear1\.", ".feed_forward.0."),
    (r"\.linear2\.", ".feed_forward.3."),
)
_DECODER_NORMS = {".norm1.": ".self_norm.", ".norm2.": ".memory_norm.", ".norm3.": ".feed_forward_norm."}
_ENCODER_NORMS = {".norm1.": ".self_norm.", ".norm2.": ".feed_forward_norm."}


def is_published(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether any key has the published layout."""
    return any("input_process.poseEmbedding" in key for key in state_dict)


def translate_key(key: str) -> str:
    """Name in hmr4d of a published denoiser parameter without pipeline prefix."""
    norms = _ENCODER_NORMS if key.startswith("seqTransEncoder.") else _DECODER_NORMS
    for pattern, ours in _RULES:
        key = re.sub(pattern, ours, key)
    for published, ours in norms.items():
        key = key.replace(published, ours)
    return key


def translate(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict with the names of `MotionDenoiser`, without text encoder and position tables."""
    out: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        if key.startswith(TEXT_ENCODER_PREFIX):
            continue
        name = next((key.removeprefix(p) for p in PREFIXES if key.startswith(p)), key)
        if name not in POSITION_TABLES:
            out[translate_key(name)] = value
    return out


def translate_published(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The parameters of a published file with names of hmr4d; None for other files."""
    return translate(state_dict) if is_published(state_dict) else None
