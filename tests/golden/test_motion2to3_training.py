"""Training losses and gradients, from the recorded seed to the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.methods.motion2to3.options import TrainingOptions
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.methods.motion2to3.values import TrainingDraws
from hmr4d.methods.motion2to3.weights import FREEZE_GROUPS
from hmr4d.nn.training import freeze_parameters
from tests.golden.published import ours, small_pipeline
from tests.golden.vectors import arrays, assert_close, features, seed, tensors, token_mask

DROP = 0.1  # chance of the empty text and of a zeroed camera row
NUM_STEPS = 100


@pytest.fixture(scope="module")
def data() -> dict[str, Tensor]:
    return tensors("training_loss.npz")


def recorded_draws(data: dict[str, Tensor], kind: str) -> TrainingDraws:
    """The published order of draws from the global generator, replayed by hand."""
    points = data[f"{kind}/gt_motion2d"]
    batch, length = len(points), points.shape[-3]
    if kind == "2d":
        generator = torch.Generator().manual_seed(seed() + 6300)
        eps = features(torch.randn(batch, 2 * points.shape[-2], length, generator=generator))[:, None]
    else:
        generator = torch.Generator().manual_seed(seed() + 6100)
        shape = (batch, length * points.shape[-2], 3)
        torch.randn(shape, generator=generator)  # drawn and thrown away
        noise = torch.randn(shape, generator=generator)
        R, t = data["mv/T_w2c"][..., :2, :3], data["mv/T_w2c"][..., :2, 3]
        seen = torch.einsum("bvci,bni->bvnc", R, noise) + t[:, :, None]
        eps = seen.reshape(batch, -1, length, 2 * points.shape[-2])
    t = torch.randint(0, NUM_STEPS, (batch,), generator=generator)
    keep_text = torch.rand(batch, generator=generator) >= DROP
    keep_cam = torch.rand(batch, eps.shape[1], generator=generator) >= DROP
    return TrainingDraws(eps, t, keep_text, keep_cam)


def batch_of(data: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Our batch. The recorded text comes after the empty prompt was put in."""
    points = data[f"{kind}/gt_motion2d"]
    lengths = data[f"{kind}/length"]
    tokens = data[f"{kind}/f_text"]
    valid = token_mask(lengths, points.shape[-3])
    return {
        "joints2d": points if kind == "mv" else points[:, None],
        "lengths": lengths,
        "valid": valid,
        "conf": data["2d/joint_mask"] if kind == "2d" else torch.ones(len(points), *points.shape[-3:-1]),
        "text_tokens": tokens,
        "text_valid": token_mask(data[f"{kind}/f_text_length"], tokens.shape[1]),
        "text_pooled": tokens.new_zeros(len(tokens), tokens.shape[2]),
    } | ({"cam": data["mv/cam_emb"], "T_w2c": data["mv/T_w2c"]} if kind == "mv" else {})


def run(data: dict[str, Tensor], kind: str) -> tuple[Motion2to3Pipeline, dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """Pipeline, loss terms, and what the network was given."""
    pipeline = small_pipeline(kind, training=TrainingOptions(include_padding=kind == "mv"))
    seen: dict[str, Tensor] = {}

    def note(module: torch.nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        seen.update(kwargs, x_t=args[0], t=args[1])

    pipeline.denoiser.register_forward_pre_hook(note, with_kwargs=True)
    if kind == "mv":
        freeze_parameters(pipeline.denoiser, "pretrained_2d", FREEZE_GROUPS)
    draws = recorded_draws(data, kind)
    draws = TrainingDraws(draws.eps, draws.t, torch.ones_like(draws.keep_text), draws.keep_cam)
    terms = pipeline.training_loss(batch_of(data, kind), draws)
    return pipeline, terms, draws.t, seen


@pytest.mark.parametrize("kind", ["2d", "mv"])
def test_loss(kind: str, data: dict[str, Tensor]) -> None:
    _, terms, t, seen = run(data, kind)
    assert torch.equal(t, data[f"{kind}/timesteps"])
    x_t = features(data[f"{kind}/x"])
    assert_close(f"training {kind} noisy motion", seen["x_t"], x_t if kind == "mv" else x_t[:, None])
    if kind == "mv":
        assert_close("training mv cameras after dropping", seen["cam"], data["mv/f_cam"])
    assert_close(f"training {kind} loss", terms["loss"].detach(), data[f"{kind}/loss"])


def test_dropped_texts_follow_the_recorded_draws(data: dict[str, Tensor]) -> None:
    """An empty prompt has two tokens; no other text of the recording is as short."""
    for kind in ("2d", "mv"):
        empty = data[f"{kind}/f_text_length"] == 2
        assert torch.equal(~recorded_draws(data, kind).keep_text, empty)


def test_gradients_of_what_trains(data: dict[str, Tensor]) -> None:
    pipeline, terms, _, _ = run(data, "mv")
    terms["loss"].backward()
    names = arrays("training_loss.npz")["mv/grad_names"].tolist()
    trainable = {id(p) for p in pipeline.denoiser.parameters() if p.requires_grad}
    assert {id(ours(pipeline.denoiser, name)) for name in names} == trainable
    norms = np.array([float(ours(pipeline.denoiser, name).grad.double().norm()) for name in names])
    assert_close("training mv gradient norms", norms, arrays("training_loss.npz")["mv/grad_norms"])
