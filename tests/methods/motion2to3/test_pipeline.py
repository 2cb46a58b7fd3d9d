"""Training steps and sampling on tiny networks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.diffusion.schedule import SPACINGS, NoiseSchedule
from hmr4d.methods.motion2to3.finishing import finish_motion
from hmr4d.methods.motion2to3.options import SamplingOptions, TrainingOptions
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.methods.motion2to3.values import TrainingDraws, views_of
from hmr4d.motion.motion import MotionBatch
from hmr4d.nn.text import TextFeatures, pack_features
from hmr4d.representation.motion2d import Motion2DCodec
from hmr4d.representation.root_velocity import NEUTRAL_HEIGHT, body_height
from hmr4d.representation.views import OrthographicViews
from hmr4d.utils.randomness import ItemRandom
from tests.diffusion.recorded_noise import RecordedNoise
from tests.methods.motion2to3.tiny import TEXT_DIM, tiny_batch, tiny_denoiser, tiny_pipeline

PROMPTS = ["a person walks", "someone bows very politely to the left", "a kick"]
SINGLE = {"use_views": False, "cam_dim": 0, "separate_root_head": False}


def apart(a: Tensor, b: Tensor) -> float:
    """Largest distance between joints, meters."""
    return float((a - b).norm(dim=-1).max())


def count_passes(pipeline: Motion2to3Pipeline) -> list[int]:
    """A list that grows by the batch size with every forward pass of the network."""
    passes: list[int] = []
    pipeline.denoiser.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    return passes


# --- one motion depends on its prompt, seconds and seed alone ------------------------------------------------------


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"world_noise": False},
        {"consistency": True},
        {"step": "ddim", "num_inference_steps": 4},
        {"guidance_scale": 2.5},
        {"height": "clip"},
    ],
    ids=str,
)
def test_motion_does_not_depend_on_the_batch(sampling: dict[str, Any]) -> None:
    pipeline = tiny_pipeline(**sampling)
    seconds, seeds = [1.0, 1.5, 1.2], [11, 12, 13]
    together = pipeline.sample(PROMPTS, seconds=seconds, seed=seeds)
    for i, prompt in enumerate(PROMPTS):
        alone = pipeline.sample([prompt], seconds=seconds[i], seed=seeds[i])
        assert apart(alone[0].joints3d, together[i].joints3d) < 1e-4
        assert torch.allclose(alone.joints2d[0], together.joints2d[i, :, : alone.lengths[0]], atol=1e-4)


def test_order_of_prompts_does_not_matter() -> None:
    pipeline, order = tiny_pipeline(), [2, 0, 1]
    first = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3)
    second = pipeline.sample([PROMPTS[i] for i in order], seconds=[[1.0, 1.5, 1.2][i] for i in order], seed=3)
    for row, i in enumerate(order):
        assert second.text[row] == PROMPTS[i]
        assert apart(second[row].joints3d, first[i].joints3d) < 1e-4


def test_memory_bound_changes_nothing_but_the_batches() -> None:
    pipeline = tiny_pipeline()
    passes = count_passes(pipeline)
    whole = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3)
    assert set(passes) == {3}
    passes.clear()
    bounded = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3, max_tokens=30 * 4)
    assert set(passes) == {1}
    assert torch.equal(whole.lengths, bounded.lengths)
    for i in range(3):
        assert apart(whole[i].joints3d, bounded[i].joints3d) < 1e-4


def test_same_seed_same_motion_other_seed_other_motion() -> None:
    pipeline = tiny_pipeline()
    first = pipeline.sample(["a kick"], seconds=1, seed=5)[0].joints3d
    torch.manual_seed(77)
    torch.randn(10)
    assert torch.equal(pipeline.sample(["a kick"], seconds=1, seed=5)[0].joints3d, first)
    assert apart(pipeline.sample(["a kick"], seconds=1, seed=6)[0].joints3d, first) > 1e-3
    assert apart(pipeline.sample(["a walk"], seconds=1, seed=5)[0].joints3d, first) > 1e-4


def test_global_generator_is_not_used() -> None:
    pipeline = tiny_pipeline()
    before = torch.get_rng_state()
    pipeline.sample(["a kick"], seconds=1, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_of_one_prompt_follow_its_seed() -> None:
    pipeline = tiny_pipeline()
    several = pipeline.sample(PROMPTS[:2], seconds=1, seed=4, num_samples=3)
    assert several.text == [PROMPTS[0]] * 3 + [PROMPTS[1]] * 3
    for row in range(6):
        prompt, number = divmod(row, 3)
        alone = pipeline.sample([PROMPTS[prompt]], seconds=1, seed=4 + number)
        assert apart(several[row].joints3d, alone[0].joints3d) < 1e-4
    assert apart(several[0].joints3d, several[1].joints3d) > 1e-3


def test_a_generator_replaces_the_seed() -> None:
    pipeline = tiny_pipeline()

    def run(*seeds: int) -> MotionBatch:
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        return pipeline.sample(
            PROMPTS[: len(seeds)], seconds=1, generator=generators[0] if len(seeds) == 1 else generators
        )

    assert torch.equal(run(1)[0].joints3d, run(1)[0].joints3d)
    assert apart(run(1)[0].joints3d, run(2)[0].joints3d) > 1e-3
    assert apart(run(1, 2)[0].joints3d, run(1)[0].joints3d) < 1e-4


def test_batches_arrive_as_they_are_finished() -> None:
    pipeline = tiny_pipeline()
    whole = pipeline.sample(PROMPTS, seconds=[1.5, 1.0, 1.2], seed=3)
    seen = {}
    for jobs, output in pipeline.sample_batches(PROMPTS, seconds=[1.5, 1.0, 1.2], seed=3, max_tokens=30 * 4):
        assert len(jobs) == len(output) == 1
        seen[jobs[0]] = output[0].joints3d
    assert list(seen) == [(1, 0), (2, 0), (0, 0)], "short motions first"
    for (prompt, _), motion in seen.items():
        assert apart(motion, whole[prompt].joints3d) < 1e-4


# --- what comes out ------------------------------------------------------------------------------------------------


def test_output_is_a_placed_motion() -> None:
    output = tiny_pipeline().sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3)
    assert output.joints3d.shape == (3, 30, 22, 3)
    assert output.joints2d.shape == (3, 4, 30, 22, 2)
    assert output.lengths.tolist() == [20, 30, 24]
    assert (output.fps, output.text, output.skeleton) == (20.0, PROMPTS, SMPL22)
    for i, n in enumerate(output.lengths.tolist()):
        joints = output[i].joints3d
        assert joints.shape == (n, 22, 3)
        assert torch.isfinite(joints).all()
        assert abs(float(joints[..., 1].min())) < 1e-6
        assert joints[0, 0, [0, 2]].abs().max() < 1e-5
        assert not output.joints3d[i, n:].any()


def test_body_heights_of_the_height_options() -> None:
    def heights(how: str) -> Tensor:
        return body_height(tiny_pipeline(height=how).sample(["a kick"], seconds=1, seed=2)[0].joints3d)

    assert torch.allclose(heights("frame"), torch.full((20,), NEUTRAL_HEIGHT), atol=1e-4)
    clip = heights("clip")
    assert float(clip.mean()) == pytest.approx(NEUTRAL_HEIGHT, abs=1e-4)
    assert float(clip.std()) > 1e-4
    none = heights("none")
    assert torch.allclose(none / none.mean(), clip / clip.mean(), atol=1e-4)


def test_trajectory_can_stay_at_the_origin() -> None:
    moving = tiny_pipeline().sample(["a kick"], seconds=1, seed=2)[0].joints3d
    still = tiny_pipeline(accumulate_root=False).sample(["a kick"], seconds=1, seed=2)[0].joints3d
    assert still[:, 0, [0, 2]].abs().max() < 1e-5
    assert moving[-1, 0, [0, 2]].norm() > 1e-3
    assert torch.allclose(moving - moving[:, :1], still - still[:, :1], atol=1e-4)


def test_finished_motion_faces_z_and_follows_its_steps() -> None:
    """A figure with its left hand along -z turns to face +z; its root goes where the next-root points say."""
    local = torch.zeros(2, 6, 23, 3)
    hips, shoulders = SMPL22.indices("left_hip", "right_hip"), SMPL22.indices("left_shoulder", "right_shoulder")
    for left, right in (hips, shoulders):
        local[:, :, left, 2], local[:, :, right, 2] = -0.2, 0.2
    local[:, :, SMPL22.index("left_foot"), 1] = -0.9
    local[1, 4:, SMPL22.index("left_foot"), 1] = -5.0
    local[:, :, 22, 0] = 0.1  # steps along x, which is where this figure looks
    lengths = torch.tensor([6, 4])
    motion = finish_motion(local, lengths, SamplingOptions(), fps=20.0)
    for b, n in enumerate(lengths.tolist()):
        expected = torch.stack([torch.zeros(n), torch.full((n,), 0.9), 0.1 * torch.arange(n)], -1)
        assert torch.allclose(motion[b, :n, 0], expected, atol=1e-6)
        assert torch.allclose(motion[b, 0, hips[0]] - motion[b, 0, hips[1]], torch.tensor([0.4, 0, 0]), atol=1e-6)
        assert not motion[b, n:].any()


class RecordingSchedule(NoiseSchedule):
    """Keeps the clean motion that every step is given."""

    def __init__(self, num_steps: int) -> None:
        super().__init__(num_steps)
        self.clean: list[Tensor] = []

    def posterior_step(self, x_0: Tensor, x_t: Tensor, t: int, t_prev: int, noise: Tensor) -> Tensor:
        self.clean.append(x_0)
        return super().posterior_step(x_0, x_t, t, t_prev, noise)


@pytest.mark.parametrize("consistency", [True, False])
def test_consistency_gives_every_step_views_of_one_body(consistency: bool) -> None:
    pipeline = tiny_pipeline(consistency=consistency)
    pipeline.schedule = RecordingSchedule(10)
    conditions = pipeline.text_conditions(["a kick"], torch.tensor([12]), [ItemRandom.from_seed(0)])
    noise = torch.randn(11, 1, 4, 12, 44, generator=torch.Generator().manual_seed(0))
    pipeline.sample_views(conditions, RecordedNoise(list(noise)), pipeline.sampling)
    views = OrthographicViews(conditions.T_w2c)
    for x_0 in pipeline.schedule.clean:
        points = pipeline.codec.decode_with_root(x_0)
        assert torch.allclose(views.reproject(views.lift(points)), points, atol=1e-5) == consistency


# --- guidance and steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guidance", "share", "expected"),
    [(1.0, 1.0, 10), (0.0, 1.0, 10), (0.0, 0.3, 10), (2.5, 1.0, 20), (2.5, 0.3, 13), (2.5, 0.0, 10)],
)
def test_guidance_determines_the_number_of_network_passes(guidance: float, share: float, expected: int) -> None:
    pipeline = tiny_pipeline(guidance_scale=guidance, guided_share=share)
    passes = count_passes(pipeline)
    pipeline.sample(PROMPTS, seconds=1, seed=0)
    assert len(passes) == expected


def test_guidance_acts_in_the_noisiest_steps_alone() -> None:
    """A share that contains no step is no guidance; more steps change the motion more."""
    none, few, every = (
        tiny_pipeline(guidance_scale=2.5, guided_share=share).sample(["a kick"], seconds=1, seed=0)[0].joints3d
        for share in (0.0, 0.3, 1.0)
    )
    assert torch.equal(none, tiny_pipeline().sample(["a kick"], seconds=1, seed=0)[0].joints3d)
    assert 0 < apart(few, none) < apart(every, none)


def test_guidance_is_continuous_at_one() -> None:
    pipeline = tiny_pipeline()
    exact, nearly = (pipeline.sample(["a kick"], seconds=1, guidance_scale=s)[0].joints3d for s in (1.0, 1.0 + 1e-6))
    assert apart(exact, nearly) < 1e-3


def test_guidance_zero_ignores_the_prompt() -> None:
    pipeline = tiny_pipeline(guidance_scale=0.0)
    first, second = (pipeline.sample([text], seconds=1, seed=1)[0].joints3d for text in PROMPTS[:2])
    assert torch.equal(first, second)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("step", ["posterior", "ddim"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_fewer_steps(count: int, step: str, spacing: str) -> None:
    pipeline = tiny_pipeline(step=step, spacing=spacing)
    passes = count_passes(pipeline)
    output = pipeline.sample(["a kick"], seconds=1, num_inference_steps=count)
    assert len(passes) == count
    assert torch.isfinite(output.joints3d).all()


def test_single_view_network_lifts_by_triangulation_alone() -> None:
    pipeline = tiny_pipeline(tiny_denoiser(**SINGLE), consistency=True)
    together = pipeline.sample(PROMPTS, seconds=1, seed=1)
    alone = pipeline.sample(PROMPTS[1:2], seconds=1, seed=1)
    assert apart(together[1].joints3d, alone[0].joints3d) < 1e-4


def test_perspective_sampling() -> None:
    pipeline = tiny_pipeline(is_perspective=True, consistency=True)
    together = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=1)
    assert torch.isfinite(together.joints3d).all()
    alone = pipeline.sample(PROMPTS[:1], seconds=1.0, seed=1)
    assert apart(together[0].joints3d, alone[0].joints3d) < 1e-3


# --- wrong requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"texts": [""]}, ValueError, "Prompt 0 is empty"),
        ({"texts": ["a kick", "  \n"]}, ValueError, "Prompt 1 is empty"),
        ({"texts": []}, ValueError, "No prompt was given"),
        ({"texts": ["a kick", 7]}, TypeError, "Prompt 1 is int 7; prompts are strings"),
        ({"texts": [None]}, TypeError, "Prompt 0 is NoneType"),
        ({"seconds": 0.0}, ValueError, "seconds is 0.0; this model makes 1 to 10 seconds"),
        ({"seconds": -3}, ValueError, "seconds is -3"),
        ({"seconds": 11}, ValueError, "seconds is 11"),
        ({"seconds": math.nan}, ValueError, "seconds is nan"),
        ({"seconds": math.inf}, ValueError, "seconds is inf"),
        ({"seconds": [1.0, 2.0]}, ValueError, "seconds has 2 values for 1 prompts"),
        ({"seed": [1, 2]}, ValueError, "2 seeds for 1 prompts"),
        ({"generator": []}, ValueError, "0 generators for 1 prompts"),
        ({"num_samples": 0}, ValueError, "num_samples is 0"),
        ({"num_inference_steps": 11}, ValueError, "num_inference_steps is 11; the schedule has 10 steps"),
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps is 0"),
    ],
    ids=str,
)
def test_wrong_requests_are_explained(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tiny_pipeline().sample(**({"texts": ["a kick"], "seconds": 1.0} | arguments))


def test_one_prompt_needs_no_list() -> None:
    pipeline = tiny_pipeline()
    assert torch.equal(pipeline.sample("a kick", seconds=1).joints3d, pipeline.sample([" a kick "], seconds=1).joints3d)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"step is 'euler'.*'posterior', 'ddim'"):
        SamplingOptions(step="euler")
    with pytest.raises(ValueError, match=r"height is 'tall'"):
        SamplingOptions(height="tall")


def test_weights_of_steps_that_an_average_with_padding_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_step_weight is 5 with include_padding"):
        TrainingOptions(include_padding=True, max_step_weight=5.0)


def test_statistics_must_fit_the_network() -> None:
    with pytest.raises(ValueError, match=r"'hml3d_ortho_nr' have 46 features, the network has 44"):
        Motion2to3Pipeline(tiny_denoiser(), Motion2DCodec("hml3d_ortho_nr"), tiny_pipeline().schedule)


def test_prompts_without_an_encoder_are_refused() -> None:
    pipeline = Motion2to3Pipeline(tiny_denoiser(), Motion2DCodec("all_200h_nr"), tiny_pipeline().schedule)
    with pytest.raises(RuntimeError, match="no text encoder"):
        pipeline.sample(["a kick"], seconds=1)


def test_perspective_needs_intrinsics() -> None:
    pipeline = tiny_pipeline()
    conditions = replace(pipeline.text_conditions(["a"], torch.tensor([4]), [ItemRandom.from_seed(0)]), K=None)
    with pytest.raises(ValueError, match=r"needs K \(B, V, 3, 3\)"):
        views_of(conditions, is_perspective=True)


# --- training ------------------------------------------------------------------------------------------------------


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
    assert apart(pipeline.sample(["a kick"], seconds=1)[0].joints3d, plain) > 1e-4


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


def test_sampling_replays_recorded_noise() -> None:
    """The sampler asks for one array to start and one per step, shaped (B, V, L, D)."""
    pipeline = tiny_pipeline()
    conditions = pipeline.text_conditions(["a kick"], torch.tensor([6]), [ItemRandom.from_seed(0)])
    noise = list(torch.randn(11, 1, 4, 6, 44, generator=torch.Generator().manual_seed(0)))
    first = pipeline.sample_views(conditions, RecordedNoise(noise), pipeline.sampling)
    second = pipeline.sample_views(conditions, RecordedNoise(noise), pipeline.sampling)
    assert torch.equal(first.local, second.local)
    with pytest.raises(IndexError, match="used up"):
        pipeline.sample_views(conditions, RecordedNoise(noise[:-1]), pipeline.sampling)


def test_cleaning_gives_finished_motion_constant_bones_and_is_off_by_default() -> None:
    """Networks without training make figures without sense, and even those get bones that keep their length."""
    lengths = {"seconds": 1.5, "seed": 3}
    plain, cleaned = (
        tiny_pipeline(height="clip", **dict.fromkeys(("smooth", "rigid_bones", "plant_feet"), switch)).sample(
            ["a kick", "a bow"], **lengths
        )
        for switch in (False, True)
    )
    assert torch.equal(plain.joints3d, tiny_pipeline(height="clip").sample(["a kick", "a bow"], **lengths).joints3d)
    assert torch.equal(plain.extras["camera_joints3d"], cleaned.extras["camera_joints3d"])
    parents, children = (list(ends) for ends in zip(*SMPL22.bones, strict=True))
    spread = [
        (out.joints3d[..., children, :] - out.joints3d[..., parents, :]).norm(dim=-1).std(1).max()
        for out in (plain, cleaned)
    ]
    assert spread[1] < 1e-4 < spread[0]
    assert cleaned.joints3d[..., 1].amin((1, 2)).abs().max() < 1e-6
