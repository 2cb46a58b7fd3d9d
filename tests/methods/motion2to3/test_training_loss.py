"""Training steps with tiny networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.methods.motion2to3.options import TrainingOptions
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.methods.motion2to3.values import TrainingDraws
from hmr4d.nn.text import TextFeatures, pack_features
from tests.methods.motion2to3.tiny import TEXT_DIM, tiny_batch, tiny_denoiser, tiny_pipeline

PROMPTS = ["a person walks", "someone bows very politely to the left", "a kick"]
SINGLE = {"use_views": False, "cam_dim": 0, "separate_root_head": False}


def draws_for(pipeline: Motion2to3Pipeline, batch: dict[str, Any], seed: int = 0) -> TrainingDraws:
    return pipeline.draw_training(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "training",
    [TrainingOptions(), TrainingOptions(include_padding=True), TrainingOptions(velocity_weight=0.5)],
    ids=["masked", "published", "velocity"],
)
def test_padding_has_no_gradient(training: TrainingOptions) -> None:
    """Values in padded frames change neither loss nor gradient."""
    batch = tiny_batch()
    other = dict(batch, joints2d=batch["joints2d"].clone())
    other["joints2d"][1, :, 6:] = 3.0
    losses, gradients = [], []
    for given in (batch, other):
        pipeline = tiny_pipeline(training=training)
        loss = pipeline.training_loss(given, draws_for(pipeline, given))["loss"]
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([p.grad.flatten() for p in pipeline.denoiser.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)


def test_masked_loss_ignores_padding_but_the_published_one_does_not() -> None:
    losses = {}
    for include in (True, False):
        pipeline = tiny_pipeline(training=TrainingOptions(include_padding=include, drop_text=0, drop_cam=0))
        short = tiny_batch((6,))
        draws = draws_for(pipeline, short)
        padding = {"joints2d": (1, 4, 6, 22, 2), "conf": (1, 6, 22)}
        long = dict(short, valid=torch.arange(12)[None] < 6)
        for key, shape in padding.items():
            long[key] = torch.cat([short[key], torch.zeros(shape)], 1 if key == "conf" else 2)
        long_draws = TrainingDraws(
            torch.cat([draws.eps, torch.zeros_like(draws.eps)], 2), draws.t, draws.keep_text, draws.keep_cam
        )
        with torch.no_grad():
            losses[include] = [
                float(pipeline.training_loss(given, how)["loss"]) for given, how in ((short, draws), (long, long_draws))
            ]
    assert losses[False][0] == pytest.approx(losses[False][1], rel=1e-4)
    assert losses[True][0] == pytest.approx(2 * losses[True][1], rel=1e-4)


def test_points_of_low_confidence_have_no_gradient_in_a_single_view() -> None:
    pipeline = tiny_pipeline(tiny_denoiser(**SINGLE), num_views=1)
    batch = tiny_batch(num_views=1)
    batch["conf"] = batch["conf"].clone()
    batch["conf"][:, :, 5] = 0.65  # at the threshold, not over it
    wanted = pipeline.codec.encode(batch["joints2d"])
    draws = draws_for(pipeline, batch)
    seen = []
    pipeline.denoiser.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    with torch.no_grad():
        loss = float(pipeline.training_loss(batch, draws)["loss"])
    counted = batch["valid"][:, None, :, None].expand_as(wanted).clone()
    counted[..., 10:12] = False
    assert loss == pytest.approx(float((seen[0] - wanted)[counted].square().mean()), rel=1e-4)


def test_draws_depend_on_the_generator_alone() -> None:
    pipeline, batch = tiny_pipeline(), tiny_batch()
    first, again, other = (draws_for(pipeline, batch, seed) for seed in (1, 1, 2))
    assert torch.equal(first.eps, again.eps)
    assert torch.equal(first.t, again.t)
    assert not torch.allclose(first.eps, other.eps)


def test_draws_have_the_configured_probabilities() -> None:
    pipeline = tiny_pipeline(training=TrainingOptions(drop_text=0.3, drop_cam=0.2))
    batch = tiny_batch((2,) * 1000)
    draws = draws_for(pipeline, batch)
    assert float((~draws.keep_text).float().mean()) == pytest.approx(0.3, abs=0.05)
    assert float((~draws.keep_cam).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert draws.t.bincount(minlength=10).min() > 60
    assert set(draws.t.tolist()) == set(range(10))
    assert draws.eps.std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_step_power_determines_the_frequency_of_noisy_steps(power: float) -> None:
    """t >= 8 of 10 means u^power <= 0.2."""
    draws = draws_for(tiny_pipeline(training=TrainingOptions(step_power=power)), tiny_batch((2,) * 2000))
    assert draws.t.min() >= 0
    assert draws.t.max() == 9
    assert float((draws.t >= 8).float().mean()) == pytest.approx(0.2 ** (1.0 / power), abs=0.04)


def seen_by_network(pipeline: Motion2to3Pipeline, batch: dict[str, Any], draws: TrainingDraws) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    handle = pipeline.denoiser.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs, x_t=args[0]), with_kwargs=True
    )
    pipeline.training_loss(batch, draws)
    handle.remove()
    return seen


@pytest.mark.parametrize("use_pooled_token", [True, False])
def test_dropped_text_is_the_empty_prompt(use_pooled_token: bool) -> None:
    pipeline, batch = tiny_pipeline(use_pooled_token=use_pooled_token), tiny_batch()
    draws = draws_for(pipeline, batch)
    draws = TrainingDraws(draws.eps, draws.t, torch.tensor([True, False]), torch.ones(2, 4, dtype=torch.bool))
    seen = seen_by_network(pipeline, batch, draws)
    empty = seen_by_network(pipeline, dict(batch, text=["", ""]), draws)
    count = int(empty["text_valid"][1].sum())
    assert int(seen["text_valid"][1].sum()) == count
    assert torch.allclose(seen["text"][1, :count], empty["text"][1, :count])
    assert int(seen["text_valid"][0].sum()) > count


def test_dropped_cameras_are_zero() -> None:
    pipeline, batch = tiny_pipeline(), tiny_batch()
    draws = draws_for(pipeline, batch)
    keep = torch.tensor([[True, False, True, True], [False, True, True, False]])
    seen = seen_by_network(pipeline, batch, TrainingDraws(draws.eps, draws.t, draws.keep_text, keep))
    assert torch.equal(seen["cam"], torch.where(keep[..., None], batch["cam"], 0.0))


def test_token_dropout_keeps_one_token() -> None:
    pipeline = tiny_pipeline(training=TrainingOptions(drop_text=0.0, drop_token=1.0), use_pooled_token=True)
    features = pipeline.encode_text(["a person walks slowly"] * 200)
    batch = tiny_batch((2,) * 200)
    batch |= {"text_tokens": features.tokens, "text_valid": features.valid, "text_pooled": features.pooled}
    draws = draws_for(pipeline, batch)
    seen = seen_by_network(pipeline, batch, draws)
    counts = seen["text_valid"].sum(1)
    assert counts.min() >= 2, "the pooled vector and the first token stay"
    assert counts.min() < 4 < counts.max()
    assert counts.max() <= 1 + features.valid.shape[1]


def test_dropping_tokens_needs_cached_text() -> None:
    pipeline = tiny_pipeline(training=TrainingOptions(drop_token=0.5))
    with pytest.raises(ValueError, match="drop_token.*text cache"):
        draws_for(pipeline, tiny_batch())


def test_a_training_step_does_not_change_its_draws() -> None:
    pipeline, batch = tiny_pipeline(training=TrainingOptions(drop_token=0.5)), tiny_batch()
    features = pipeline.encode_text(batch["text"])
    batch |= {"text_tokens": features.tokens, "text_valid": features.valid, "text_pooled": features.pooled}
    draws = draws_for(pipeline, batch)
    given = replace(draws, keep_token=torch.zeros_like(draws.keep_token).index_fill(1, torch.tensor([1]), True))
    kept = {name: value.clone() for name, value in vars(given).items() if value is not None}
    pipeline.training_loss(batch, given)
    assert all(torch.equal(vars(given)[name], value) for name, value in kept.items())


def test_cached_text_trains_like_the_encoder() -> None:
    pipeline, batch = tiny_pipeline(), tiny_batch()
    features = pipeline.encode_text(batch["text"])
    cached = batch | {"text_tokens": features.tokens, "text_valid": features.valid, "text_pooled": features.pooled}
    draws = draws_for(pipeline, batch)
    draws = TrainingDraws(draws.eps, draws.t, torch.tensor([True, False]), draws.keep_cam)
    with torch.no_grad():
        expected = float(pipeline.training_loss(batch, draws)["loss"])
        silent = Motion2to3Pipeline(pipeline.denoiser, pipeline.codec, pipeline.schedule)
        states = pipeline.null_text()
        silent.set_null_text(TextFeatures(states.tokens, states.valid, states.pooled))
        assert float(silent.training_loss(cached, draws)["loss"]) == pytest.approx(expected, rel=1e-6)


def test_elevation_cameras_for_a_single_view() -> None:
    pipeline = tiny_pipeline(tiny_denoiser(**(SINGLE | {"cam_dim": 4})), num_views=1)
    batch = tiny_batch(num_views=1)
    draws = draws_for(pipeline, batch)
    keep = torch.ones(2, 1, dtype=torch.bool)
    seen = seen_by_network(pipeline, batch, TrainingDraws(draws.eps, draws.t, draws.keep_text, keep))
    assert torch.equal(seen["cam"], batch["elevation_cam"][:, None])


def test_null_text_set_by_hand_is_used() -> None:
    pipeline = tiny_pipeline(guidance_scale=0.0)
    plain = pipeline.sample(["a kick"], seconds=1)[0].joints3d
    states = np.ones((3, TEXT_DIM), dtype=np.float32)
    pipeline.set_null_text(pack_features([states], np.ones((1, TEXT_DIM), dtype=np.float32)))
    assert float((pipeline.sample(["a kick"], seconds=1)[0].joints3d - plain).norm(dim=-1).max()) > 1e-4


@pytest.mark.parametrize("num_views", [1, 4])
def test_one_batch_can_be_overfitted(num_views: int) -> None:
    torch.manual_seed(0)
    changes = SINGLE if num_views == 1 else {}
    denoiser = tiny_denoiser(awake=False, dim=32, ff_dim=64, num_heads=4, **changes)
    pipeline = tiny_pipeline(denoiser, num_views=num_views, training=TrainingOptions(drop_text=0.0, drop_cam=0.0))
    batch = tiny_batch((8, 6), num_views=num_views)
    draws = draws_for(pipeline, batch)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = pipeline.training_loss(batch, draws)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 0.5
    assert losses[-1] < 0.05 * losses[0]
