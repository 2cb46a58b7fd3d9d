"""Small networks, clips and pipelines that the tests make themselves."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hmr4d.body.keypoint_body import load_keypoint_body
from hmr4d.methods.k2m.network import K2MNetwork, Part
from hmr4d.methods.k2m.pipeline import K2MPipeline
from hmr4d.methods.k2m.projection import project
from hmr4d.methods.k2m.smpl_head import SmplHead
from hmr4d.methods.k2m.stages import TrainingOptions
from hmr4d.methods.k2m.tokenizer import MotionTokenizer
from hmr4d.methods.k2m.transformers import MaskedTransformer, PooledLengthEstimator, ResidualTransformer
from hmr4d.nn.text import HashTextEncoder

CODES, LAYERS, TEXT_DIM = 16, 3, 8
OWN_START: dict[str, Any] = {  # what the small tokenizer has and the published one has not
    "adapter_depth": 0,
    "norm": "person",
    "rotation": "root_6d",
    "translation": "path",
    "start": "same_scale",
    "quantize_after": 30,
}


def tiny_tokenizer(**options: object) -> MotionTokenizer:
    torch.manual_seed(0)
    sizes = {"dim": 16, "num_heads": 2, "mlp_ratio": 2.0, "width": 16, "conv_depth": 1, "latent_dim": 8}
    codes = {"num_codes": CODES, "num_quantizers": LAYERS, "conv_dropout": 0.0, "temperature": 0.0}
    return MotionTokenizer(**{"fuse": "single_token", **sizes, **codes, **options})  # type: ignore[arg-type]


def tiny_network(only: Part | None = None) -> K2MNetwork:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "token_dim": 8,
        "text_dim": TEXT_DIM,
        "dim": 16,
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": 16,
    }
    tokenizer = tiny_tokenizer()
    for layer in tokenizer.quantizer.codebooks():
        layer.codebook.normal_()
        layer.initialized.fill_(True)
    return K2MNetwork(
        tokenizer,
        MaskedTransformer(num_tokens=CODES, dropout=0.0, **sizes),
        ResidualTransformer(num_tokens=CODES, num_quantizers=LAYERS, dropout=0.0, **sizes),
        PooledLengthEstimator(TEXT_DIM, dropout=0.0),
        only=only,
    )


def tiny_pipeline(stage: Part | None = None, **training: object) -> K2MPipeline:
    options = TrainingOptions(**training)  # type: ignore[arg-type]
    network = tiny_network(stage)
    return K2MPipeline(network, stage=stage, training=options, text_encoder=HashTextEncoder(TEXT_DIM)).eval()


def walking_clips(count: int, num_frames: int = 60, seed: int = 0, *, turned: bool = False) -> Tensor:
    """(B, F, 18, 3) keypoints of the free body that swings arms and legs; no 3D is left.

    It faces the camera; `turned`: it is seen from all around, evenly.
    """
    generator = torch.Generator().manual_seed(seed)
    head, body = SmplHead("root_6d"), load_keypoint_body("anny")
    size = torch.tensor([1280.0, 720.0]).expand(count, 2)
    time = torch.arange(num_frames) / 30
    raw = torch.zeros(count, num_frames, head.dim)
    phase = 6.28 * torch.rand(count, 1, generator=generator)
    swing = 0.4 * torch.sin(6.0 * time + phase)
    if turned:
        yaw = 2 * math.pi * torch.arange(count)[:, None] / count
        raw[..., 10], raw[..., 12] = yaw.cos() - 1, -yaw.sin()
    raw[..., 16], raw[..., 19] = swing, -swing
    raw[..., 13 + 3 * 18 + 1], raw[..., 13 + 3 * 19 + 1] = -0.3 + swing / 2, 0.3 + swing / 2
    raw[..., -3] = 0.5 + 0.2 * torch.rand(count, 1, generator=generator)
    found = head(raw, size)
    _, points = body(found.betas, found.rotations, found.translation)
    pixels, _ = project(points, size)
    rows = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
    last = torch.cat([size, torch.ones(count, 1)], -1)[:, None, None].expand(-1, num_frames, 1, -1)
    return torch.cat([rows, last], 2)


def tokenizer_batch(count: int = 2, num_frames: int = 60) -> dict[str, Tensor]:
    keypoints = walking_clips(count, num_frames)
    return {
        "keypoints": keypoints,
        "valid": torch.ones(count, num_frames, dtype=torch.bool),
        "start": torch.zeros(count, dtype=torch.int64),
        "lengths": torch.full((count,), num_frames),
    }


def token_batch(count: int = 3, num_tokens: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor([num_tokens - k % 3 for k in range(count)])
    return {
        "motion_tokens": torch.randint(0, CODES, (count, num_tokens, LAYERS), generator=generator),
        "lengths": lengths,
        "valid": torch.arange(num_tokens) < lengths[:, None],
        "text_pooled": torch.randn(count, TEXT_DIM, generator=generator),
    }
