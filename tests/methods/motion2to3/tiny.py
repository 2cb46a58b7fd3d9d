"""Networks, pipelines and batches small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.options import SamplingOptions, TrainingOptions
from hmr4d.methods.motion2to3.patch_denoiser import PatchDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.text import HashTextEncoder
from hmr4d.representation.motion2d import Motion2DCodec
from hmr4d.representation.views import embed_views
from hmr4d.utils.randomness import ItemRandom

TEXT_DIM = 8


def tiny_denoiser(*, awake: bool = True, **changes: Any) -> MotionDenoiser:
    """Multi-view network of two narrow layers; awake gives the branches that start at zero some weight."""
    settings: dict[str, Any] = {
        "num_features": 44,
        "text_dim": TEXT_DIM,
        "dim": 16,
        "ff_dim": 24,
        "num_layers": 2,
        "num_heads": 2,
        "dropout": 0.0,
        "cam_dim": 5,
        "use_views": True,
        "separate_root_head": True,
    }
    torch.manual_seed(0)
    denoiser = MotionDenoiser(**(settings | changes))
    if awake:
        for name, parameter in denoiser.named_parameters():
            if any(part in name for part in ("view_out", "embed_cam", "embed_condition2d")):
                nn.init.normal_(parameter, std=0.3)
    return denoiser


def tiny_pipeline(
    denoiser: MotionDenoiser | PatchDenoiser | None = None,
    *,
    num_views: int = 4,
    training: TrainingOptions | None = None,
    num_steps: int = 10,
    fps: float = 20.0,
    use_pooled_token: bool = False,
    **sampling: Any,
) -> Motion2to3Pipeline:
    """Pipeline with ten diffusion steps and a text encoder without weights."""
    options = SamplingOptions(**({"num_inference_steps": num_steps} | sampling))
    return Motion2to3Pipeline(
        denoiser or tiny_denoiser(),
        Motion2DCodec("all_200h_nr"),
        NoiseSchedule(num_steps),
        text_encoder=HashTextEncoder(TEXT_DIM),
        sampling=options,
        training=training,
        rig=OrbitRig(num_views=num_views),
        fps=fps,
        use_pooled_token=use_pooled_token,
    ).eval()


def tiny_batch(lengths: tuple[int, ...] = (9, 6), *, num_views: int = 4, seed: int = 0) -> dict[str, Any]:
    """Training batch of random points around the mean motion, zero padded."""
    batch, longest = len(lengths), max(lengths)
    generator = torch.Generator().manual_seed(seed)
    codec = Motion2DCodec("all_200h_nr")
    points = codec.decode(torch.randn(batch, num_views, longest, codec.num_features, generator=generator))
    valid = torch.arange(longest) < torch.tensor(lengths)[:, None]
    rig = OrbitRig(num_views=num_views)
    T_w2c = torch.stack([rig.draw(ItemRandom.from_seed(i))[0] for i in range(batch)])
    return {
        "joints2d": points * valid[:, None, :, None, None],
        "conf": valid[..., None].expand(batch, longest, points.shape[-2]).float(),
        "lengths": torch.tensor(lengths),
        "valid": valid,
        "T_w2c": T_w2c,
        "cam": embed_views(T_w2c, 1.0, relative=True),
        "elevation_cam": torch.randn(batch, 4, generator=generator),
        "text": [f"motion number {i}" for i in range(batch)],
    }


def random_inputs(
    batch: int = 2, num_views: int = 4, frames: int = 6, seed: int = 0
) -> tuple[Tensor, dict[str, Tensor]]:
    """x_t and keywords for a denoiser call."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return draw(batch, num_views, frames, 44), {
        "t": torch.arange(batch) * 3,
        "lengths": torch.full((batch,), frames),
        "text": draw(batch, 5, TEXT_DIM),
        "text_valid": torch.arange(5) < torch.arange(2, 2 + batch)[:, None].clamp(max=5),
        "cam": draw(batch, num_views, 5),
    }
